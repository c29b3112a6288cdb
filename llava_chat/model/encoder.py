"""The frozen half of sight: a CLIP or SigLIP tower that turns pixels into patch features.

LLaVA reads CLIP's features before its last layer (arXiv 2304.08485, section 4.1), so the layers
after the chosen one are neither built nor run. SigLIP's are read before the norm that follows its
layers (LLaVA-VL/LLaVA-NeXT, siglip_encoder.py). Imports torch and transformers only.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

VisionConfig = CLIPVisionConfig | SiglipVisionConfig
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


def image_size_px(config: VisionConfig) -> int:
    """Height and width of the pixels that a tower takes.

    Raises ValueError when they differ, or there are none.
    """
    size = config.image_size
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"the vision tower's image_size must be one number above 0, not {size}")
    return size


def patches_per_side(config: VisionConfig) -> int:
    """Patches along each edge of the pixels. Raises ValueError when none fits into them."""
    size_px, patch_px = image_size_px(config), config.patch_size
    if not isinstance(patch_px, int) or not 1 <= patch_px <= size_px:
        raise ValueError(
            f"the vision tower's patch_size must be one number from 1 to {size_px}, not {patch_px}"
        )
    return size_px // patch_px


def has_class_token(config: VisionConfig) -> bool:
    """Whether a tower's first row of features is of no patch, as CLIP's is."""
    return isinstance(config, CLIPVisionConfig)


def tokens_per_picture(config: VisionConfig, select_feature: SelectFeature) -> int:
    """Rows of features of one picture: its patches, and the class token when that is kept.

    Raises ValueError when a size is not one number, or no patch fits into the picture.

    >>> tokens_per_picture(CLIPVisionConfig(image_size=336, patch_size=14), "patch")
    576
    """
    class_tokens = has_class_token(config) and select_feature == "cls_patch"
    return patches_per_side(config) ** 2 + class_tokens


class VisionTower(nn.Module):
    """A vision transformer up to the chosen layer: frozen, in eval mode, without gradient.

    select_feature: SigLIP has no class token, so that `patch` and `cls_patch` are the same of it.
    image_size_px: height and width of the pixels that it takes. tokens_per_picture: P.
    Raises ValueError for a size or a layer that there cannot be.
    """

    def __init__(
        self,
        config: VisionConfig,
        *,
        select_layer: int = -2,
        select_feature: SelectFeature = "patch",
    ) -> None:
        super().__init__()
        self.tokens_per_picture = tokens_per_picture(config, select_feature)
        self.image_size_px = image_size_px(config)
        cut = copy.deepcopy(config)
        cut.num_hidden_layers = used_layers(config.num_hidden_layers, select_layer)
        cut._attn_implementation = "sdpa"
        cut.return_dict = True
        self._drops_class_token = has_class_token(config) and select_feature == "patch"
        self.vision: CLIPVisionModel | SiglipVisionModel
        if isinstance(cut, SiglipVisionConfig):
            cut.vision_use_head = False  # it pools, and only patches are read
            self.vision = SiglipVisionModel(cut)
        else:
            self.vision = CLIPVisionModel(cut)
        self.requires_grad_(False)
        self.eval()

    @property
    def config(self) -> VisionConfig:
        """The configuration of the layers that are really there."""
        return self.vision.config

    def train(self, mode: bool = True) -> VisionTower:
        """Stay in eval mode whatever the model around it does: the encoder is never trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), normalised -> features (N, P, Dv) in the tower's dtype."""
        pixels = pixels.to(self.vision.get_parameter("embeddings.patch_embedding.weight"))
        features: Tensor
        if isinstance(self.vision, SiglipVisionModel):
            embedded = self.vision.embeddings(pixels)
            features = self.vision.encoder(inputs_embeds=embedded).last_hidden_state
        else:
            features = self.vision(pixels).last_hidden_state
        return features[:, 1:] if self._drops_class_token else features
