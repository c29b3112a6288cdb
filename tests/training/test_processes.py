"""Two processes learn what one does, save together and stop together; on the CPU, by gloo."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.training.processes import Processes, parts
from tests.training import two_processes as runs


@pytest.fixture(scope="module")
def model(
    new_checkpoint: Callable[[], Checkpoint], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(new_checkpoint(), folder)
    return folder


@pytest.fixture(scope="module")
def two(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote, started with the variables that torchrun gives to each.

    They are forked, so that neither has to import everything again.
    """
    folder = tmp_path_factory.mktemp("two")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        # Another test's Accelerator, of one process, would be taken for this one's.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        os.environ.update(there, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
        runs.all_runs(str(model), folder)

    started = [get_context("fork").Process(target=work, args=(rank,)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=240)
        process.kill()  # where the other one is waited for in vain
    assert [process.exitcode for process in started] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def found(two: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((two / "found.json").read_text(encoding="utf-8"))
    assert told["count"] == 2
    return told


def check_same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        assert left[0] == right[0] and tuple(left[3:]) == tuple(right[3:])
        assert left[1:3] == pytest.approx(list(right[1:3]), rel=1e-4)


def check_same_weights(one: Path, other: Path) -> None:
    weights = [load_checkpoint(str(each), device="cpu").model.state_dict() for each in (one, other)]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=2e-4), name


@pytest.mark.parametrize("way", ["whole", "micro", "stopped", "shards", "micro shards"])
def test_two_processes_learn_what_one_does(
    way: str, found: dict[str, Any], two: Path, model: Path, tmp_path: Path
) -> None:
    alone = runs.trained("alone", Processes(), str(model), tmp_path)
    went_on = 4 if way in ("stopped", "shards") else 0
    check_same(found[way], alone[went_on:])
    check_same_weights(two / way, tmp_path / "alone")


def test_samples_that_one_process_has_to_leave_out_hold_up_no_other(
    found: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    alone = runs.trained("alone", Processes(), str(model), tmp_path, runs.partly_broken)
    check_same(found["skipped"], alone)
    assert [each[0] for each in alone] == [1, 2, 3, 5, 6] and alone[-1][-1] == 6


def test_a_batch_need_not_be_a_multiple(found: dict[str, Any], model: Path, tmp_path: Path) -> None:
    options = replace(runs.OPTIONS, batch_size=3)
    check_same(
        found["uneven"], runs.trained("alone", Processes(), str(model), tmp_path, options=options)
    )


def test_what_stops_one_process_stops_both(found: dict[str, Any]) -> None:
    other, wrong = found["wrong"]
    assert wrong == "row 11, conversations: it is wrong"
    assert other == "finetune: stopped, because another process had to"


def test_both_name_the_samples_of_a_loss_that_is_no_number(found: dict[str, Any]) -> None:
    said = "finetune: the loss is not a number at step 1, which learns from sample 2; sample 3"
    assert found["not a number"] == [said, said]


class Some(Processes):
    """One of several, as far as its share of a batch goes."""

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("micro", [None, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 8])
def test_every_sample_of_a_step_is_somebodys(
    count: int, micro: int | None, batch_size: int
) -> None:
    shares = [parts(batch_size, micro, Some(index, count)) for index in range(count)]
    assert [number for share in shares for part in share for number in part] == [*range(batch_size)]
    assert len({len(share) for share in shares}) == 1
    assert max(len(part) for share in shares for part in share) <= (micro or batch_size)
