"""Reading a prompt into its slot, piece by piece, so that replies being written keep flowing.

Imports torch, `model`, `image` and the modules beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.feature_cache import FeatureCache
from llava_chat.engine.local.job import Job
from llava_chat.engine.local.slots import KeyPart, Slot
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint


class Eye:
    """Pictures as rows of a prompt, encoded once. max_bytes: what is remembered of them."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, max_bytes: int) -> None:
        self._checkpoint = checkpoint
        self._device = device
        self._features = FeatureCache(max_bytes)

    def knows(self, picture: Picture) -> bool:
        """Whether it was encoded before, and is remembered."""
        return picture.id in self._features

    def see(self, picture: Picture, views: Tensor | None) -> Tensor:
        """Rows (R, D). A picture is encoded alone, so they do not depend on its company.

        views: its pixels (V, 3, H, W), if they are at hand.
        """
        features = self._features.get(picture.id)
        if features is None:
            views = self._checkpoint.pixels(picture) if views is None else views
            model, size = self._checkpoint.model, (picture.width, picture.height)
            features = model.picture_rows(views.to(self._device), *size)
            self._features.put(picture.id, features)
        return features

    def forget(self) -> None:
        """Give the memory of everything remembered back."""
        self._features.clear()


class Reading:
    """A prompt on its way into a slot, whose first `len(slot.key)` places are known.

    key: the whole prompt's. Raises what the model raises; the slot's key says what is there.
    """

    def __init__(
        self,
        job: Job,
        slot: Slot,
        key: list[KeyPart],
        *,
        checkpoint: Checkpoint,
        eye: Eye,
        device: torch.device,
    ) -> None:
        self._slot = slot
        self._key = key
        self._model = checkpoint.model
        self._eye = eye
        self._device = device
        known = len(slot.key)
        spans = [span for span in job.request.prompt.spans if span.start >= known]
        self._pictures = [span.picture for span in spans]
        self._views = job.request.views
        self._ids = job.request.prompt.ids[known:]
        self._seen: list[Tensor] = []
        self._embeds: Tensor | None = None
        new = {picture.id for picture in self._pictures if not eye.knows(picture)}
        job.looks(len(new), known)

    def goes_on(self, decoder: RowDecoder, most_tokens: int) -> Tensor | None:
        """Look at one picture, or have the decoder read at most so many tokens.

        Returns the logits (V,) of the token that follows, once the whole prompt is read.
        """
        if len(self._seen) < len(self._pictures):
            picture = self._pictures[len(self._seen)]
            self._seen.append(self._eye.see(picture, self._views.pop(picture.id, None)))
            return None
        if self._embeds is None:
            ids = torch.tensor([self._ids], device=self._device)
            self._embeds = self._model.embed(ids, torch.cat(self._seen) if self._seen else None)
        piece, self._embeds = self._embeds[:, :most_tokens], self._embeds[:, most_tokens:]
        start = len(self._slot.key)
        end = start + piece.shape[1]
        last = end == len(self._key)
        logits = decoder.read(piece, self._slot.row, start, last=last)
        self._slot.key.extend(self._key[start:end])
        return logits
