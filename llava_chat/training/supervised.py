"""What a batch gives: its loss, through tower, projector and decoder, without waiting for a device.

Where the labels and the pictures are is told from the ids while they are on the CPU, by whoever
prepares the batch; asking a GPU for it would hold it up in every part of a step. Imports torch,
`model` and the modules of training that batches are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from llava_chat.model.llava import LlavaModel
from llava_chat.tokens import IGNORED
from llava_chat.training.batch import TokenBatch
from llava_chat.training.feature_cache import FeatureCache
from llava_chat.training.loop import Contents, Losses


@dataclass(frozen=True)
class SupervisedBatch:
    """A batch of (B, T) ids, ready for the device.

    learned: (K,) places, in B * T, whose next token is learned; targets: (K,) those tokens; rows:
    (K,) the row of each. pictures: places of picture rows. pixels: (N, 3, S, S), what the tower
    makes of them, (N, P, Dv), or None without pictures. positions: (B, T) where rows are packed.
    keys: by which the tower's features of the pictures are to be kept.
    """

    ids: Tensor
    learned: Tensor
    targets: Tensor
    rows: Tensor
    pictures: Tensor
    pixels: Tensor | None
    positions: Tensor | None
    contents: Contents
    keys: tuple[str, ...] = ()

    def to(self, device: torch.device) -> SupervisedBatch:
        """On a device, without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> SupervisedBatch:
        """In memory that a GPU copies from by itself; the loader calls it."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> SupervisedBatch:
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) for name, value in mine.items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


def supervised_batch(batch: TokenBatch, image_token_id: int) -> SupervisedBatch:
    """What of a batch is read where. One of no samples becomes a row that nothing is learned of.

    So every process has something to compute, whatever was left out.
    """
    ids, labels = batch.ids, batch.labels
    if not len(ids):
        ids, labels = ids.new_zeros(1, 2), labels.new_full((1, 2), IGNORED)
    following = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    rows, columns = (following != IGNORED).nonzero(as_tuple=True)
    learned = rows * ids.shape[1] + columns
    return SupervisedBatch(
        ids=ids,
        learned=learned,
        targets=following[rows, columns],
        rows=rows,
        pictures=(ids == image_token_id).flatten().nonzero().flatten(),
        pixels=batch.pixels,
        positions=batch.positions,
        contents=Contents(len(learned), batch.tokens, batch.names, batch.skipped),
    )


class SupervisedLoss:
    """The losses of batches under a model.

    decoder: the language model's, perhaps compiled. features: where the tower's are kept.
    """

    def __init__(
        self,
        model: LlavaModel,
        decoder: Callable[..., Any],
        features: FeatureCache | None = None,
    ) -> None:
        self._model, self._decoder, self._kept = model, decoder, features

    def __call__(self, batch: SupervisedBatch) -> Losses:
        """The mean over what is learned, and each row's sum."""
        model = self._model
        batch = batch.to(next(model.projector.parameters()).device)
        seen = None if batch.pixels is None else self._features(batch.pixels, batch.keys)
        embeds = model.embed(batch.ids, seen, places=batch.pictures)
        packed = {} if batch.positions is None else {"position_ids": batch.positions}
        hidden = self._decoder(inputs_embeds=embeds, use_cache=False, **packed).last_hidden_state
        known = hidden.flatten(0, 1).index_select(0, batch.learned)
        logits = model.language_model.lm_head(known)
        losses = functional.cross_entropy(logits.float(), batch.targets, reduction="none")
        rows = losses.new_zeros(len(batch.ids)).index_add_(0, batch.rows, losses.detach())
        loss = losses.sum() / max(1, len(batch.targets))
        if seen is None:
            loss = loss + self._untouched()
        return {"loss": loss, "rows": rows}

    def _features(self, pixels: Tensor, keys: tuple[str, ...]) -> Tensor:
        """Pixels (N, 3, S, S), or what the tower made of them, (N, P, Dv) -> (N, P, D)."""
        seen = pixels if pixels.ndim == 3 else self._model.tower(pixels)
        if self._kept is not None and keys:
            self._kept.write(keys, seen)
        features: Tensor = self._model.projector(seen)
        return features

    def _untouched(self) -> Tensor:
        """A zero that the projector has part in.

        Where several processes train, each gives every weight a gradient, or others wait for it.
        """
        weight = next(self._model.projector.parameters())
        nothing = weight.new_zeros(1, self._model.config.vision.hidden_size)
        projected: Tensor = self._model.projector(nothing)
        return 0 * projected.sum()
