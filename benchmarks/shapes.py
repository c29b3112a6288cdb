"""Models of random weights in known shapes, and transformers' own class holding the same weights.

Speed does not depend on what the weights are. The words come from the bundled tokenizer: a larger
table of words is as large as the shape says, and never sampled beyond what the tokenizer knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig as TransformersConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from llava_chat.engine.local.passing import in_passing
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.preprocessing import Preprocessing

_TOKENIZER = Path(__file__).resolve().parents[1] / "assets" / "scenes"
_WORD = re.compile("▁[a-z]+")
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Shape:
    """Widths and depths of tower and decoder."""

    image_px: int
    patch_px: int
    vision_width: int
    vision_inner: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_inner: int
    text_layers: int
    text_heads: int
    vocabulary: int


SHAPES = {
    # For the test of the benchmark itself.
    "tiny": Shape(28, 14, 32, 64, 2, 2, 64, 96, 2, 2, 1024),
    # What two cores answer with in under a second: 64 million parameters.
    "small": Shape(336, 14, 256, 1024, 6, 4, 512, 1408, 8, 8, 32064),
    # LLaVA-1.5-7B: CLIP L/14-336 and Vicuna 7B (arXiv 2310.03744).
    "7b": Shape(336, 14, 1024, 4096, 24, 16, 4096, 11008, 32, 32, 32064),
}

BUNDLED = "bundled"
NAMES = (BUNDLED, *SHAPES)


def open_checkpoint(name: str, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """The bundled model, or random weights in one of SHAPES."""
    if name == BUNDLED:
        return in_passing(load_checkpoint, "scenes", device=str(device), dtype=dtype)
    return in_passing(random_checkpoint, SHAPES[name], device, dtype)


def random_checkpoint(shape: Shape, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """A model whose greedy replies never end by themselves, and hold beginnings of words only.

    So every server can stream its text, reads it as the ids that it was made of, and need not be
    told what the model may not say, which would cost it time at every token.
    """
    torch.manual_seed(0)
    checkpoint = _around(shape, lambda config: _made(lambda: LlavaModel(config), device, dtype))
    words = {id for piece, id in checkpoint.tokenizer.get_vocab().items() if _WORD.fullmatch(piece)}
    others = [row for row in range(shape.vocabulary) if row not in words]
    # A logit is then always 0, and some word is likelier.
    with torch.no_grad():
        checkpoint.model.language_model.lm_head.weight[others] = 0
    return checkpoint


def weightless_checkpoint(shape: Shape, dtype: torch.dtype) -> Checkpoint:
    """A model to be saved: each matrix is random and takes memory only while it is copied.

    Its rows are windows on one row of numbers, each shifted by one.
    """
    torch.manual_seed(0)

    def windows(expected: torch.Tensor) -> torch.Tensor:
        if expected.dim() != 2:
            return torch.empty(expected.shape, dtype=dtype).normal_(0, 0.02)
        numbers = torch.empty(sum(expected.shape), dtype=dtype).normal_(0, 0.02)
        return numbers.as_strided(expected.shape, (1, 1))

    def make(config: LlavaConfig) -> LlavaModel:
        with torch.device("meta"):
            model = LlavaModel(config)
        weights = {name: windows(weight) for name, weight in model.state_dict().items()}
        model.load_state_dict(weights, assign=True)
        return model

    return _around(shape, make)


def _around(shape: Shape, make: Callable[[LlavaConfig], LlavaModel]) -> Checkpoint:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(_TOKENIZER)
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_inner,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.image_px,
        patch_size=shape.patch_px,
    )
    text = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.text_width,
        intermediate_size=shape.text_inner,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        max_position_embeddings=4096,
        pad_token_id=0,
    )
    config = LlavaConfig(vision, text, image_token_id=tokenizer.convert_tokens_to_ids("<image>"))
    return Checkpoint(
        make(config),
        tokenizer,
        "random",
        "0",
        "vicuna_v1",
        "random weights",
        Preprocessing.of(config),
    )


def weight_bytes(model: LlavaModel) -> int:
    """What one token reads of the decoder: everything but the table of words, of which one row."""
    decoder = model.language_model
    table = decoder.get_input_embeddings().weight
    tied = table is decoder.lm_head.weight
    return sum(
        weight.numel() * weight.element_size()
        for weight in decoder.parameters()
        if tied or weight is not table
    )


def token_bytes(model: LlavaModel) -> int:
    """What the keys and values of one token take."""
    text = model.config.text
    heads = text.num_key_value_heads or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    numbers: int = 2 * text.num_hidden_layers * heads * size
    return numbers * model.language_model.lm_head.weight.element_size()


@torch.no_grad()
def transformers_twin(model: LlavaModel) -> LlavaForConditionalGeneration:
    """The same weights in transformers' class; only its last CLIP layer is its own."""
    config, weight = model.config, model.language_model.lm_head.weight
    wanted = TransformersConfig(
        vision_config=config.vision,
        text_config=config.text,
        image_token_index=config.image_token_id,
        vision_feature_layer=config.select_layer,
    )
    twin: Any = _made(lambda: LlavaForConditionalGeneration(wanted), weight.device, weight.dtype)
    inner, projector = twin.model, twin.model.multi_modal_projector
    first, _, second = model.projector.children()
    for theirs, ours in (
        (inner.vision_tower, model.tower.vision),
        (inner.language_model, model.language_model.model),
        (twin.lm_head, model.language_model.lm_head),
        (projector.linear_1, first),
        (projector.linear_2, second),
    ):
        theirs.load_state_dict(ours.state_dict(), strict=False, assign=True)
    return twin


@torch.no_grad()
def _made(make: Callable[[], Module], device: torch.device, dtype: torch.dtype) -> Module:
    """Built where and as it will be used: a 7B shape in float32 on the CPU takes 28 GB."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return make().eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
