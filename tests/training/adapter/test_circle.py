"""The circle closes: a word that people put for another is what the next adapter says.

A smaller one than docs/adapters.md measures: fewer rows, fewer pictures, coarser bounds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from llava_chat.__main__ import main
from llava_chat.engine.local import open_engine
from llava_chat.training.adapter.judging import AT_ONCE, replies
from llava_chat.training.adapter.lessons import Lesson
from tests.training.adapter.circle import OLD, corrections, right_shares, write

PICTURES = 20


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """What else runs on the machine would make several wait for one another."""
    torch.set_num_threads(1)


def right(adapter: Path | None) -> dict[str, float]:
    """Shares of right answers with the new word."""
    name = None if adapter is None else str(adapter)
    engine = open_engine("scenes", device="cpu", adapter=name, slots=AT_ONCE)

    def answers(rows: Sequence[Lesson]) -> list[str]:
        return [reply for reply, _ in replies(engine, rows)]

    try:
        return right_shares(answers, PICTURES)
    finally:
        engine.close(grace_s=0)


def test_what_people_correct_is_what_the_adapter_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "rows", corrections(30))
    arguments = ("--data", str(tmp_path / "rows" / "data.json"), "--held-out", "0.2")
    shape = ("--steps", "36", "--batch-size", "4", "--lr", "5e-3", "--keep-old", "60")
    output = tmp_path / "adapter"
    train = ("train", "adapter", *arguments, *shape, "--pictures", "20", "--device", "cpu")
    assert main([*train, "--output", str(output), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changed_words"] == [OLD]
    assert report["before"]["lessons"]["exact"] == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "report.json",
    ]  # fmt: skip
    before, after = right(None), right(output)
    assert before["colour"] == 0 and after["colour"] >= 0.8
    skills, kept = (report[when]["old"]["all that was to stay"] for when in ("before", "after"))
    assert kept["right"] > skills["right"] - 0.06 and kept["asked"] > 60
