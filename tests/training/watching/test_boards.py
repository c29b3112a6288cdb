"""TensorBoard's own reader reads what was written; W&B keeps a run without a network."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llava_chat.errors import LlavaChatError, UsageError
from llava_chat.training.watching.boards import TensorBoard, WeightsAndBiases
from llava_chat.training.watching.opening import watchers
from llava_chat.training.watching.progress import Progress, Watcher
from tests.training.watching.tiny_run import FACTS, LOG_EVERY, Runner

STEP = Progress(1, 8, {"loss": 1.0}, {"projector": 1e-3}, 2.0, 8, 4, 0, 0.5, 10**9)


def tell(watcher: Watcher, steps: range, loss: float = 1.0) -> None:
    for step in steps:
        watcher.step(replace(STEP, step=step, losses={"loss": loss * step}))
    watcher.end()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_tensorboard_reads_a_real_run(train: Runner, tmp_path: Path) -> None:
    run = train(tmp_path / "run", sampled=False)
    read = scalars(run.output)
    assert set(read) == {
        "loss", "learning_rate/projector", "learning_rate/language model", "gradient_norm",
        "speed/tokens_per_s", "speed/samples_per_s", "speed/step_s", "memory_bytes", "skipped",
    }  # fmt: skip
    for (step, value), last in zip(read["loss"], (4, 8, 12), strict=True):
        wanted = [run.losses[each] for each in range(last - LOG_EVERY + 1, last + 1)]
        assert step == last and value == pytest.approx(sum(wanted) / LOG_EVERY)


def test_tensorboard_shows_each_step_of_a_run_that_went_on_once(tmp_path: Path) -> None:
    tell(TensorBoard(FACTS, tmp_path, log_every=2), range(1, 7), loss=9.0)
    tell(TensorBoard(FACTS, tmp_path, log_every=2), range(3, 9))
    assert scalars(tmp_path)["loss"] == [(2, 13.5), (4, 3.5), (6, 5.5), (8, 7.5)]


def test_without_tensorboard_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    stream = io.StringIO()
    seen = watchers(FACTS, tmp_path, log_every=2, stream=stream)
    assert stream.getvalue() == (
        "finetune: going on without TensorBoard, which is not installed (pip install tensorboard); "
        "metrics.jsonl has every figure\n"
    )
    assert not any(isinstance(each, TensorBoard) for each in seen)
    asked_not = watchers(FACTS, tmp_path, log_every=2, tensorboard=False, stream=stream)
    assert len(asked_not) == len(seen) and stream.getvalue().count("\n") == 1


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    wandb = pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield wandb
    wandb.teardown()


def test_wandb_keeps_a_run_and_goes_on_with_it(offline: Any, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    for steps in (range(1, 5), range(3, 9)):
        tell(WeightsAndBiases(FACTS, tmp_path, "mine", log_every=2), steps)
    run_id = (tmp_path / "wandb-run").read_text().strip()
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert len({file.parent for file in files}) == len(files) >= 1
    kept = b"".join(file.read_bytes() for file in files)
    for word in (b"mine", b"learning_rate/projector", b"speed/tokens_per_s", b"finetune"):
        assert word in kept
    (tmp_path / "metrics.jsonl").unlink()  # a folder that was emptied of its run
    WeightsAndBiases(FACTS, tmp_path, "mine", log_every=2).end()
    assert (tmp_path / "wandb-run").read_text().strip() != run_id


def test_wandb_that_refuses_is_said_in_a_sentence(
    offline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise offline.errors.CommError("no such\nproject")

    monkeypatch.setattr(offline, "init", refused)
    with pytest.raises(LlavaChatError, match="took no run: no such project"):
        WeightsAndBiases(FACTS, tmp_path, "mine", log_every=2)


def test_wandb_is_asked_only_when_somebody_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    watchers(FACTS, tmp_path, log_every=2, stream=io.StringIO())
    with pytest.raises(UsageError, match="pip install wandb"):
        watchers(FACTS, tmp_path, log_every=2, wandb="mine", stream=io.StringIO())
