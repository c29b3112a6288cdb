"""config.json of the llava-hf layout: read, and written for transformers.

`llava` is LLaVA-1.5 and LLaVA-Interleave, `llava_next` LLaVA-1.6. Imports the modules beside it,
`llava`, `encoder` and `projector` and transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig as TransformersConfig,
    LlavaNextConfig as TransformersNextConfig,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from llava_chat.model.anyres import pinpoints_from
from llava_chat.model.encoder import (
    SelectFeature,
    VisionConfig,
    image_size_px,
    tokens_per_picture,
)
from llava_chat.model.layouts.description import (
    GRID_PINPOINTS,
    OWN_FIELD,
    Description,
    UnusableConfig,
    own_fields,
    text_fields,
)
from llava_chat.model.llava import ImageAspect, LlavaConfig
from llava_chat.model.projector import ProjectorKind

_MODELS = ("llava", "llava_next")
_TOWERS = ("clip_vision_model", "siglip_vision_model")
_DECODERS = ("llama", "mistral", "qwen2")
_STRATEGIES: dict[Literal["default", "full"], SelectFeature] = {
    "default": "patch",
    "full": "cls_patch",
}
# The activation between the projector's layers tells which of our projectors it is. A linear one
# is written as two layers with nothing between them, the second being the identity.
_ACTIVATIONS: dict[str, ProjectorKind] = {"gelu": "mlp2x_gelu", "linear": "linear"}


def read_hf(content: Mapping[str, Any]) -> Description:
    """The description in a config.json of the llava-hf layout.

    Raises UnusableConfig when it is of a family that cannot be run here, and whatever
    transformers raises for fields that it checks.
    """
    _check_family(content)
    own = own_fields(content)
    is_next = content["model_type"] == "llava_next"
    theirs = (TransformersNextConfig if is_next else TransformersConfig)(**content)
    vision, text = theirs.vision_config, theirs.text_config
    if not isinstance(vision, CLIPVisionConfig | SiglipVisionConfig) or not isinstance(
        text, LlamaConfig | MistralConfig | Qwen2Config
    ):
        raise UnusableConfig("its parts are no CLIP or SigLIP and LLaMA, Mistral or Qwen2.")
    text.tie_word_embeddings = theirs.tie_word_embeddings or content_ties(content)
    select_layer = _checked_layer(theirs)
    aspect = own.get("image_aspect", _aspect(is_next, vision))
    return Description(
        layout="hf",
        own=own,
        made_by_share4v=bool(own.get("share4v", False)),
        config=LlavaConfig(
            vision=vision,
            text=text,
            image_token_id=theirs.image_token_index,
            projector=_ACTIVATIONS[theirs.projector_hidden_act],
            select_layer=select_layer,
            select_feature=_STRATEGIES[theirs.vision_feature_select_strategy],
            image_aspect=aspect,
            grid_pinpoints=_grid(content, aspect, vision),
        ),
    )


def content_ties(content: Mapping[str, Any]) -> bool:
    """Whether the part of the language model says that its two tables of words are one."""
    return bool((content.get("text_config") or {}).get("tie_word_embeddings", False))


def _check_family(content: Mapping[str, Any]) -> None:
    vision, text = (content.get(part) or {} for part in ("vision_config", "text_config"))
    if content.get("model_type") in _DECODERS and not vision:
        raise UnusableConfig(
            "it is a language model alone, which sees nothing; begin a LLaVA of it with `python -m "
            "llava_chat convert SOURCE TARGET --layout hf --vision-tower TOWER --new-projector "
            "mlp2x_gelu`."
        )
    family = (
        content.get("model_type"),
        vision.get("model_type", _TOWERS[0]),
        text.get("model_type", _DECODERS[0]),
    )
    for name, known in zip(family, (_MODELS, _TOWERS, _DECODERS), strict=True):
        if name not in known:
            raise UnusableConfig(
                "it describes a {} of {} and {}; run can be llava and llava_next of CLIP or SigLIP "
                "(clip_vision_model, siglip_vision_model) and llama, mistral or qwen2.".format(
                    *family
                )
            )


def _checked_layer(theirs: TransformersConfig | TransformersNextConfig) -> int:
    """The layer that the projector reads, when it is one projector of one layer."""
    if not isinstance(theirs.vision_feature_layer, int):
        raise UnusableConfig("features of several layers (vision_feature_layer) cannot be read.")
    if theirs.projector_hidden_act not in _ACTIVATIONS:
        raise UnusableConfig(
            f"projector_hidden_act must be gelu or linear, not {theirs.projector_hidden_act}."
        )
    if not theirs.multimodal_projector_bias:
        raise UnusableConfig("a projector without a bias (multimodal_projector_bias) is not run.")
    return theirs.vision_feature_layer


def _aspect(is_next: bool, vision: CLIPVisionConfig | SiglipVisionConfig) -> ImageAspect:
    """How pictures are seen where no field of our own says it.

    LLaVA-1.5 was trained on padded pictures (arXiv 2310.03744), though the processors that its
    converted checkpoints come with crop. SigLIP's processor stretches.
    """
    if is_next:
        return "anyres"
    return "stretch" if isinstance(vision, SiglipVisionConfig) else "pad"


def _grid(
    content: Mapping[str, Any], aspect: ImageAspect, vision: VisionConfig
) -> tuple[tuple[int, int], ...]:
    if aspect != "anyres":
        return ()
    given = content.get("image_grid_pinpoints")
    return pinpoints_from(GRID_PINPOINTS if given is None else given, image_size_px(vision))


def hf_config(description: Description, dtype: str) -> str:
    """The text of config.json. dtype: as in "bfloat16". The tower is written whole."""
    config = description.config
    strategy = {ours: theirs for theirs, ours in _STRATEGIES.items()}[config.select_feature]
    activation = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}[config.projector]
    fields: dict[str, Any] = {
        "vision_config": config.vision.to_dict(),
        "text_config": config.text.to_dict(),
        "image_token_index": config.image_token_id,
        "image_seq_length": tokens_per_picture(config.vision, config.select_feature),
        "projector_hidden_act": activation,
        "vision_feature_layer": config.select_layer,
        "vision_feature_select_strategy": strategy,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "dtype": dtype,
    }
    theirs: TransformersConfig | TransformersNextConfig
    if config.image_aspect == "anyres":
        theirs = TransformersNextConfig(
            **fields,
            image_grid_pinpoints=[list(pair) for pair in config.grid_pinpoints],
            architectures=["LlavaNextForConditionalGeneration"],
        )
    else:
        theirs = TransformersConfig(**fields, architectures=["LlavaForConditionalGeneration"])
    own = dict(description.own) | {"image_aspect": config.image_aspect}
    if config.projector == "linear":
        own["projector"] = config.projector
    if description.made_by_share4v:
        own["share4v"] = True
    setattr(theirs, OWN_FIELD, own)
    content = json.loads(theirs.to_json_string())
    content["torch_dtype"] = dtype  # its name in transformers 4
    content["text_config"] |= {
        name: value for name, value in text_fields(config.text).items() if name.startswith("rope_")
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def dtype_name(dtype: torch.dtype) -> str:
    """As config.json has it.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
