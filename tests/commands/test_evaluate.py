"""`evaluate scenes` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llava_chat.__main__ import main
from llava_chat.evaluation import scenes


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--pictures", "0"), "--pictures must be above 0"),
        (("--turns", "-1"), "--turns must be above 0"),
        (("--wrong", "/nowhere/wrong.jsonl"), "there is no folder /nowhere"),
        (("--wrong", "."), "--wrong: . is a folder"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "scenes", *arguments]) == 2
    assert named in capsys.readouterr().err


def test_figures_and_wrong_answers_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_at_once: list[int] = []
    talks = scenes.talks

    def seen(*given: Any) -> Any:
        asked_at_once.append(given[-1])
        return talks(*given)

    monkeypatch.setattr(scenes, "talks", seen)
    wrong = tmp_path / "wrong.jsonl"
    arguments = ["--pictures", "6", "--turns", "2", "--device", "cpu", "--wrong", str(wrong)]
    output = tmp_path / "output"
    assert main(["evaluate", "scenes", "--json", *arguments, "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    kinds = json.loads(shown)["kinds"]
    assert asked_at_once[0] > 1  # what fits
    assert (output / "results.json").read_text(encoding="utf-8") == shown
    asked = sum(kind["asked"] for name, kind in kinds.items() if name != "taken for no scene")
    right = sum(kind["right"] for name, kind in kinds.items() if name != "taken for no scene")
    assert asked >= 6
    assert len(wrong.read_text(encoding="utf-8").splitlines()) == asked - right
    page = (output / "wrong.html").read_text(encoding="utf-8")
    assert page.count("<article") == asked - right


def test_the_figures_are_there_even_if_the_wrong_answers_cannot_be_written(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_checkpoint), "--pictures", "1", "--turns", "1"]
    assert main(["evaluate", "scenes", *arguments, "--wrong", "/dev/full"]) == 2
    shown, told = capsys.readouterr()
    assert shown.startswith("| kind of question |")
    assert "--wrong: /dev/full cannot be written" in told
    assert "evaluate scenes: tiny, revision " in told
