"""The language model over the rows of a cache, in as few steps as its arithmetic takes.

LLaMA, Mistral and Qwen2 are the same decoder (arXiv 2302.13971, 2310.06825, 2407.10671): what
differs is in their weights and in what a layer may look back at. The weights are those of
transformers' modules, which are called where they do arithmetic, so quantised layers and adapters
work as they are. An adapter that only some replies use is another decoder over the same rows, whose
layers add its change to what the modules make. What transformers' own forward does besides, for
masks and caches of every kind, takes a small model as long as the arithmetic: a token of the
bundled one took 2.3 ms that way and takes 1.3 ms here, its weights at hand (two cores, float32).
Imports torch, `model`, `layer` and `rows`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from llava_chat.engine.local.layer import Changes, Layer, LowRank, Norm
from llava_chat.engine.local.rows import OneRow, RowCache, SeveralRows, Where
from llava_chat.model.llava import LlavaModel

_LAYERS, _HEAD = "language_model.model.layers", "language_model.lm_head"


@dataclass(frozen=True)
class _Surroundings:
    """What every layer of one run is given.

    where: the new tokens go. cos, sin: (B, 1, T, head size), of their places; sin has its first
    half negated. masks: what is added to attention, (B, 1, T, length), by the kind of layer; None
    hides nothing but, of several new tokens, those that follow.
    """

    where: Where
    cos: Tensor
    sin: Tensor
    masks: Mapping[str, Tensor | None]

    def to(self, device: torch.device) -> _Surroundings:
        """The same on another device."""
        masks = {
            kind: None if mask is None else mask.to(device) for kind, mask in self.masks.items()
        }
        return _Surroundings(self.where, self.cos.to(device), self.sin.to(device), masks)


class RowDecoder:
    """Runs the language model of `model` over `cache`.

    device: where embeds and ids come from and logits come back to; layers may lie elsewhere.
    """

    def __init__(self, model: LlavaModel, cache: RowCache, device: torch.device) -> None:
        text = model.config.text
        self._model = model
        self._cache = cache
        self.device = device
        self._windows = _windows(model)
        self._layers = self._taken_apart({})
        self._head_change: LowRank | None = None
        self._norm = Norm.of(model.language_model.model.norm)
        shared = text.num_key_value_heads or text.num_attention_heads
        self._shares_keys = shared != text.num_attention_heads
        self._cos, self._sin = self._rotary_tables()

    def changed(self, changes: Changes) -> Self:
        """Another one, over the same rows, with an adapter's changes. Both may be used in turn."""
        other = copy.copy(self)
        other._layers = self._taken_apart(changes)
        other._head_change = changes.get(_HEAD)
        return other

    def read(self, embeds: Tensor, row: int, start: int, *, last: bool = True) -> Tensor | None:
        """Read embeds (1, T, D) into a row, behind its first `start` tokens.

        Returns the logits (V,) of what follows, None unless they are the `last` of a prompt.
        """
        end = start + embeds.shape[1]
        positions = torch.arange(start, end, device=self.device).unsqueeze(0)
        # Heads that share keys are put behind each other, which no causal flag knows.
        unmasked = start == 0 and not self._shares_keys
        surroundings = _Surroundings(
            OneRow(row, start),
            self._cos[None, None, start:end],
            self._sin[None, None, start:end],
            self._masks(positions, end, unmasked=unmasked),
        )
        hidden = self._run(embeds, surroundings)
        return self._logits(hidden)[0] if last else None

    def write(
        self, ids: Tensor, positions: Tensor, length: int, *, alone: bool, first: int = 0
    ) -> Tensor:
        """The newest ids (B,) of B rows, at `positions` (B,) of them -> logits (B, V).

        length: how many places of the rows are looked at. alone: one row of exactly so many
        tokens, which needs no mask. first: of the rows.
        """
        surroundings = _Surroundings(
            SeveralRows(positions, length, first),
            self._cos[positions][:, None, None],
            self._sin[positions][:, None, None],
            self._masks(positions.unsqueeze(1), length, unmasked=alone),
        )
        return self._logits(self._run(self._model.words(ids.unsqueeze(1)), surroundings))

    def _run(self, hidden: Tensor, surroundings: _Surroundings) -> Tensor:
        """Embeds (B, T, D) -> what the last layer makes of them, (B, T, D)."""
        device = hidden.device
        for number, layer in enumerate(self._layers):
            if layer.device != device:
                device = layer.device
                hidden, surroundings = hidden.to(device), surroundings.to(device)
            hidden = self._through(number, layer, hidden, surroundings)
        return hidden

    def _through(self, number: int, layer: Layer, hidden: Tensor, given: _Surroundings) -> Tensor:
        """One layer: (B, T, D) -> (B, T, D)."""
        normed = layer.before_attention(hidden)
        heads = *hidden.shape[:2], -1, layer.head_size
        queries, keys, values = (
            project(normed).view(heads).transpose(1, 2) for project in layer.projections
        )
        new = rotated(keys, given.cos, given.sin), values
        seen = attended(
            rotated(queries, given.cos, given.sin),
            *self._cache.update(number, new, given.where),
            given.masks[layer.kind],
            scale=layer.scale,
        )
        hidden = hidden + layer.output(seen.transpose(1, 2).flatten(2))
        return hidden + layer.mlp(layer.before_mlp(hidden))

    def _logits(self, hidden: Tensor) -> Tensor:
        """What the last layer made (B, T, D) -> logits (B, V) of what follows the last token."""
        head = self._model.language_model.lm_head
        last = self._norm(hidden[:, -1].to(self._norm.weight.device))
        last = last.to(head.weight.device)
        logits: Tensor = head(last)
        if self._head_change is not None:
            logits = logits + self._head_change(last)
        return logits.to(self.device)

    def _taken_apart(self, changes: Changes) -> list[Layer]:
        layers: list[Any] = [*self._model.language_model.model.layers]
        kinds = getattr(self._model.config.text, "layer_types", None)
        kinds = kinds or [*self._windows] * len(layers)
        return [
            Layer.of(layer, kind, f"{_LAYERS}.{number}", changes)
            for number, (layer, kind) in enumerate(zip(layers, kinds, strict=True))
        ]

    def _masks(
        self, positions: Tensor, length: int, *, unmasked: bool
    ) -> Mapping[str, Tensor | None]:
        """For tokens at `positions` (B, T); unmasked: where no layer's window hides anything."""
        return {
            kind: None
            if unmasked and (window is None or length <= window)
            else self._mask(positions, length, window)
            for kind, window in self._windows.items()
        }

    def _mask(self, positions: Tensor, length: int, window: int | None) -> Tensor:
        places = torch.arange(length, device=positions.device)
        newest = positions.unsqueeze(-1)
        seen = places <= newest
        if window is not None:
            seen &= places > newest - window
        none = torch.zeros((), dtype=self._model.dtype, device=positions.device)
        return torch.where(seen, none, none - torch.inf).unsqueeze(1)

    def _rotary_tables(self) -> tuple[Tensor, Tensor]:
        """What turns each place, cos and sin (capacity + 1, head size); the last is never read."""
        places = torch.arange(self._cache.capacity + 1, device=self.device)
        places = places.clamp(max=self._cache.capacity - 1).unsqueeze(0)
        like = torch.empty((), dtype=self._model.dtype, device=self.device)
        cos, sin = self._model.language_model.model.rotary_emb(like, places)
        sin = sin.clone()
        sin[..., : sin.shape[-1] // 2] *= -1
        return cos[0], sin[0]


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864) for states (B, heads, T, size) in two halves.

    cos, sin: (B or 1, 1, T, size), the first half of sin negated.

    >>> quarter = torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
    >>> rotated(torch.tensor([[1.0, 0.0]]), *quarter)
    tensor([[0., 1.]])
    """
    return torch.addcmul(states * cos, states.roll(states.shape[-1] // 2, dims=-1), sin)


def attended(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, scale: float
) -> Tensor:
    """Attention of queries (B, H, T, size) to keys and values (B, K, length, size), K of H heads.

    mask: (B, 1, T, length), added; None hides only which of the T tokens follow. Heads that share
    keys (arXiv 2305.13245) are asked as if they were more tokens, so that no key is copied; then T
    is 1 without a mask.
    """
    batch, heads, tokens, size = queries.shape
    shared = heads // keys.shape[1]
    causal = mask is None and tokens > 1
    if shared > 1:
        queries = queries.reshape(batch, keys.shape[1], shared * tokens, size)
        mask = None if mask is None else mask.repeat(1, 1, shared, 1)
    seen = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=causal, scale=scale
    )
    return seen.reshape(batch, heads, tokens, size)


def _windows(model: LlavaModel) -> dict[str, int | None]:
    """How many of the newest places the layers of each kind see, None for all of them."""
    text = model.config.text
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is None:  # one kind for all layers, as Mistral's
        kinds = ["sliding_attention" if window else "full_attention"]
    return {kind: window if kind == "sliding_attention" else None for kind in dict.fromkeys(kinds)}
