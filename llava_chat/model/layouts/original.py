"""config.json of the authors' own layout (haotian-liu/LLaVA and what was made from it).

It is the configuration of a plain language model with fields beside it that begin with `mm_`.
Imports the modules beside it, `encoder`, `llava` and `projector` and transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from transformers import LlamaConfig, MistralConfig, Qwen2Config, SiglipVisionConfig

from llava_chat.errors import CheckpointError
from llava_chat.model.anyres import pinpoints_from
from llava_chat.model.encoder import SelectFeature, VisionConfig, image_size_px
from llava_chat.model.layouts.description import (
    OWN_FIELD,
    Description,
    UnusableConfig,
    own_fields,
    text_fields,
)
from llava_chat.model.layouts.towers import (
    FindTower,
    known_tower,
    read_tower,
    tower_config,
    tower_name,
)
from llava_chat.model.llava import ImageAspect, LlavaConfig, TextConfig
from llava_chat.model.projector import PROJECTOR_KINDS, ProjectorKind

IMAGE_TOKEN_INDEX = -200
"""Stands for a picture's features in the authors' ids (haotian-liu/LLaVA, llava/constants.py)."""

_INCLUDED = "included"  # what names a tower that no repository holds
_SAID = ("image_aspect", "projector", "share4v")  # of our own fields, which others say here
_TOWER_FIELD = "vision_config"  # among the fields of our own, where no repository says it

# (architecture, model_type), by what the language model is. The first releases say llava for all.
_ARCHITECTURES: Mapping[str, tuple[type[TextConfig], str]] = {
    "LlavaLlamaForCausalLM": (LlamaConfig, "llava_llama"),
    "LlavaMistralForCausalLM": (MistralConfig, "llava_mistral"),
    "LlavaQwenForCausalLM": (Qwen2Config, "llava_qwen"),
    "Share4VLlamaForCausalLM": (LlamaConfig, "share4v"),
}
_MODEL_TYPES = {kind: config for config, kind in _ARCHITECTURES.values()} | {"llava": LlamaConfig}
# What the authors' code calls how pictures are seen (llava/mm_utils.py, process_images). Absent,
# like `square`, means that the tower's processor is left as it is.
_ASPECTS = (None, "square", "pad", "anyres")
_OURS = ("mm_", "image_", "vision_", "tune_", "freeze_", "unfreeze_", "use_mm_", "tokenizer_")


def is_original(content: Mapping[str, Any]) -> bool:
    """Whether a config.json is of this layout.

    >>> is_original({"mm_vision_tower": "openai/clip-vit-large-patch14"}), is_original({})
    (True, False)
    """
    return (
        "mm_vision_tower" in content
        or content.get("model_type") in _MODEL_TYPES.keys() - {"llava"}
        or not _ARCHITECTURES.keys().isdisjoint(content.get("architectures") or ())
    )


def original_fields(
    text: Mapping[str, Any], tower: str, projector: ProjectorKind
) -> dict[str, Any]:
    """What the config.json of a language model alone lacks to be one of this layout.

    text: its content. A linear projector is LLaVA v1's, which crops its pictures. Raises
    UnusableConfig for a kind of language model that this layout does not have.

    >>> original_fields({"model_type": "qwen2"}, "a/tower", "linear")["architectures"]
    ['LlavaQwenForCausalLM']
    """
    kinds = {
        kind.model_type: name for name, (kind, _) in _ARCHITECTURES.items() if "Share" not in name
    }
    kind = text.get("model_type")
    if kind not in kinds:
        raise UnusableConfig(
            f"a projector goes on {', '.join(kinds)}, and not on a language model of kind {kind!r}."
        )
    return {
        "architectures": [kinds[kind]],
        "model_type": _ARCHITECTURES[kinds[kind]][1],
        "mm_vision_tower": tower,
        "mm_projector_type": projector,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "square" if projector == "linear" else "pad",
    }


def read_original(content: Mapping[str, Any], find_tower: FindTower) -> Description:
    """The description in a config.json of the authors' layout.

    find_tower: asked only for a tower whose configuration is not known. Raises UnusableConfig for
    what cannot be run here, and whatever transformers raises for fields that it checks.
    """
    own = own_fields(content)
    name = content.get("mm_vision_tower")
    if not isinstance(name, str) and _TOWER_FIELD not in own:
        raise UnusableConfig("it does not name its vision tower (mm_vision_tower).")
    vision = _tower(own, str(name), find_tower)
    aspect = _aspect(content, vision)
    return Description(
        layout="original",
        own=own,
        tower=name if isinstance(name, str) else None,
        picture_marks=bool(content.get("mm_use_im_start_end", False)),
        patch_token=bool(content.get("mm_use_im_patch_token", True)),
        made_by_share4v=_share4v(content),
        config=LlavaConfig(
            vision=vision,
            text=_text(content),
            image_token_id=IMAGE_TOKEN_INDEX,
            projector=_projector(content),
            select_layer=int(content.get("mm_vision_select_layer", -2)),
            select_feature=_feature(content),
            image_aspect=aspect,
            grid_pinpoints=(
                pinpoints_from(
                    content.get("image_grid_pinpoints"), image_size_px(vision), width_first=True
                )
                if aspect == "anyres"
                else ()
            ),
        ),
    )


def _tower(own: Mapping[str, Any], name: str, find_tower: FindTower) -> VisionConfig:
    """The tower's own configuration, the picture's size checked."""
    if isinstance(own.get(_TOWER_FIELD), dict):
        vision = tower_config(own[_TOWER_FIELD])
    else:
        vision = known_tower(name) or read_tower(find_tower(name))
    image_size_px(vision)
    return vision


def _text(content: Mapping[str, Any]) -> TextConfig:
    """The language model's configuration: what is left without the fields of the picture's road."""
    architectures = content.get("architectures") or ()
    kind = next(
        (_ARCHITECTURES[each][0] for each in architectures if each in _ARCHITECTURES),
        _MODEL_TYPES.get(str(content.get("model_type"))),
    )
    if kind is None:
        raise UnusableConfig(
            f"it describes a {content.get('model_type')}; of the authors' layout run can be "
            f"{', '.join(_MODEL_TYPES)}."
        )
    dropped = ("architectures", "model_type", "auto_map", OWN_FIELD, "_name_or_path", "torch_dtype")
    fields = {
        name: value
        for name, value in content.items()
        if name not in dropped and not name.startswith(_OURS)
    }
    scaling = fields.pop("rope_scaling", None)  # as transformers called it before version 5
    if isinstance(scaling, dict) and "rope_parameters" not in fields:
        theta = fields.get("rope_theta")
        fields["rope_parameters"] = scaling | ({} if theta is None else {"rope_theta": theta})
    return kind(**fields)


def _projector(content: Mapping[str, Any]) -> ProjectorKind:
    """LLaVA v1 has no name for the only projector that there was."""
    kind = content.get("mm_projector_type", "linear")
    if kind not in PROJECTOR_KINDS:
        raise UnusableConfig(f"mm_projector_type must be {' or '.join(PROJECTOR_KINDS)}: {kind}.")
    return "linear" if kind == "linear" else "mlp2x_gelu"


def _feature(content: Mapping[str, Any]) -> SelectFeature:
    feature = content.get("mm_vision_select_feature", "patch")
    if feature not in get_args(SelectFeature):
        raise UnusableConfig(
            f"mm_vision_select_feature must be {' or '.join(get_args(SelectFeature))}: {feature}."
        )
    return "patch" if feature == "patch" else "cls_patch"


def _aspect(content: Mapping[str, Any], vision: VisionConfig) -> ImageAspect:
    given = content.get("image_aspect_ratio")
    if not (given is None or isinstance(given, str)) or given not in _ASPECTS:
        raise UnusableConfig(f"image_aspect_ratio must be square, pad or anyres, not {given!r}.")
    merge = content.get("mm_patch_merge_type", "flat")
    if given == "anyres" and merge != "spatial_unpad":
        raise UnusableConfig(f"mm_patch_merge_type must be spatial_unpad, not {merge!r}.")
    match given:
        case "pad":
            return "pad"
        case "anyres":
            return "anyres"
    return _untouched(vision)


def _untouched(vision: VisionConfig) -> ImageAspect:
    """How a tower's own processor makes a square: CLIP's crops, SigLIP's stretches."""
    return "stretch" if isinstance(vision, SiglipVisionConfig) else "square"


