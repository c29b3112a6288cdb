"""config.json of the llava-hf layout: read into a LlavaConfig, and written for transformers.

What transformers has no field for (template, picture aspect, description, the linear projector)
stands in one field of our own, `llava_chat`, which transformers keeps and does not read. Imports
the modules beside it, torch, transformers, templates and errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig as TransformersConfig,
)
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llava_chat.errors import CheckpointError
from llava_chat.model.encoder import SelectFeature, tokens_per_picture, used_layers
from llava_chat.model.llava import ImageAspect, LlavaConfig, LlavaModel
from llava_chat.model.projector import ProjectorKind
from llava_chat.model.weight_files import one_line, read_json
from llava_chat.templates import DEFAULT_TEMPLATE, TEMPLATES

CONFIG_NAME = "config.json"
OWN_FIELD = "llava_chat"

_STRATEGIES: dict[Literal["default", "full"], SelectFeature] = {
    "default": "patch",
    "full": "cls_patch",
}
# The activation between the projector's layers tells which of our projectors it is. A linear one
# is written as two layers with nothing between them, the second being the identity.
_ACTIVATIONS: dict[str, ProjectorKind] = {"gelu": "mlp2x_gelu", "linear": "linear"}


def read_config(folder: Path) -> tuple[LlavaConfig, dict[str, Any]]:
    """The configuration in a folder, and the fields of our own.

    Raises CheckpointError when there is none, or it is of a family that cannot be run here.
    """
    path = folder / CONFIG_NAME
    if (folder / "adapter_config.json").is_file() and not path.is_file():
        raise CheckpointError(
            f"{folder} holds a LoRA adapter, not a model; merge it into its base model with peft's "
            "merge_and_unload, and name the folder that you save the result in."
        )
    content = read_json(path)
    _check_family(content, path)
    own = content.get(OWN_FIELD, {})
    if not isinstance(own, dict):
        raise CheckpointError(f"The field {OWN_FIELD} in {path} must be an object.")
    try:
        theirs = TransformersConfig(**content)
        config = _converted(theirs, own)
        _check_buildable(config)
        used_layers(config.vision.num_hidden_layers, config.select_layer)
        tokens_per_picture(config.vision, config.select_feature)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # transformers checks types with exceptions of many kinds
        raise CheckpointError(f"{path} cannot be used: {one_line(error)}") from error
    return config, own


def _check_family(content: Mapping[str, Any], path: Path) -> None:
    vision, text = (content.get(part) or {} for part in ("vision_config", "text_config"))
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise CheckpointError(f"vision_config and text_config in {path} must be objects.")
    if any("auto_map" in part for part in (content, vision, text)):
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    if "mm_vision_tower" in content or content.get("model_type") == "llava_llama":
        raise CheckpointError(
            f"{path} is of the original LLaVA layout, which is not read yet; use the same model in "
            "the llava-hf layout, such as llava-hf/llava-1.5-7b-hf."
        )
    if any(part.get("quantization_config") for part in (content, vision, text)):
        raise CheckpointError(f"{path} is of quantised weights; use the model they were made of.")
    family = (
        content.get("model_type"),
        vision.get("model_type", "clip_vision_model"),
        text.get("model_type", "llama"),
    )
    if family != ("llava", "clip_vision_model", "llama"):
        raise CheckpointError(
            "{} describes a {} of {} and {}; only llava of clip_vision_model and llama can be "
            "run.".format(path, *family)
        )


def read_processor_settings(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the image processor in processor_config.json, or nothing.

    Raises CheckpointError when the file holds no JSON object.
    """
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        nested = read_json(folder / "processor_config.json").get("image_processor", {})
        return nested if isinstance(nested, dict) else {}
    return {}


