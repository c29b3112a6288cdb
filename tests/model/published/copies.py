"""Copies of written rows, for tests that damage them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.model.published.adapters import WRITERS, write_delta
from tests.model.published.layouts import Written, write
from tests.model.published.rows import ROWS

Change = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Copy:
    """A row's folder, the cache with what it names, and the LLaMA that it is a delta to."""

    folder: Path
    hub: Path
    base: Path | None

    def repository(self, name: str) -> Path:
        """The folder in the cache of a repository."""
        (snapshot,) = (self.hub / f"models--{name.replace('/', '--')}" / "snapshots").iterdir()
        return snapshot


Ask = Callable[[str], Copy]
"""Copies the row of a name."""


@dataclass
class Copies:
    """Each row is written once below `root`, and copied for whoever asks."""

    root: Path
    _written: dict[str, Written] = field(default_factory=dict)

    def make(self, name: str, target: Path) -> Copy:
        """`name`: a label of ROWS, a name of WRITERS, or `v0-delta`."""
        if name not in self._written:
            self._written[name] = self._write(name)
        written, here = self._written[name], self.root / name
        shutil.copytree(here, target)
        return Copy(
            target / written.folder.relative_to(here),
            target / written.hub.relative_to(here),
            written.base and target / written.base.relative_to(here),
        )

    def _write(self, name: str) -> Written:
        if name in WRITERS or name == "v0-delta":
            (self.root / name).mkdir()
            return WRITERS.get(name, write_delta)(self.root / name)
        row = next(row for row in ROWS if row.label == name)
        return write(row, self.root / name / "model", self.root / name / "hub")


def edit_json(path: Path, change: Change) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_weights(path: Path, change: Change) -> None:
    """Change a file of weights in place, .bin or .safetensors."""
    if path.suffix == ".bin":
        weights = torch.load(path, weights_only=True)
        change(weights)
        torch.save(weights, path)
    else:
        held = {name: weight.clone() for name, weight in load_file(path).items()}
        change(held)
        save_file(held, path, metadata={"format": "pt"})


def file_with(folder: Path, weight: str) -> Path:
    """The shard that holds a weight."""
    for path in sorted([*folder.glob("*.bin"), *folder.glob("*.safetensors")]):
        held = load_file(path) if path.suffix != ".bin" else torch.load(path, weights_only=True)
        if weight in held:
            return path
    raise LookupError(weight)


def not_finite(name: str, value: float = float("nan")) -> Change:
    """Put `value` into a weight, in edit_weights."""
    return lambda weights: weights[name].view(-1).__setitem__(0, value)
