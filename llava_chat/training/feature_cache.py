"""What the frozen tower makes of pictures, kept on the disk for the next time they come.

    FOLDER/TOWER/ab/abcdef....safetensors      (P, Dv) of one picture

TOWER is a hash of the tower's weights, a picture's name one of the pixels that the tower is given:
what is read back is what would be computed, whatever became of files and settings. A file is there
whole or not at all. Imports torch, numpy, safetensors and `model`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llava_chat.model.encoder import VisionTower

_NAME = "features"


class FeatureCache:
    """Features of pictures by their keys.

    max_bytes: once so much is there, of all towers, no more is added. numbers: of what else changes
    a feature, such as the number format it is computed in. processes: how many add to it at once,
    each its share of the room that is left.
    """

    def __init__(
        self,
        folder: Path,
        tower: VisionTower,
        max_bytes: int,
        numbers: str = "",
        *,
        processes: int = 1,
    ) -> None:
        self._folder = folder / _fingerprint(tower, numbers)
        self._folder.mkdir(parents=True, exist_ok=True)
        there = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        self._room = (max_bytes - there) // processes

    def keys(self, pixels: Tensor) -> tuple[str, ...]:
        """(N, 3, S, S) -> the key of each."""
        return tuple(
            hashlib.blake2b(each.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
            for each in pixels
        )

    def read(self, keys: Sequence[str]) -> Tensor | None:
        """(N, P, Dv), or None when they are not all there."""
        found: list[Tensor] = []
        for key in keys:
            try:
                found.append(load_file(self._file(key))[_NAME])
            except (OSError, SafetensorError, KeyError):  # not yet, or damaged: computed again
                return None
        return torch.stack(found)

    def write(self, keys: Sequence[str], features: Tensor) -> None:
        """Keep the features (N, P, Dv). A full disk only means that they are not kept."""
        for key, each in zip(keys, features.detach().cpu(), strict=True):
            file = self._file(key)
            if self._room <= 0 or file.exists():
                continue
            aside = file.with_name(f".{key}.{os.getpid()}")
            try:
                file.parent.mkdir(exist_ok=True)
                save_file({_NAME: each.contiguous()}, aside)
                os.replace(aside, file)
            except (OSError, SafetensorError):
                self._room = 0
                with contextlib.suppress(OSError):
                    aside.unlink(missing_ok=True)
                return
            self._room -= each.numel() * each.element_size()

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"


def _fingerprint(tower: VisionTower, numbers: str) -> str:
    """A hash of the tower's weights and of which of its layers is read."""
    found = hashlib.blake2b(f"{tower.tokens_per_picture} {numbers}".encode(), digest_size=8)
    for name, weight in tower.state_dict().items():
        found.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        found.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
