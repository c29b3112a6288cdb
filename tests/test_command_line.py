"""`python -m llava_chat`: results on stdout, sentences on stderr, exit codes, lazy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llava_chat import __version__
from llava_chat.__main__ import COMMANDS, main
from llava_chat.conversation import TEMPLATES

ROOT = Path(__file__).parent.parent
PAGE_PACKAGES = ("gradio", "pydantic", "pydantic_settings", "sqlalchemy", "alembic", "markdown_it")


def python(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=check
    )


def exit_code(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as leaving:  # argparse leaves by itself: help and wrong usage
        assert isinstance(leaving.code, int)
        return leaving.code


# The whole command line


def test_help_names_every_command_and_imports_none_of_them() -> None:
    heavy = ("torch", "transformers", *PAGE_PACKAGES)
    shown = python(
        "-c",
        "import sys\nfrom llava_chat.__main__ import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules])",
    ).stdout
    for name, _, summary in COMMANDS:
        assert name in shown
        assert summary in shown
    assert shown.endswith("[]\n")


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(name, "--help") == 0
    shown, told = capsys.readouterr()
    assert f"usage: llava_chat {name}" in shown
    assert told == ""


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_and_evaluation_need_no_package_of_the_page(command: str) -> None:
    shown = python(
        "-c",
        f"import sys\nfor name in {PAGE_PACKAGES}: sys.modules[name] = None\n"
        "from llava_chat.__main__ import main\n"
        f"main(['{command}', 'scenes', '--help'])",
    ).stdout
    assert f"llava_chat {command} scenes" in shown


def test_a_missing_package_is_a_sentence() -> None:
    told = python(
        "-c",
        "import sys\nsys.modules['pydantic'] = None\n"
        "from llava_chat.__main__ import main\nsys.exit(main(['chat', '--message', 'Hi']))",
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr == (
        "llava_chat: error: the package pydantic is not installed; "
        "run `pip install -r requirements.txt` in the folder of llava_chat\n"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"llava_chat {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("chat",),
        ("chat", "--message", "Hi", "--bogus"),
        ("chat", "--message", "Hi", "--temperature", "3"),
        ("chat", "--message", "Hi", "--dtype", "int3"),
        ("chat", "--message", "Hi", "--template", "vicuna"),
        ("serve", "--port", "high"),
        ("serve", "--engine", "remote"),
        ("serve", "--engine-url", "mine"),
        ("prompt", "--template", "vicuna", "x.json"),
        ("templates", "extra"),
        ("train",),
        ("evaluate", "nothing"),
    ],
)
def test_wrong_usage_is_code_2_and_a_sentence_on_stderr(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*arguments) == 2
    shown, told = capsys.readouterr()
    assert shown == ""
    assert "error: " in told
    assert "Traceback" not in told


def test_the_flag_of_a_wrong_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("serve", "--port", "high") == 2
    assert capsys.readouterr().err == (
        "llava_chat: error: --port must be a valid integer, not 'high'\n"
    )


def test_the_script_of_the_space_takes_the_options_of_serve() -> None:
    told = python("app.py", "--port", "0", check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("llava_chat: error: --port must be greater than or equal to 1")


def test_an_unexpected_error_is_one_sentence_and_its_traceback_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(args: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("llava_chat.commands.templates.run", broken)
    assert exit_code("templates") == 1
    assert capsys.readouterr().err == (
        "llava_chat: error: unexpected ZeroDivisionError: division by zero "
        "(run it again with --debug to see where)\n"
    )
    for arguments in (["--debug", "templates"], ["templates", "--debug"]):
        with pytest.raises(ZeroDivisionError):
            main(arguments)


def test_ctrl_c_is_130_and_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("llava_chat.commands.templates.run", interrupted)
    assert exit_code("templates") == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_left_is_no_reason_to_complain() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as stdout:
        told = subprocess.run(
            [sys.executable, "-m", "llava_chat", "templates"],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (told.returncode, told.stderr) == (1, b"")


# templates, prompt


def test_templates_are_named_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("templates") == 0
    names = capsys.readouterr().out.splitlines()
    assert names == list(TEMPLATES)
    assert "vicuna_v1" in names


def write(path: Path, data: object) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def test_the_prompt_is_exact_to_the_last_character(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [
        {"role": "user", "text": "Q1", "images": ["a.png"]},
        {"role": "assistant", "text": "A1"},
        {"role": "user", "text": "Q2"},
    ]
    file = write(tmp_path / "c.json", {"turns": turns})
    assert exit_code("prompt", "--template", "vicuna_v1", file) == 0
    assert capsys.readouterr() == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. "
        "USER: <image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
        "",
    )
    file = write(tmp_path / "c.json", {"system": "Be kind.", "turns": turns[:2]})
    assert exit_code("prompt", "--template", "qwen_1_5", file) == 0
    assert capsys.readouterr().out == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n<image>\nQ1<|im_end|>\n"
        "<|im_start|>assistant\nA1<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "The conversation must be a JSON object, not list"),
        ({}, "The conversation has no 'turns'"),
        ({"turns": []}, "'turns' must be a list of at least one turn"),
        ({"turns": [{"role": "user"}]}, "Turn 1 has no 'text'"),
        ({"turns": [{"role": "gpt", "text": "x"}]}, "Turn 1 must have the role 'user', not 'gpt'"),
    ],
)
def test_a_wrong_conversation_is_told_with_its_place(
    data: object, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("prompt", "--template", "mpt", write(tmp_path / "c.json", data)) == 1
    shown, told = capsys.readouterr()
    assert shown == ""
    assert told.startswith(f"llava_chat: error: {tmp_path / 'c.json'}: ")
    assert sentence in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"turns": [], "turns": []}', "a key stands twice among turns, turns"),
        (b"{turns}", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_is_named(
    text: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(text)
    assert exit_code("prompt", "--template", "mpt", str(file)) == 1
    told = capsys.readouterr().err
    assert str(file) in told
    assert sentence in told


def test_a_conversation_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("prompt", "--template", "mpt", "/no/such.json") == 1
    assert capsys.readouterr().err == (
        "llava_chat: error: /no/such.json cannot be read: No such file or directory.\n"
    )
