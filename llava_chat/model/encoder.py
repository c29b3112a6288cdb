"""The frozen half of sight: a CLIP tower that turns pixels into patch features.

LLaVA reads CLIP's features before its last layer (arXiv 2304.08485, section 4.1), so the layers
after the chosen one are neither built nor run. Imports torch and transformers only.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

SelectFeature = Literal["patch", "cls_patch"]


def used_layers(num_hidden_layers: int, select_layer: int) -> int:
    """How many transformer layers stand before `hidden_states[select_layer]`.

    `hidden_states` holds num_hidden_layers + 1 entries; entry 0 is the patch embedding.
    Raises ValueError when there is no such entry.

    >>> used_layers(24, -2), used_layers(24, -1), used_layers(24, 22)
    (23, 24, 22)
    >>> used_layers(6, -8)
    Traceback (most recent call last):
    ValueError: select_layer -8 is not one of the 7 hidden states of a tower with 6 layers
    """
    count = select_layer if select_layer >= 0 else num_hidden_layers + 1 + select_layer
    if not 0 <= count <= num_hidden_layers:
        raise ValueError(
            f"select_layer {select_layer} is not one of the {num_hidden_layers + 1} hidden states "
            f"of a tower with {num_hidden_layers} layers"
        )
    return count


class VisionTower(nn.Module):
    """CLIP's vision transformer up to the chosen layer: frozen, in eval mode, without gradient."""

    def __init__(
        self,
        config: CLIPVisionConfig,
        *,
        select_layer: int = -2,
        select_feature: SelectFeature = "patch",
    ) -> None:
        super().__init__()
        if not (isinstance(config.image_size, int) and isinstance(config.patch_size, int)):
            raise ValueError("the vision tower's image_size and patch_size must be whole numbers")
        self.image_size_px: int = config.image_size
        """Height and width of the pixels that `forward` takes."""
        self.patches = (config.image_size // config.patch_size) ** 2
        cut = copy.deepcopy(config)
        cut.num_hidden_layers = used_layers(config.num_hidden_layers, select_layer)
        cut._attn_implementation = "sdpa"
        self.clip = CLIPVisionModel(cut)
        self.select_feature = select_feature
        self.requires_grad_(False)
        self.eval()

    @property
    def config(self) -> CLIPVisionConfig:
        """The configuration of the layers that are really there."""
        return self.clip.config

    @property
    def tokens_per_picture(self) -> int:
        """P: patches of a picture, plus the class token when it is kept."""
        return self.patches + (self.select_feature == "cls_patch")

    def train(self, mode: bool = True) -> VisionTower:
        """Stay in eval mode whatever the model around it does: the encoder is never trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), normalised -> features (N, P, Dv) in the tower's dtype."""
        weight = self.clip.get_parameter("embeddings.patch_embedding.weight")
        features: Tensor = self.clip(pixels.to(weight)).last_hidden_state
        return features if self.select_feature == "cls_patch" else features[:, 1:]
