"""What the README says holds: the Space's front matter, the commands, the table of modules."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

from llava_chat.__main__ import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:\.venv/bin/)?python -m llava_chat (.+)$", README, re.MULTILINE)


def requirements(file: str = "requirements.txt") -> dict[str, Requirement]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    return {requirement.name: requirement for requirement in parsed}


def test_the_front_matter_describes_a_space_that_starts() -> None:
    front = metadata_load(ROOT / "README.md")
    assert front is not None
    assert front["sdk"] == "gradio"
    assert requirements()["gradio"].specifier.contains(front["sdk_version"])
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "apache-2.0"
    assert len(front["short_description"]) <= 60  # the Hub refuses longer ones


def test_the_two_commands_are_those_that_are_promised() -> None:
    first, second = re.findall(r"^.*\.venv/bin/pip install.*$", README, re.MULTILINE)[:2]
    assert first.endswith("pip install -r requirements.txt && .venv/bin/python app.py")
    assert second == (".venv/bin/pip install -r requirements-dev.txt && .venv/bin/python -m pytest")


def test_there_are_commands_to_check() -> None:
    assert COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_of_the_readme_is_understood(command: str) -> None:
    arguments = shlex.split(command, comments=True)
    try:
        build_parser().parse_args(arguments)
    except SystemExit as leaving:
        assert leaving.code == 0  # --help


def test_every_dependency_has_a_line_that_says_what_for() -> None:
    first, second = README.split("## What it stands on")[1].split("\n## ")[0].split("to develop it")
    for table, file in ((first, "requirements.txt"), (second, "requirements-dev.txt")):
        rows = re.findall(r"^\| (`.+?) \| .+ \| .+ \|$", table, re.MULTILINE)
        assert {name for row in rows for name in re.findall(r"`([\w-]+)(?:\[\w+\])?`", row)} == {
            *requirements(file)
        }


def test_the_table_names_every_module_and_no_other() -> None:
    table = README.split("## How it fits together")[1].split("\n## ")[0]
    named = set(re.findall(r"`(?:llava_chat/)?(\w+)(?:\.py|/)`", table)) - {"app", "benchmarks"}
    here = {
        path.stem
        for path in (ROOT / "llava_chat").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or list(path.glob("[!_]*")))
    }
    assert named == here
