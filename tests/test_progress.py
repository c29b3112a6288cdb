"""Progress in a terminal is one line written over; in a log it is a line now and then."""

from __future__ import annotations

import io

import pytest

from llava_chat import progress
from llava_chat.progress import Progress, ProgressLine

HALF = Progress("reading the weights", 1_000_000_000, 2_000_000_000, "bytes")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_keeps_one_line_and_loses_it_in_the_end() -> None:
    terminal = Terminal()
    with ProgressLine("tiny", terminal) as line:
        line(HALF)
        line(HALF)  # too soon to be drawn again
    shown = "tiny: reading the weights: 1.0 of 2.0 GB"
    assert terminal.getvalue() == f"\r\x1b[K{shown}\r\x1b[K"


def test_a_log_gets_lines_of_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = io.StringIO(), io.StringIO()
    with ProgressLine("tiny", quick) as line:
        line(HALF)
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0)
    with ProgressLine("tiny", slow) as line:
        line(HALF)
        line(HALF)
    assert quick.getvalue() == ""
    assert slow.getvalue() == "tiny: reading the weights: 1.0 of 2.0 GB\n" * 2
