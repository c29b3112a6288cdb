"""A decoder that sees only its newest tokens computes the same in the memory that is reserved."""

from __future__ import annotations

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from llava_chat.engine.local.kv_cache import ReservedCache

TOKENS, WINDOW, CHUNK = 40, 8, 16
SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "attn_implementation": "sdpa",
    "sliding_window": WINDOW,
}


def decoder(kind: str) -> MistralForCausalLM | Qwen2ForCausalLM:
    """Random; Mistral's window is every layer's, Qwen2's the second one's."""
    torch.manual_seed(0)
    model = (
        MistralForCausalLM(MistralConfig(**SHAPE))
        if kind == "mistral"
        else Qwen2ForCausalLM(Qwen2Config(**SHAPE, use_sliding_window=True, max_window_layers=1))
    )
    model.train(False)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model


@pytest.mark.parametrize("step", [CHUNK, 1])
@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
@torch.no_grad()
def test_logits_are_those_of_the_whole(kind: str, step: int) -> None:
    model = decoder(kind)
    ids = torch.randint(0, 50, (1, TOKENS))
    expected = model(ids, use_cache=False).logits
    earlier = ids.clone()
    earlier[0, 0] = (earlier[0, 0] + 1) % 50
    assert (model(earlier, use_cache=False).logits != expected)[0, -1].any() == (kind == "qwen2")

    first, second = ReservedCache(2, TOKENS, []), None
    found = []
    for chunk in ids.split(step, dim=1):
        cache = first if second is None else second
        found.append(model(chunk, past_key_values=cache).logits)
        if second is None and cache.get_seq_length() >= TOKENS // 2:  # as an earlier turn is kept
            second = ReservedCache(2, TOKENS, [cache.between(0, cache.get_seq_length())])
    assert (torch.cat(found, dim=1) - expected).abs().max() < 1e-5
