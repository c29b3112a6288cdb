"""docs/feedback.md says what is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from llava_chat.__main__ import build_parser
from llava_chat.feedback import REASONS
from llava_chat.feedback.export import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m llava_chat (.+)$", PAGE, re.MULTILINE)


def test_every_reason_and_format_is_named() -> None:
    assert re.findall(r"`(\w+)`", PAGE.split("The reasons: ")[1].split(".\n")[0]) == list(REASONS)
    assert tuple(re.findall(r"^\| `(\w+)` \| `feedback\.", PAGE, re.MULTILINE)) == FORMATS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_is_understood(command: str) -> None:
    assert build_parser().parse_args(shlex.split(command))