def _converted(theirs: TransformersConfig, own: Mapping[str, Any]) -> LlavaConfig:
    vision, text = theirs.vision_config, theirs.text_config
    if not isinstance(vision, CLIPVisionConfig) or not isinstance(text, LlamaConfig):
        raise CheckpointError("its parts are no CLIP vision tower and LLaMA.")
    text.tie_word_embeddings = theirs.tie_word_embeddings
    if not isinstance(theirs.vision_feature_layer, int):
        raise CheckpointError("features of several layers (vision_feature_layer) cannot be read.")
    if theirs.projector_hidden_act not in _ACTIVATIONS:
        raise CheckpointError(
            f"projector_hidden_act must be gelu or linear, not {theirs.projector_hidden_act}."
        )
    if not theirs.multimodal_projector_bias:
        raise CheckpointError("a projector without a bias (multimodal_projector_bias) is not run.")
    # LLaVA-1.5 was trained on padded pictures (arXiv 2310.03744), though the processors that its
    # converted checkpoints come with crop; ours say what they want.
    aspect = own.get("image_aspect", "pad")
    template = own.get("template", DEFAULT_TEMPLATE)
    if aspect not in get_args(ImageAspect):
        raise CheckpointError(f"image_aspect is pad or square, not {aspect!r}.")
    if not isinstance(template, str) or template not in TEMPLATES:
        raise CheckpointError(f"there is no template {template!r}; choose one of {[*TEMPLATES]}.")
    return LlavaConfig(
        vision=vision,
        text=text,
        image_token_id=theirs.image_token_index,
        projector=_ACTIVATIONS[theirs.projector_hidden_act],
        select_layer=theirs.vision_feature_layer,
        select_feature=_STRATEGIES[theirs.vision_feature_select_strategy],
        image_aspect=aspect,
        template=template,
    )


def _check_buildable(config: LlavaConfig) -> None:
    """What transformers would find out only while it builds, as an exception without a field."""
    text = config.text
    for part, activation in (
        ("vision_config", config.vision.hidden_act),
        ("text_config", text.hidden_act),
    ):
        if activation not in ACT2FN:
            raise CheckpointError(
                f"hidden_act in {part} must be an activation of transformers, not {activation!r}."
            )
    rope_type = (text.rope_parameters or {}).get("rope_type", "default")
    if rope_type not in ("default", *ROPE_INIT_FUNCTIONS):
        kinds = ", ".join(("default", *ROPE_INIT_FUNCTIONS))
        raise CheckpointError(
            f"rope_type in text_config must be one of {kinds}, not {rope_type!r}."
        )
    rows, padding = text.vocab_size, text.pad_token_id
    if padding is not None and not -rows <= padding < rows:
        raise CheckpointError(
            f"pad_token_id in text_config must be null or below vocab_size, which is {rows}, not "
            f"{padding}."
        )
    _check_numbers(config)


def _check_numbers(config: LlavaConfig) -> None:
    """What transformers would build a model of that fails at its first reply, or gives NaN."""
    text = config.text
    for name, value in (
        ("max_position_embeddings in text_config", text.max_position_embeddings),
        ("rms_norm_eps in text_config", text.rms_norm_eps),
        ("rope_theta in text_config", (text.rope_parameters or {}).get("rope_theta", 1.0)),
        ("layer_norm_eps in vision_config", config.vision.layer_norm_eps),
    ):
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise CheckpointError(f"{name} must be a number above 0, not {value!r}.")
    if abs(config.image_token_id) >= 2**63:
        raise CheckpointError("image_token_index must be a number of 64 bits.")


def config_json(model: LlavaModel, own: Mapping[str, str | bool], dtype: torch.dtype) -> str:
    """The text of config.json for the layers that are there; `own` are the fields of our own.

    The tower is written as it is, cut after the layer that is read: so `vision_feature_layer` is
    its last (-1), and no weight is kept that nobody reads.
    """
    config = model.config
    strategy = {ours: theirs for theirs, ours in _STRATEGIES.items()}[config.select_feature]
    activation = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}[config.projector]
    theirs = TransformersConfig(
        vision_config=model.tower.config.to_dict(),
        text_config=config.text.to_dict(),
        image_token_index=config.image_token_id,
        image_seq_length=model.tokens_per_picture,
        projector_hidden_act=activation,
        vision_feature_layer=-1,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=config.text.tie_word_embeddings,
        architectures=["LlavaForConditionalGeneration"],
        dtype=str(dtype).removeprefix("torch."),
    )
    setattr(theirs, OWN_FIELD, {"projector": config.projector, **own})
    return theirs.to_json_string()
