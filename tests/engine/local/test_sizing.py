"""How many conversations an engine has room for, and that it says so."""

from collections.abc import Callable

import pytest
import torch

from llava_chat.engine.local import LocalEngine
from llava_chat.engine.local.sizing import MOST_SLOTS, choose_room, layer_shapes
from llava_chat.errors import SettingError
from llava_chat.model.checkpoint import Checkpoint

TOKEN_BYTES = 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, head size, float32


def test_a_token_takes_keys_and_values_in_every_layer(checkpoint: Checkpoint) -> None:
    shapes = layer_shapes(checkpoint.model)
    assert sum(shape.token_bytes for shape in shapes) == TOKEN_BYTES
    assert {shape.device for shape in shapes} == {torch.device("cpu")}


@pytest.mark.parametrize(
    ("options", "slots", "context_tokens"),
    [
        ({}, MOST_SLOTS, 4096),
        ({"slots": 40}, 40, 4096),
        ({"slots": 3, "context_tokens": 100}, 3, 100),
        ({"context_tokens": 10**6}, MOST_SLOTS, 4096),  # no more than the model reads
        ({"cache_bytes": 0}, 1, 4096),  # there is always one
        ({"cache_bytes": 8 * TOKEN_BYTES * 4097}, 7, 4096),  # some of it is for pictures
    ],
)
def test_room(
    checkpoint: Checkpoint, options: dict[str, int], slots: int, context_tokens: int
) -> None:
    room = choose_room(checkpoint.model, **options)
    assert (room.slots, room.context_tokens) == (slots, context_tokens)
    assert room.row_bytes == TOKEN_BYTES * (context_tokens + 1)
    if options.get("cache_bytes"):
        assert room.bytes <= options["cache_bytes"]


def test_a_shorter_context_is_kept_to(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine(slots=2, context_tokens=128)
    assert engine.model.context_tokens == 128
    load = engine.load()
    assert (load.slots, load.capacity_tokens, load.running, load.waiting) == (2, 256, 0, 0)


def test_what_needs_a_gpu_is_refused_without_one(make_engine: Callable[..., LocalEngine]) -> None:
    with pytest.raises(SettingError, match="capture on needs a model on one CUDA GPU"):
        make_engine(capture="on")
