"""metrics.jsonl: what a killed process leaves is read, what is not ours is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llava_chat.errors import LlavaChatError
from llava_chat.training.watching.metrics import Metrics, read_metrics
from llava_chat.training.watching.progress import Progress

STEP = Progress(1, 9, {"loss": 1.0}, {"projector": 1e-3}, 2.0, 8, 4, 0, 0.5, 10**9)


def write(folder: Path, *steps: int) -> None:
    metrics = Metrics(folder)
    for step in steps:
        metrics.step(replace(STEP, step=step))
    metrics.end()


def test_each_step_is_in_the_file_before_the_run_ends(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for step in (1, 2):
        metrics.step(replace(STEP, step=step, losses={"loss": 1.0, "old": 0.25}))
        assert [row["step"] for row in read_metrics(tmp_path)] == [*range(1, step + 1)]
    assert read_metrics(tmp_path)[0]["loss/old"] == 0.25
    metrics.end()


def test_going_on_drops_what_lies_behind(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4, 5)
    with (tmp_path / "metrics.jsonl").open("a") as opened:
        opened.write('{"step": 6, "loss": 1')
    write(tmp_path, 4, 5)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
    write(tmp_path, 1)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_watcher_that_is_told_nothing_leaves_the_file(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    write(tmp_path)
    assert len(read_metrics(tmp_path)) == 2
    assert read_metrics(tmp_path / "nowhere") == []


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"loss": 1}', '{"step": "one"}', "3"])
def test_another_file_of_that_name_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f"{line}\n")
    with pytest.raises(LlavaChatError, match=r"metrics\.jsonl, line 1: it is no step of a run"):
        write(tmp_path, 1)
    assert file.read_text() == f"{line}\n"
