"""The one place where encoder, projector and language model meet.

It knows token ids and pixels, and nothing of conversations, templates or sampling: those stand in
`tokens` and the engines. Imports torch, transformers and the two modules beside it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from transformers import Cache, CLIPVisionConfig, LlamaConfig, LlamaForCausalLM

from llava_chat.model.encoder import SelectFeature, VisionTower
from llava_chat.model.projector import ProjectorKind, build_projector

ImageAspect = Literal["pad", "square"]


@dataclass(frozen=True)
class LlavaConfig:
    """Everything that decides the shapes of a model, and how its prompts and pictures look.

    select_layer, select_feature: which of CLIP's hidden states is read, with or without its class
    token (arXiv 2304.08485: the layer before the last, patches only). image_aspect: whether a
    picture is padded to a square (LLaVA-1.5) or cropped to one (LLaVA). image_token_id: the id
    that stands for one row of picture features; it may lie beyond the vocabulary.
    """

    vision: CLIPVisionConfig
    text: LlamaConfig
    image_token_id: int
    projector: ProjectorKind = "mlp2x_gelu"
    select_layer: int = -2
    select_feature: SelectFeature = "patch"
    image_aspect: ImageAspect = "pad"
    template: str = "vicuna_v1"


class LlavaModel(nn.Module):
    """CLIP tower, projector and LLaMA. Shapes: N pictures of P rows, B texts of T tokens."""

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
        text = copy.deepcopy(config.text)
        text._attn_implementation = "sdpa"
        text.return_dict = True  # whatever a checkpoint says: `forward` takes the logits by name
        self.language_model = LlamaForCausalLM(text)

    @property
    def tokens_per_picture(self) -> int:
        """P: how many rows of the prompt one picture takes."""
        return self.tower.tokens_per_picture

    def image_features(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> (N, P, D). Gradient reaches the projector, never the tower."""
        seen: Tensor = self.tower(pixels)
        projected: Tensor = self.projector(seen)
        return projected

    def embed(self, ids: Tensor, features: Tensor | None = None) -> Tensor:
        """Ids (B, T) long -> (B, T, D), the picture rows filled from `features` in reading order.

        features: (K, P, D) or (rows, D); their rows together are as many as the ids equal to
        image_token_id, else ValueError.
        """
        is_picture = ids == self.config.image_token_id
        rows = None if features is None else features.reshape(-1, features.shape[-1])
        wanted, given = int(is_picture.sum()), 0 if rows is None else rows.shape[0]
        if wanted != given:
            raise ValueError(
                f"the prompt has {wanted} picture tokens but {given} rows of picture features "
                f"were given ({self.tokens_per_picture} to a picture)"
            )
        # The picture's id may lie beyond the vocabulary; any word's embedding does, it is replaced.
        words: Tensor = self.language_model.get_input_embeddings()(ids.masked_fill(is_picture, 0))
        if rows is None:
            return words
        spliced: Tensor = words.masked_scatter(is_picture.unsqueeze(-1), rows.to(words))
        return spliced

    def forward(
        self,
        embeds: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> Tensor:
        """Embeds (B, T, D) -> logits (B, T', V); T' is T, or logits_to_keep when that is not 0.

        attention_mask: (B, length of cache + T), 1 where a token is; or boolean (B, 1, T, length).
        cache: transformers' Cache; it grows by T. None keeps nothing.
        """
        output = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=logits_to_keep,
        )
        logits: Tensor = output.logits
        return logits


def parameter_count(model: nn.Module) -> int:
    """How many numbers the model holds; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
