"""Two parts of a training side by side: both done, or both over."""

import os
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from llava_chat.errors import LlavaChatError
from llava_chat.training.side_by_side import side_by_side
from llava_chat.training.stream import batches, from_random


def note_threads(path: Path) -> None:
    path.write_text(str(torch.get_num_threads()))


def draw_with_a_worker(path: Path) -> None:
    made = from_random(lambda rng: rng.random(), seed=3)
    path.write_text(repr(next(batches(made, list, batch_size=4, workers=1))))


def refuse_when(there: Path) -> None:
    while not there.exists():
        time.sleep(0.05)
    raise LlavaChatError("the state is damaged; delete it")


def wait_for_long(started: Path) -> None:
    started.with_suffix(".partial").write_text(str(os.getpid()))
    started.with_suffix(".partial").rename(started)
    time.sleep(600)


def test_each_has_its_share_of_the_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        side_by_side({name: partial(note_threads, tmp_path / name) for name in ("one", "other")})
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert [(tmp_path / name).read_text() for name in ("one", "other")] == ["2", "2"]


def test_a_part_may_have_workers_of_its_own(tmp_path: Path) -> None:
    side_by_side({"a part": partial(draw_with_a_worker, tmp_path / "drawn")})
    made = from_random(lambda rng: rng.random(), seed=3)
    wanted = next(batches(made, list, batch_size=4, workers=0))
    assert (tmp_path / "drawn").read_text() == repr(wanted)


def test_one_that_fails_ends_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started = tmp_path / "pid"
    parts = {"long": partial(wait_for_long, started), "bad": partial(refuse_when, started)}
    with pytest.raises(LlavaChatError, match="bad: ended with exit code 1"):
        side_by_side(parts)
    said = capfd.readouterr().err
    assert "the state is damaged; delete it" in said and "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
