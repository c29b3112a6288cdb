"""Figures stay on the device until so many steps are told; what is no number is found."""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from llava_chat.errors import LlavaChatError
from llava_chat.training.watching.progress import Progress
from llava_chat.training.watching.reporting import Figure, Reporter

CPU = torch.device("cpu")
RATES = {"projector": 1e-3}


@dataclass
class Noted:
    told: list[Progress] = field(default_factory=list)
    ended: int = 0

    def step(self, progress: Progress) -> None:
        self.told.append(progress)

    def saving(self, step: int, folder: Path) -> None:
        (folder / "noted").write_text(str(step))

    def end(self) -> None:
        self.ended += 1


class Failing(Noted):
    def end(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/runs/plot.svg")


def test_nothing_is_asked_of_the_device_between_two_lines() -> None:
    noted = Noted()
    reporter = Reporter([noted], 9, log_every=3, device=CPU)
    nowhere = torch.zeros((), device="meta")  # holds no number: who asks for it fails
    for step in (1, 2):
        assert reporter.step(step, {"loss": nowhere}, nowhere, RATES, tokens=5, samples=1) is None
    assert noted.told == []
    with pytest.raises((NotImplementedError, RuntimeError)):
        reporter.step(3, {"loss": nowhere}, nowhere, RATES, tokens=5, samples=1)


def test_every_step_is_told_once_and_the_graph_is_let_go() -> None:
    noted = Noted()
    reporter = Reporter([noted], 5, log_every=2, device=CPU)
    for step in range(1, 6):
        weight = torch.tensor(float(step), requires_grad=True)
        losses: dict[str, Figure] = {"loss": weight * 2, "old": 0.5}
        reporter.step(step, losses, weight, RATES, tokens=10 * step, samples=step, skipped=1)
        assert len(noted.told) == step - step % 2 or step == 5
    assert [each.step for each in noted.told] == [1, 2, 3, 4, 5]
    last = noted.told[-1]
    assert (last.losses, last.gradient_norm) == ({"loss": 10.0, "old": 0.5}, 5.0)
    assert (last.steps, last.tokens, last.samples, last.skipped) == (5, 50, 5, 1)
    assert last.learning_rates == RATES and last.memory_bytes > 1e7 and last.step_s > 0


def test_a_slow_run_is_told_of_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter(range(0, 1000, 4))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now_s)))
    noted = Noted()
    reporter = Reporter([noted], 100, log_every=50, device=CPU)
    reporter.step(1, {"loss": 1.0}, 1.0, RATES, tokens=1, samples=1)
    assert noted.told == []
    reporter.step(2, {"loss": 1.0}, 1.0, RATES, tokens=1, samples=1)
    assert [each.step for each in noted.told] == [1, 2]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "norm"])
def test_the_first_step_without_a_number_is_named(wrong: float, where: str) -> None:
    noted = Noted()
    reporter = Reporter([noted], 9, log_every=4, device=CPU)
    found = []
    for step in range(1, 5):
        bad = torch.tensor(wrong if step >= 3 else 1.0)
        loss, norm = (bad, 1.0) if where == "loss" else (torch.tensor(1.0), bad)
        found.append(reporter.step(step, {"loss": loss}, norm, RATES, tokens=1, samples=1))
    assert found == [None, None, None, 3]
    assert reporter.tell() is None and len(noted.told) == 4


def test_all_watchers_end_and_what_is_pending_is_told(tmp_path: Path) -> None:
    first, last = Noted(), Noted()
    reporter = Reporter([first, Failing(), last], 9, log_every=4, device=CPU)
    reporter.step(1, {"loss": 1.0}, 1.0, RATES, tokens=1, samples=1)
    reporter.saving(1, tmp_path)
    assert (tmp_path / "noted").read_text() == "1"
    said = r"/runs/plot\.svg cannot be written \(No space left on device\); once that is mended"
    with pytest.raises(LlavaChatError, match=said):
        reporter.end()
    assert (first.ended, last.ended) == (1, 1)
    assert len(first.told) == len(last.told) == 1
