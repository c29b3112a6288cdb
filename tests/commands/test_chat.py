"""`chat`: real replies of a real engine; the words do not matter here, the contract does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_chat.__main__ import main

ROOT = Path(__file__).parent.parent.parent
GREEDY = ("--temperature", "0", "--max-new-tokens", "6", "--device", "cpu")


def chat_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["chat", *arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_the_json_is_the_contract(
    tiny_checkpoint: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = ("What is it?", "And its colour?", "Thanks")
    answer = chat_json(
        capsys, "--model", str(tiny_checkpoint), "--image", str(picture), *GREEDY,
        "--message", *messages,
    )  # fmt: skip
    assert list(answer) == ["model", "template", "replies"]
    assert answer["model"] == "tiny"
    assert answer["template"] == "vicuna_v1"
    assert len(answer["replies"]) == len(messages)
    for reply in answer["replies"]:
        assert list(reply) == ["text", "token_ids", "finish", "first_token_s", "total_s"]
        assert reply["finish"] in ("stop", "length")
        assert 0 < len(reply["token_ids"]) <= 6
        assert 0 < reply["first_token_s"] <= reply["total_s"]


def test_replies_are_the_same_again_and_the_picture_matters(
    tiny_checkpoint: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.png"
    # The same at every run: random weights give one reply to many a pair of pictures.
    Image.frombytes("RGB", (30, 40), random.Random(2).randbytes(3 * 30 * 40)).save(other)

    def ids(path: Path, *arguments: str) -> list[list[int]]:
        answer = chat_json(
            capsys, "--model", str(tiny_checkpoint), "--image", str(path),
            "--message", "One", "Two", "--max-new-tokens", "20", *arguments,
        )  # fmt: skip
        return [reply["token_ids"] for reply in answer["replies"]]

    assert ids(picture, "--temperature", "0") == ids(picture, "--temperature", "0")
    sampling = ("--temperature", "1.5", "--top-p", "1", "--seed", "7")
    assert ids(picture, *sampling) == ids(picture, *sampling)
    assert ids(picture, *sampling) != ids(picture, *sampling[:-1], "8")
    assert ids(picture, *sampling) != ids(other, *sampling)


def test_a_stop_ends_a_reply_and_top_k_of_one_is_greedy(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(*arguments: str) -> dict[str, Any]:
        model = ("--model", str(tiny_checkpoint), "--max-new-tokens", "12", "--message", "Hi")
        answer = chat_json(capsys, *model, *arguments)["replies"][0]
        assert isinstance(answer, dict)
        return answer

    whole = reply("--temperature", "0")
    warm = reply("--temperature", "2", "--top-p", "1", "--top-k", "1")
    assert (warm["text"], warm["token_ids"]) == (whole["text"], whole["token_ids"])
    stop = whole["text"][5:8]
    stopped = reply("--temperature", "0", "--stop", "never said", "--stop", stop)
    assert stopped["text"] == whole["text"][: whole["text"].index(stop)]
    assert stopped["finish"] == "stop"


def test_the_words_come_on_stdout_and_why_they_end_on_stderr(
    tiny_checkpoint: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--model", str(tiny_checkpoint), "--image", str(picture), *GREEDY)
    replies = chat_json(capsys, *arguments, "--message", "One", "Two")["replies"]
    assert main(["chat", *arguments, "--message", "One", "--message", "Two"]) == 0
    shown, told = capsys.readouterr()
    assert shown == "".join(reply["text"] + "\n" for reply in replies)
    cut = sum(reply["finish"] == "length" for reply in replies)
    assert told.count("(the reply was cut: reached --max-new-tokens)\n") == cut


def test_another_template_and_system_message_are_used(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--model", str(tiny_checkpoint), *GREEDY, "--message", "Hi")
    answer = chat_json(capsys, *arguments, "--template", "llava_v1", "--system", "Be brief.")
    assert answer["template"] == "llava_v1"
    assert len(answer["replies"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--model", "/no/such/model"), 1, "There is no folder /no/such/model"),
        (("--image", "/no/such.png"), 1, "there is no such file"),
        (("--message", " "), 1, "The message is empty"),
        (("--message", "x" * 50, "--max-message-chars", "40"), 1, "at most 40 are read"),
        (("--max-pictures", "0", "--image", __file__), 1, "the 0 of --max-pictures"),
        (("--image", __file__), 1, "test_chat.py"),
        (("--template", "vicuna"), 2, "There is no template 'vicuna'"),
        (("--device", "cuda:99"), 2, "--device"),
        (("--top-k", "-1"), 2, "--top-k must be greater than or equal to 0"),
        (("--top-k", "9999999"), 2, "--top-k must be less than or equal to 1048576"),
        (("--stop", ""), 2, "--stop must be texts of 1 to 200 characters"),
        (("--stop", "a") * 5, 2, "--stop must be at most 4 texts, not 5"),
        (
            ("--quantize", "4bit", "--device", "cpu"),
            2,
            "--quantize 4bit needs a CUDA GPU: on cpu replies become slower",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
    tiny_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chat", "--model", str(tiny_checkpoint), "--message", "Hi", *arguments]) == code
    shown, told = capsys.readouterr()
    assert shown == ""
    assert told.startswith("llava_chat: error: ")
    assert sentence in told
    assert told.count("\n") == 1


def test_a_notice_about_a_picture_is_told(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "moving.webp"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    model = ("--model", str(tiny_checkpoint))
    assert main(["chat", *model, *GREEDY, "--image", str(path), "--message", "Hi"]) == 0
    assert f"{path}: " in capsys.readouterr().err


def test_ctrl_c_in_the_middle_of_a_reply(tiny_checkpoint: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "llava_chat", "chat", "--model", str(tiny_checkpoint),
         "--temperature", "1", "--max-new-tokens", "800", "--message", *["Go on"] * 200],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Who runs the tests in the background may have them, and their children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.read(1)  # a reply is being written
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in told
