"""In the rows of a cache a decoder computes what transformers' own does from nothing."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, MistralConfig, Qwen2Config

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.sizing import layer_shapes
from llava_chat.engine.local.step import FixedStep, Step
from llava_chat.model.llava import LlavaConfig, LlavaModel, TextConfig

TOKENS, WINDOW, CHUNK, CAPACITY = 40, 8, 16, 48
VISION = CLIPVisionConfig(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
)
SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


TEXTS = {
    "llama": LlamaConfig(**{**SHAPE, "num_key_value_heads": 4}),
    "llama 3": LlamaConfig(
        **SHAPE,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "mistral": MistralConfig(**SHAPE, sliding_window=WINDOW),  # every layer's
    "qwen2": Qwen2Config(  # the second layer's
        **SHAPE, sliding_window=WINDOW, use_sliding_window=True, max_window_layers=1
    ),
}


def llava(text: TextConfig) -> LlavaModel:
    """Random."""
    torch.manual_seed(0)
    model = LlavaModel(LlavaConfig(VISION, text, image_token_id=49)).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model


@pytest.mark.parametrize("step_class", [Step, FixedStep])
@pytest.mark.parametrize("kind", TEXTS)
@torch.no_grad()
def test_logits_are_those_of_the_whole(kind: str, step_class: type[Step]) -> None:
    model = llava(TEXTS[kind])
    ids = torch.randint(0, 49, (3, TOKENS))
    expected = model.language_model(ids, use_cache=False).logits
    earlier = ids.clone()
    earlier[:, 0] = (earlier[:, 0] + 1) % 49
    changed = model.language_model(earlier, use_cache=False).logits != expected
    assert changed[:, -1].any() == (kind != "mistral")  # only there nothing sees the first token

    cache = RowCache(layer_shapes(model), 4, CAPACITY)
    decoder = RowDecoder(model, cache, torch.device("cpu"))
    read = [5, 20, 33]
    for row, length in enumerate(read):
        for start in range(0, length, CHUNK):
            end = min(start + CHUNK, length)
            found = decoder.read(model.words(ids[row : row + 1, start:end]), row, start)
            assert (found - expected[row, end - 1]).abs().max() < 1e-5
    step = step_class(decoder, cache, torch.device("cpu"))
    for more in range(TOKENS - max(read)):
        for rows in (1, 3) if more == 0 else (3,):  # alone, and once more with the others
            places = [length + more for length in read[:rows]]
            newest = [int(ids[row, place]) for row, place in enumerate(places)]
            found = step.write(newest, places)
            for row, place in enumerate(places):
                assert (found[row] - expected[row, place]).abs().max() < 1e-5
