"""A real process that trains and is killed: whoever goes on comes to what an unbroken one does.

The process is forked, so that it does not have to import everything again; it kills itself at a
step, as nobody else would hit one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from PIL import Image

from llava_chat.__main__ import main
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.training import checkpoints
from llava_chat.training.watching.metrics import Metrics
from llava_chat.training.watching.progress import Progress

STEPS, SAVE_EVERY = 12, 3


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, new_checkpoint: Callable[[], Checkpoint]
) -> Path:
    """Rows with pictures and without, of which an epoch is no whole number of steps."""
    folder = tmp_path_factory.mktemp("killed")
    save_checkpoint(new_checkpoint(), folder / "model")
    rows = []
    for number, colour in enumerate(("red", "blue", "green", "black", "white", "pink", "cyan")):
        answer = {"from": "gpt", "value": "A " + number * "very " + f"large {colour} circle."}
        asked = {"from": "human", "value": "What is it?"}
        row: dict[str, object] = {"conversations": [asked, answer]}
        if number % 3:
            Image.new("RGB", (30, 20), colour).save(folder / f"{number}.png")
            asked["value"] += "\n<image>"
            row["image"] = f"{number}.png"
        rows.append(row)
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def command(data: Path, output: Path) -> list[str]:
    learning = "--lora --lora-rank 2 --lora-dropout 0.3 --batch-size 3 --epochs 5.2 --lr 0.02"
    running = "--device cpu --precision float32 --micro-batch-size 2 --group-by-length"
    kept = f"--save-every {SAVE_EVERY} --log-every 1 --no-tensorboard --samples 0 --workers 0"
    files = ("--model", "model", "--data", "data.json", "--images", ".")
    paths = [word if word.startswith("--") else str(data / word) for word in files]
    words = f"train finetune {learning} {running} {kept}".split()
    return [*words, *paths, "--output", str(output)]


def losses(output: Path) -> dict[int, float]:
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


def in_a_process(work: Callable[[], object]) -> int:
    """Its exit code; the number of the signal that killed it, below 0."""
    process = get_context("fork").Process(target=lambda: os._exit(_code(work)))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _code(work: Callable[[], object]) -> int:
    try:
        return int(str(work()))
    except SystemExit as left:
        return int(str(left.code))


def killed_at_step(
    step: int, number: signal.Signals, arguments: list[str], *, group: bool = False
) -> int:
    """group: a process group of its own is killed, as launchers do it."""
    original = Metrics.step
    if group:
        os.setpgrp()

    def told(self: Metrics, progress: Progress) -> None:
        original(self, progress)
        if progress.step == step:
            (os.killpg if group else os.kill)(os.getpid(), number)

    Metrics.step = told  # type: ignore[method-assign]
    return main(arguments)


def killed_while_saving(step: int, arguments: list[str]) -> int:
    """With the half of a state in its file."""
    original = checkpoints.write

    def half(state: dict[str, object], file: Path) -> None:
        original(state, file)
        if f"{step:08d}" in str(file) and file.name == checkpoints.STATE:
            os.truncate(file, file.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    from llava_chat.training import saving

    saving.write = half  # type: ignore[attr-defined]
    return main(arguments)


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken")
    assert main(command(data, output)) == 0
    assert len(losses(output)) == STEPS
    return output


def weights(output: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(output / "adapter_model.safetensors")
    projector: dict[str, torch.Tensor] = torch.load(
        output / "non_lora_trainables.bin", weights_only=True
    )
    return found | projector


def check_it_goes_on(data: Path, output: Path, unbroken: Path, done: int) -> None:
    """done: the step of the newest checkpoint."""
    kept = output / "checkpoints"
    assert max(checkpoints.Checkpoints(kept).steps(), default=0) == done
    assert main(command(data, output)) == 0
    assert losses(output) == losses(unbroken)
    one, other = weights(output), weights(unbroken)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert not [*kept.glob(".*")]


@pytest.mark.parametrize("seed", [0, 1])
def test_sigkill_at_any_step_loses_what_came_after_the_checkpoint(
    data: Path, unbroken: Path, tmp_path: Path, seed: int
) -> None:
    step = random.Random(seed).randrange(1, STEPS)
    killed = in_a_process(lambda: killed_at_step(step, signal.SIGKILL, command(data, tmp_path)))
    assert killed == -signal.SIGKILL
    # It is told of a step before that step's checkpoint is written.
    check_it_goes_on(data, tmp_path, unbroken, (step - 1) // SAVE_EVERY * SAVE_EVERY)


@pytest.mark.parametrize("seed", [0, 1])
def test_sigterm_at_any_step_saves_first(
    data: Path, unbroken: Path, tmp_path: Path, seed: int
) -> None:
    step = random.Random(seed + 10).randrange(1, STEPS)
    code = in_a_process(lambda: killed_at_step(step, signal.SIGTERM, command(data, tmp_path)))
    assert code == 128 + signal.SIGTERM
    check_it_goes_on(data, tmp_path, unbroken, step)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are processes on Linux alone")
def test_sigterm_to_the_whole_group_leaves_the_workers_until_it_is_saved(
    data: Path, unbroken: Path, tmp_path: Path
) -> None:
    words = [*command(data, tmp_path), "--workers", "1"]
    code = in_a_process(lambda: killed_at_step(5, signal.SIGTERM, words, group=True))
    assert code == 128 + signal.SIGTERM
    check_it_goes_on(data, tmp_path, unbroken, 5)


def test_sigkill_in_the_middle_of_a_checkpoint_leaves_the_one_before(
    data: Path, unbroken: Path, tmp_path: Path
) -> None:
    killed = in_a_process(lambda: killed_while_saving(6, command(data, tmp_path)))
    assert killed == -signal.SIGKILL
    assert (tmp_path / "checkpoints" / ".step-00000006.partial" / "state.pt").is_file()
    check_it_goes_on(data, tmp_path, unbroken, 3)
