"""docs/feedback.md and docs/annotating.md say what is there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from llava_chat.__main__ import build_parser
from llava_chat.feedback import REASONS
from llava_chat.feedback.annotation import PLAN_FIELDS
from llava_chat.feedback.annotation.form import TYPES, checked_form
from llava_chat.feedback.export import FORMATS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "feedback.md").read_text(encoding="utf-8")
ANNOTATING = (DOCS / "annotating.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m llava_chat (.+)$", PAGE + ANNOTATING, re.MULTILINE)


def test_every_reason_and_format_is_named() -> None:
    assert re.findall(r"`(\w+)`", PAGE.split("The reasons: ")[1].split(".\n")[0]) == list(REASONS)
    assert tuple(re.findall(r"^\| `(\w+)` \| `feedback\.", PAGE, re.MULTILINE)) == FORMATS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_is_understood(command: str) -> None:
    assert build_parser().parse_args(shlex.split(command))


def test_every_field_of_a_project_and_type_of_a_field_is_named() -> None:
    plan, types = (
        re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
        for part in ANNOTATING.split("## Items")[0].split("## The form")
    )
    assert set(plan) == PLAN_FIELDS
    assert types == list(TYPES)


def test_the_project_that_is_shown_can_be_made() -> None:
    shown = json.loads(ANNOTATING.split("```json\n")[1].split("```")[0])
    assert shown.keys() <= PLAN_FIELDS
    assert len(checked_form(shown["form"])) == 3