def _share4v(content: Mapping[str, Any]) -> bool:
    return content.get("model_type") == "share4v" or "Share4VLlamaForCausalLM" in (
        content.get("architectures") or ()
    )


def original_config(description: Description, dtype: str) -> str:
    """The text of config.json in the authors' layout. dtype: as in "bfloat16".

    Raises CheckpointError for what the authors' layout has no word for.
    """
    config = description.config
    kinds = {each: name for name, (each, _) in reversed([*_ARCHITECTURES.items()])}
    architecture = "Share4VLlamaForCausalLM"
    if not description.made_by_share4v:
        architecture = kinds[type(config.text)]
    aspect: str = config.image_aspect
    if aspect == _untouched(config.vision):
        aspect = "square"
    elif aspect in ("square", "stretch"):
        raise CheckpointError(
            f"The authors' layout has no word for {config.vision.model_type} with the picture "
            f"aspect {aspect}; keep the hf layout."
        )
    own = {name: value for name, value in description.own.items() if name not in _SAID}
    fields = text_fields(config.text) | {
        "architectures": [architecture],
        "model_type": _ARCHITECTURES[architecture][1],
        "torch_dtype": dtype,
        "mm_vision_tower": description.tower or tower_name(config.vision) or _INCLUDED,
        "mm_hidden_size": config.vision.hidden_size,
        "mm_projector_type": config.projector,
        "mm_vision_select_layer": config.select_layer,
        "mm_vision_select_feature": config.select_feature,
        "mm_use_im_start_end": description.picture_marks,
        "mm_use_im_patch_token": description.patch_token,
        # Has the authors' code take the tower in the checkpoint, not the one of that name.
        "unfreeze_mm_vision_tower": True,
        "image_aspect_ratio": aspect,
        OWN_FIELD: own | {_TOWER_FIELD: config.vision.to_dict()},
    }
    if config.image_aspect == "anyres":
        fields["mm_patch_merge_type"] = "spatial_unpad"
        fields["image_grid_pinpoints"] = [[pair[1], pair[0]] for pair in config.grid_pinpoints]
    return json.dumps(fields, indent=2, default=str) + "\n"
