"""The one place where encoder, projector and language model meet.

It knows token ids and pixels, and nothing of conversations, templates or sampling: those stand in
`tokens` and the engines. Imports torch, transformers and modules beside it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from llava_chat.model import anyres
from llava_chat.model.encoder import SelectFeature, VisionConfig, VisionTower, patches_per_side
from llava_chat.model.projector import ProjectorKind, build_projector
from llava_chat.model.quantization import weight_count

ImageAspect = Literal["pad", "square", "stretch", "anyres"]
TextConfig = LlamaConfig | MistralConfig | Qwen2Config
Decoder = LlamaForCausalLM | MistralForCausalLM | Qwen2ForCausalLM


@dataclass(frozen=True)
class LlavaConfig:
    """Everything that decides the shapes of a model, and how its prompts and pictures look.

    select_layer, select_feature: which of CLIP's hidden states is read, with or without its class
    token (arXiv 2304.08485: the layer before the last, patches only). image_aspect: whether a
    picture is padded to a square (LLaVA-1.5), cropped to one (LLaVA), stretched to one
    (LLaVA-Interleave) or seen whole and in tiles (`anyres`, LLaVA-1.6). grid_pinpoints: the sizes,
    (height, width) in pixels, that anyres tiles. image_token_id: the id that stands for one row of
    picture features; it may lie beyond the vocabulary.
    """

    vision: VisionConfig
    text: TextConfig
    image_token_id: int
    projector: ProjectorKind = "mlp2x_gelu"
    select_layer: int = -2
    select_feature: SelectFeature = "patch"
    image_aspect: ImageAspect = "pad"
    grid_pinpoints: tuple[tuple[int, int], ...] = ()


class LlavaModel(nn.Module):
    """Tower, projector and language model. Shapes: N views of P rows, B texts of T tokens.

    image_newline: (D,), after each row of tiles (LLaVA-1.6); there only where pictures are tiled.
    """

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = VisionTower(
            config.vision,
            select_layer=config.select_layer,
            select_feature=config.select_feature,
        )
        self.projector = build_projector(
            config.projector, config.vision.hidden_size, config.text.hidden_size
        )
        self.image_newline: nn.Parameter | None = None
        if config.image_aspect == "anyres":
            self.image_newline = nn.Parameter(torch.zeros(config.text.hidden_size))
        self.language_model = _decoder(config.text)

    @property
    def tokens_per_picture(self) -> int:
        """P: how many rows of features one view of a picture has."""
        return self.tower.tokens_per_picture

    def tokens_of(self, width: int, height: int) -> int:
        """How many rows of the prompt a picture of so many pixels takes."""
        if self.image_newline is None:
            return self.tokens_per_picture
        return anyres.token_count(
            width,
            height,
            grid_pinpoints=self.config.grid_pinpoints,
            size_px=self.tower.image_size_px,
            patches_per_side=patches_per_side(self.tower.config),
        )

    def image_features(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> (N, P, D). Gradient reaches the projector, never the tower."""
        seen: Tensor = self.tower(pixels)
        projected: Tensor = self.projector(seen)
        return projected

    def picture_rows(self, views: Tensor, width: int, height: int) -> Tensor:
        """The views (V, 3, H, W) of one picture -> (tokens_of(width, height), D)."""
        features = self.image_features(views)
        if self.image_newline is None:
            return features.flatten(0, 1)
        return anyres.pack(
            features,
            width,
            height,
            grid_pinpoints=self.config.grid_pinpoints,
            size_px=self.tower.image_size_px,
            newline=self.image_newline,
        )

    @property
    def dtype(self) -> torch.dtype:
        """The number format of embeddings and logits."""
        number_format: torch.dtype = self.language_model.lm_head.weight.dtype
        return number_format

    def words(self, ids: Tensor) -> Tensor:
        """Ids (B, T) long of words alone -> (B, T, D), without asking the device for anything."""
        embedded: Tensor = self.language_model.get_input_embeddings()(ids)
        return embedded

    def embed(
        self, ids: Tensor, features: Tensor | None = None, *, places: Tensor | None = None
    ) -> Tensor:
        """Ids (B, T) long -> (B, T, D), the picture rows filled from `features` in reading order.

        features: (K, P, D) or (rows, D); their rows together are as many as the ids equal to
        image_token_id, else ValueError. places: (rows,) of those ids in B * T, for who knows them
        without asking the device.
        """
        is_picture = ids == self.config.image_token_id
        if places is None:
            places = is_picture.flatten().nonzero().flatten()
        rows = None if features is None else features.reshape(-1, features.shape[-1])
        wanted, given = places.shape[0], 0 if rows is None else rows.shape[0]
        if wanted != given:
            raise ValueError(
                f"the prompt has {wanted} picture tokens but {given} rows of picture features "
                f"were given ({self.tokens_per_picture} to a view)"
            )
        # The picture's id may lie beyond the vocabulary; any word's embedding does, it is replaced.
        words = self.words(ids.masked_fill(is_picture, 0))
        if rows is None:
            return words
        return words.flatten(0, 1).index_copy(0, places, rows.to(words)).view_as(words)

    def forward(
        self,
        embeds: Tensor,
        *,
        attention_mask: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> Tensor:
        """Embeds (B, T, D) -> logits (B, T', V); T' is T, or logits_to_keep when that is not 0.

        attention_mask: (B, T), 1 where a token is. Nothing is kept; what continues a conversation
        from what is known of it is the engine's.
        """
        output = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            use_cache=False,
            logits_to_keep=logits_to_keep,
        )
        logits: Tensor = output.logits
        return logits


def _decoder(config: TextConfig) -> Decoder:
    text = copy.deepcopy(config)
    text._attn_implementation = "sdpa"
    text.return_dict = True  # whatever a checkpoint says: `forward` takes the logits by name
    match text:
        case MistralConfig():
            return MistralForCausalLM(text)
        case Qwen2Config():
            return Qwen2ForCausalLM(text)
        case _:
            return LlamaForCausalLM(text)


def parameter_count(model: nn.Module) -> int:
    """How many numbers the model holds, in however few bits; tied ones count once."""
    return sum(weight_count(parameter) for parameter in model.parameters())
