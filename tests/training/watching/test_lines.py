"""Lines in a log, and a line that moves on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from llava_chat.training.watching.averages import Averaging
from llava_chat.training.watching.lines import Lines
from llava_chat.training.watching.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(step: int, steps: int = 10) -> Progress:
    rates = {"projector": 1e-3, "language model": 2e-5}
    return Progress(
        step, steps, {"loss": float(step)}, rates, 2.0 * step, 100, 4, 0, 0.5, 3 * 10**9
    )


def written(stream: io.StringIO, steps: range) -> str:
    lines = Lines("align", 4, stream)
    for step in steps:
        lines.step(progress(step))
    lines.end()
    return stream.getvalue()


def test_a_log_has_a_line_every_so_often_and_nothing_else() -> None:
    text = written(io.StringIO(), range(1, 11))
    assert re.sub("[ -~\n]", "", text) == ""
    lines = text.splitlines()
    assert [line.split()[1] for line in lines] == ["4/10", "8/10", "10/10"]
    assert lines[1] == (
        "align 8/10  loss 6.5000  learning rates projector 1.00e-03, language model 2.00e-05  "
        "norm 13.00  200 tokens/s  8.0 samples/s  1 s left  3.0 GB"
    )


def test_a_run_that_is_cut_off_tells_of_its_last_steps() -> None:
    lines = written(io.StringIO(), range(3, 7)).splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["4/10", "loss", "3.5000"],
        ["6/10", "loss", "5.5000"],
    ]


def test_on_a_terminal_a_line_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = written(Terminal(), range(1, 6))
    shown = [part.split("\r\x1b[K")[1:] for part in text.split("\n")[:-1]]
    assert [len(parts) for parts in shown] == [4, 2]
    moving, staying = shown[0][:3], shown[0][3]
    assert [part[:10] for part in moving] == ["align 1/10", "align 2/10", "align 3/10"]
    assert all(len(part) < 30 for part in moving)
    assert staying.startswith("align 4/10") and staying.endswith("3.0 GB")


def test_averages_are_of_the_steps_since_the_last_ones() -> None:
    averaging = Averaging(2)
    found = [averaging.add(progress(step)) for step in (1, 2, 3, 4)]
    assert [each and each.losses["loss"] for each in found] == [None, 1.5, None, 3.5]
    assert found[3] is not None
    assert (found[3].tokens_per_s, found[3].step_s, found[3].left_s) == (200, 0.5, 3.0)
    assert averaging.so_far() is None
