"""How many conversations fit beside the weights, decided once when an engine starts.

Imports torch, `model` and errors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from llava_chat.engine.local.rows import Shape
from llava_chat.model.llava import LlavaModel
from llava_chat.model.memory import free_bytes

MOST_SLOTS = 16
"""Unless a host says otherwise. On two cores 16 replies at once are written six times as fast as
one after the other, and 32 no faster than that."""

DEFAULT_CPU_BYTES = 2**30
"""Of a machine's memory, which other programs want as well."""

FREE_SHARE = 0.85
"""Of what a device has left beside the weights; reading prompts and the libraries take the rest."""

_FEATURES_SHARE = 32  # a LLaVA-1.5 picture is 4.7 MB as features, 302 MB as keys and values of 7B


@dataclass(frozen=True)
class Room:
    """What an engine reserves: `slots` rows of `context_tokens`, and memory for pictures.

    row_bytes: keys and values of one row. feature_bytes: of pictures that were seen.
    """

    slots: int
    context_tokens: int
    row_bytes: int
    feature_bytes: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.slots * self.row_bytes + self.feature_bytes


def choose_room(
    model: LlavaModel,
    *,
    slots: int | None = None,
    context_tokens: int | None = None,
    cache_bytes: int | None = None,
) -> Room:
    """The slots that fit; at least one, so that there is an engine at all.

    slots: exactly so many. context_tokens: of a row, None or more than the model's own is the
    model's own. cache_bytes: for everything, None is what suits the devices.
    """
    longest = int(model.config.text.max_position_embeddings)
    context_tokens = min(context_tokens or longest, longest)
    shapes = layer_shapes(model)
    row_bytes = sum(shape.token_bytes for shape in shapes) * (context_tokens + 1)
    if slots is None:
        fitting = (
            _fitting(shapes, context_tokens)
            if cache_bytes is None
            else (cache_bytes - cache_bytes // _FEATURES_SHARE) // row_bytes
        )
        slots = max(1, min(fitting, MOST_SLOTS))
    budget = slots * row_bytes if cache_bytes is None else cache_bytes
    return Room(slots, context_tokens, row_bytes, budget // _FEATURES_SHARE)


def layer_shapes(model: LlavaModel) -> list[Shape]:
    """Of the keys of each layer of the decoder, which lie where the layer's weights lie."""
    text = model.config.text
    heads = text.num_key_value_heads or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers = model.language_model.model.layers
    devices = [layer.input_layernorm.weight.device for layer in layers]
    return [Shape(heads, size, device, model.dtype) for device in devices]


def _fitting(shapes: list[Shape], context_tokens: int) -> int:
    """Rows that fit on every device, each of which holds some of the layers."""
    bytes_there = Counter[torch.device]()
    for shape in shapes:
        bytes_there[shape.device] += shape.token_bytes * (context_tokens + 1)
    most = MOST_SLOTS
    for device, row_bytes in bytes_there.items():
        free = free_bytes(device)
        budget = DEFAULT_CPU_BYTES if free is None else int(free * FREE_SHARE)
        if device.type == "cpu":
            budget = min(budget, DEFAULT_CPU_BYTES)
        most = min(most, (budget - budget // _FEATURES_SHARE) // row_bytes)
    return most
