"""The vision towers that checkpoints of the authors' layout name instead of holding one.

Most say `openai/clip-vit-large-patch14-336`. What a known tower is like stands here, so that such
a checkpoint can be inspected, and one that does hold its tower loaded, without that repository.
Imports transformers and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig, SiglipVisionConfig

from llava_chat.errors import CheckpointError
from llava_chat.model.encoder import VisionConfig
from llava_chat.model.file_names import CONFIG_NAME
from llava_chat.model.layouts.description import UnusableConfig
from llava_chat.model.weight_files import one_line, read_json

FindTower = Callable[[str], Path]
"""From a tower's name to the folder that holds it; raises CheckpointError when it is not here."""

# ViT-L/14 of arXiv 2103.00020, at 224 and at 336 pixels; ShareGPT4V (arXiv 2311.12793) tuned the
# latter. SoViT-400m/14 of SigLIP (arXiv 2303.15343, 2305.13035).
_VIT_L_14: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
_SOVIT_400M_14: Mapping[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}


_KNOWN: Mapping[str, tuple[type[VisionConfig], Mapping[str, Any], int]] = {
    "openai/clip-vit-large-patch14-336": (CLIPVisionConfig, _VIT_L_14, 336),
    "openai/clip-vit-large-patch14": (CLIPVisionConfig, _VIT_L_14, 224),
    "Lin-Chen/ShareGPT4V-7B_Pretrained_vit-large336-l12": (CLIPVisionConfig, _VIT_L_14, 336),
    "Lin-Chen/ShareGPT4V-13B_Pretrained_vit-large336-l12": (CLIPVisionConfig, _VIT_L_14, 336),
    "google/siglip-so400m-patch14-384": (SiglipVisionConfig, _SOVIT_400M_14, 384),
}


def known_tower(name: str) -> VisionConfig | None:
    """The configuration of a published tower, None when it is not known here.

    >>> known_tower("openai/clip-vit-large-patch14-336").image_size
    336
    """
    if name not in _KNOWN:
        return None
    kind, fields, image_size = _KNOWN[name]
    return kind(**fields, image_size=image_size)


def tower_name(config: VisionConfig) -> str | None:
    """The first published tower of that architecture, None when there is none.

    Of SigLIP the authors' code drops the last layer (LLaVA-VL/LLaVA-NeXT, siglip_encoder.py), which
    a converted checkpoint may lack.
    """
    for name, (kind, fields, image_size) in _KNOWN.items():
        if not isinstance(config, kind):
            continue
        wanted = dict(fields) | {"image_size": image_size}
        found = {field: getattr(config, field) for field in wanted}
        cut = wanted | {"num_hidden_layers": wanted["num_hidden_layers"] - 1}
        if found == wanted or (kind is SiglipVisionConfig and found == cut):
            return name
    return None


def read_tower(folder: Path) -> VisionConfig:
    """The configuration of a tower in a folder, alone or as a part of CLIP or SigLIP.

    Raises CheckpointError when there is none.
    """
    path = folder / CONFIG_NAME
    content = read_json(path)
    nested = content.get("vision_config")
    part = nested if isinstance(nested, dict) else content
    if "auto_map" in content or "auto_map" in part:
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    try:
        return tower_config(part | {"model_type": content.get("model_type")})
    except UnusableConfig as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # transformers checks types with exceptions of many kinds
        raise CheckpointError(f"{path} cannot be used: {one_line(error)}") from error


def tower_config(content: Mapping[str, Any]) -> VisionConfig:
    """The configuration in a tower's JSON. Raises UnusableConfig for one that cannot be run."""
    match str(content.get("model_type")).removesuffix("_vision_model"):
        case "clip":
            return CLIPVisionConfig(**dict(content) | {"model_type": "clip_vision_model"})
        case "siglip":
            return SiglipVisionConfig(**dict(content) | {"model_type": "siglip_vision_model"})
    raise UnusableConfig(f"the vision tower must be CLIP or SigLIP, not {content['model_type']}.")
