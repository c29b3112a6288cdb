"""Checkpoints of a run: each is complete or absent, whatever kills the run.

    CHECKPOINTS/step-00000500/state.pt     what is learned, its optimisers, how far it is
                              random-0.pt  the random numbers of each process
                              shards/      instead of weights, where no process holds all of them

A checkpoint is written to a folder aside, flushed to the disk, and only then renamed; older ones go
after that. Imports torch and errors.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from llava_chat.errors import LlavaChatError

STATE, SHARDS = "state.pt", "shards"
_COMPLETE = re.compile(r"step-(\d{8})")


class Checkpoints:
    """The newest of a run. keep: how many stay."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def steps(self) -> list[int]:
        """The steps whose checkpoint is there, the oldest first."""
        if not self.folder.is_dir():
            return []
        there = (_COMPLETE.fullmatch(path.name) for path in self.folder.iterdir())
        found = (int(name[1]) for name in there if name)
        return sorted(step for step in found if (self.at(step) / STATE).is_file())

    def at(self, step: int) -> Path:
        """The folder of a step's checkpoint, there or not."""
        return self.folder / f"step-{step:08d}"

    def newest(self) -> Path | None:
        """The one that a run goes on from."""
        steps = self.steps()
        return self.at(steps[-1]) if steps else None

    def aside(self, step: int) -> Path:
        """Where a step's checkpoint is written to until it is complete."""
        return self.folder / f".step-{step:08d}.partial"

    def begin(self, step: int) -> Path:
        """An empty folder aside. What others left half written goes."""
        self.clear()
        aside = self.aside(step)
        aside.mkdir(parents=True)
        return aside

    def clear(self) -> None:
        """Remove what a run that was killed left half written."""
        for left in self.folder.glob(".step-*.partial"):
            shutil.rmtree(left)

    def finish(self, step: int) -> None:
        """Make the folder aside the step's checkpoint; let the oldest go."""
        aside, target = self.aside(step), self.at(step)
        for path in [*aside.rglob("*"), aside]:
            _flush(path)
        if target.exists():  # without a state: what was written to look at stayed of a run before
            shutil.rmtree(target)
        os.replace(aside, target)
        _flush(self.folder)
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.at(old))

    def forget(self) -> None:
        """Remove what only a run that goes on needs; what was written to look at stays."""
        for step in self.steps():
            folder = self.at(step)
            (folder / STATE).unlink()  # first: without it the rest is no checkpoint
            for random in folder.glob("random-*.pt"):
                random.unlink()
            shutil.rmtree(folder / SHARDS, ignore_errors=True)
        self.clear()
        for path in [*self.folder.glob("step-*"), self.folder]:
            with contextlib.suppress(OSError):  # something to look at is in it
                path.rmdir()


def write(state: dict[str, Any], file: Path) -> None:
    """Write what `read` reads. Raises OSError or RuntimeError when it does not fit on the disk."""
    with file.open("wb") as opened:
        torch.save(state, opened)


def read(file: Path) -> dict[str, Any]:
    """What a file of a checkpoint holds. Raises LlavaChatError if damaged."""
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise LlavaChatError(
            f"{file} is damaged; delete the folder {file.parent} to go on from the checkpoint "
            "before it, or to start again"
        ) from error
    return state


@contextlib.contextmanager
def not_saved(step: int, folder: Path) -> Iterator[None]:
    """Raise LlavaChatError saying that there is no room, and that what is there stays."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or str(error).partition("\n")[0]
        raise LlavaChatError(
            f"the checkpoint of step {step} cannot be written to {folder} ({reason}); the older "
            "ones stay, and the same command goes on from there once that is mended"
        ) from error


def _flush(path: Path) -> None:
    """Have the disk take a file, or a folder's list of names, before it is relied on."""
    if os.name != "posix" and path.is_dir():
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
