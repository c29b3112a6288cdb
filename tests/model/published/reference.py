"""transformers' own LLaVA classes with the weights of a row, and its processors of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BaseImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.model.published.rows import Row
from tests.model.published.weights import Parts

Twin = LlavaForConditionalGeneration | LlavaNextForConditionalGeneration


def twin_of(
    parts: Parts,
    vision: PreTrainedConfig,
    text: PreTrainedConfig,
    select: tuple[int, str],
    grid: Sequence[Sequence[int]],
    *,
    image_token: int = 0,
) -> Twin:
    """Of LlavaNext where `grid` is not empty. A linear projector becomes two layers, one of them 1.

    image_token: the id that stands for a row of a picture, where it is to be saved.
    """
    linear = "weight" in parts.projector
    settings = {
        "vision_config": vision.to_dict(),
        "text_config": text.to_dict(),
        "image_token_index": image_token,
        "vision_feature_layer": select[0],
        "vision_feature_select_strategy": select[1],
        "projector_hidden_act": "linear" if linear else "gelu",
        "tie_word_embeddings": text.tie_word_embeddings,
    }
    twin: Twin
    if grid:
        grid_pinpoints = [list(pinpoint) for pinpoint in grid]
        twin = LlavaNextForConditionalGeneration(
            LlavaNextConfig(**settings, image_grid_pinpoints=grid_pinpoints)
        )
        twin.model.image_newline.data.copy_(parts.newline)
    else:
        twin = LlavaForConditionalGeneration(LlavaConfig(**settings))
    twin.model.vision_tower.load_state_dict(parts.tower)
    words = {
        name.removeprefix("model."): weight
        for name, weight in parts.words.items()
        if name != "lm_head.weight"
    }
    twin.model.language_model.load_state_dict(words)
    twin.lm_head.weight.data.copy_(parts.words["lm_head.weight"])
    projector = twin.model.multi_modal_projector
    first = "" if linear else "0."
    projector.linear_1.load_state_dict(
        {kind: parts.projector[first + kind] for kind in ("weight", "bias")}
    )
    if linear:
        projector.linear_2.weight.data.copy_(torch.eye(text.hidden_size))
        projector.linear_2.bias.data.zero_()
    else:
        projector.linear_2.load_state_dict(
            {kind: parts.projector[f"2.{kind}"] for kind in ("weight", "bias")}
        )
    twin.train(False)
    return twin


def views_of(row: Row, grid: Sequence[Sequence[int]], image: Image.Image) -> Tensor:
    """(V, 3, S, S) by the processor that sees pictures as the row's model was trained to."""
    processor: BaseImageProcessor
    edge, side = {"shortest_edge": row.image_px}, {"height": row.image_px, "width": row.image_px}
    match row.aspect:
        case "stretch":
            processor = SiglipImageProcessorPil(size=side)
        case "square":
            processor = CLIPImageProcessorPil(size=edge, crop_size=side)
        case "pad":
            processor = LlavaImageProcessorPil(size=edge, crop_size=side, do_pad=True)
        case "anyres":
            processor = LlavaNextImageProcessorPil(
                size=edge, crop_size=side, image_grid_pinpoints=[list(pair) for pair in grid]
            )
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
    return pixels[0] if row.anyres else pixels


@torch.no_grad()
def picture_rows(twin: Twin, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Views (V, 3, S, S) of a picture of (width, height) px -> (rows, D), by transformers."""
    if isinstance(twin, LlavaNextForConditionalGeneration):
        seen = twin.get_image_features(
            pixel_values=pixels[None], image_sizes=torch.tensor([[size[1], size[0]]])
        )
    else:
        seen = twin.get_image_features(pixel_values=pixels)
    return torch.cat(list(seen.pooler_output))


@torch.no_grad()
def logits(
    twin: Twin, before: Sequence[int], pixels: Tensor, size: tuple[int, int], after: Sequence[int]
) -> Tensor:
    """Of a prompt with a picture between two runs of ids, (1, T, V), by transformers' forward."""
    count = picture_rows(twin, pixels, size).shape[0]
    # The authors' vocabulary has no id for a picture, and transformers' must have one: any other.
    token = next(row for row in range(len(twin.lm_head.weight)) if row not in (*before, *after))
    twin.config.image_token_index = twin.model.config.image_token_index = token
    ids = torch.tensor([[*before, *[token] * count, *after]])
    if isinstance(twin, LlavaNextForConditionalGeneration):
        sizes = torch.tensor([[size[1], size[0]]])
        return twin(input_ids=ids, pixel_values=pixels[None], image_sizes=sizes).logits
    return twin(input_ids=ids, pixel_values=pixels).logits
