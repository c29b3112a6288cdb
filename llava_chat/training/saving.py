"""What a checkpoint holds of a run, and how a run goes on from one.

Imports torch, `checkpoints` and errors.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.checkpoints import SHARDS, STATE, Checkpoints, not_saved, read, write
from llava_chat.training.processes import Processes
from llava_chat.training.schedule import LoopOptions, Run
from llava_chat.training.watching.reporting import Reporter


class Running(Protocol):
    """The parts of a run that are kept. skipped: samples left out since it began."""

    name: str
    options: LoopOptions
    processes: Processes
    modules: nn.Module
    optimisers: list[torch.optim.Optimizer]
    device: torch.device
    checkpoints: Checkpoints
    reporter: Reporter
    skipped: int


def steps_done(folder: Path) -> int:
    """How far the run with these checkpoints is; 0 before its first."""
    return max(Checkpoints(folder).steps(), default=0)


def save(run: Running, done: int) -> None:
    """Write the checkpoint of step `done`, every process its part.

    Raises LlavaChatError in all of them when it cannot be written; the older ones stay.
    """
    processes = run.processes
    try:
        processes.together(lambda: _begin(run, done))
        processes.together(lambda: _write(run, done))
        processes.together(lambda: _finish(run, done))
    finally:
        if processes.first:
            run.checkpoints.clear()


def _begin(run: Running, done: int) -> None:
    with not_saved(done, run.checkpoints.folder):
        if run.processes.first:
            run.checkpoints.begin(done)


def _write(run: Running, done: int) -> None:
    aside, whole = run.checkpoints.aside(done), not run.processes.sharded
    with not_saved(done, run.checkpoints.folder):
        write(_random_state(run.device), aside / f"random-{run.processes.index}.pt")
        if not whole:
            run.processes.save_shards(aside / SHARDS)
        if run.processes.first:
            optimisers = [each.state_dict() for each in run.optimisers] if whole else []
            state = {
                "step": done,
                "run": dict(run.options.described(run.name)),
                "skipped": run.skipped,
                "modules": _learned_state(run.modules) if whole else {},
                "optimisers": optimisers,
            }
            write(state, aside / STATE)


def _finish(run: Running, done: int) -> None:
    if not run.processes.first:
        return
    with torch.random.fork_rng([run.device] if run.device.type == "cuda" else []):
        run.reporter.saving(done, run.checkpoints.aside(done))
    with not_saved(done, run.checkpoints.folder):
        run.checkpoints.finish(done)


def resume(run: Running) -> int:
    """Put the newest checkpoint into the run; return the step that it is of, or 0.

    Raises LlavaChatError when it is damaged, or another run's.
    """
    newest = run.checkpoints.newest()
    if newest is None:
        return 0
    file = newest / STATE
    state = read(file)
    described = run.options.described(run.name)
    _check_run(state, described, run.checkpoints.folder)
    if run.processes.sharded:
        run.processes.load_shards(newest / SHARDS)
    else:
        _load(run, state, file)
    run.skipped = int(state["skipped"])
    random = newest / f"random-{run.processes.index}.pt"
    if random.is_file():  # more processes than before have none of their own
        _set_random_state(read(random), run.device)
    if run.processes.first:
        print(f"{run.name}: going on from step {state['step']}", file=sys.stderr, flush=True)
    return int(state["step"])


def _load(run: Running, state: Mapping[str, Any], file: Path) -> None:
    alike = _shapes(state["modules"]) == _shapes(_learned_state(run.modules))
    if not alike or len(state["optimisers"]) != len(run.optimisers):
        raise LlavaChatError(
            f"{file} was written by another model or optimiser; delete the folder "
            f"{run.checkpoints.folder} to start again"
        )
    run.modules.load_state_dict(state["modules"], strict=False)
    for optimiser, kept in zip(run.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)


def _check_run(state: Mapping[str, Any], run: Run, folder: Path) -> None:
    """Raise LlavaChatError when the state is not one of `run`."""
    begun = state["run"]
    keys = [key for key in {**begun, **run} if begun.get(key) != run.get(key)]
    differ = [f"{key} {begun.get(key)} there, {run.get(key)} here" for key in keys]
    if differ:
        raise LlavaChatError(
            f"{folder} was written by another run ({'; '.join(differ)}); delete it to start "
            "again, or go on with what it was begun with"
        )


def _learned_state(modules: nn.Module) -> dict[str, Tensor]:
    wanted = {name for name, p in modules.named_parameters() if p.requires_grad}
    return {name: value for name, value in modules.state_dict().items() if name in wanted}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Dropout's; samples are made from their numbers alone."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
