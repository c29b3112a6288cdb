"""What a checkpoint's config.json says, in one shape for every layout, and whether it can be built.

Imports `llava` and `encoder`, transformers and templates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transformers import SiglipVisionConfig
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llava_chat.model.encoder import image_size_px, patches_per_side, used_layers
from llava_chat.model.layouts.names import Layout
from llava_chat.model.llava import ImageAspect, LlavaConfig, TextConfig
from llava_chat.templates import TEMPLATES

OWN_FIELD = "llava_chat"
"""What no other program has a field for stands in one of our own: template, picture aspect,
description, the linear projector, where boxes are counted. Others keep it and do not read it."""

Family = Literal["llava-1", "llava-1.5", "llava-1.6", "llava-interleave", "sharegpt4v"]

# LLaVA-1.6's config.json has them, and transformers takes them where one has none.
GRID_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))


class UnusableConfig(ValueError):
    """What a config.json says cannot be used. Who reads the file adds its name."""


@dataclass(frozen=True)
class Description:
    """A checkpoint without its weights.

    own: the fields of our own. tower: the repository of the vision tower, where the weights may
    not hold one. picture_marks: <im_start> and <im_end> stand around each picture
    (`mm_use_im_start_end`). patch_token: <im_patch> is a word as well, though never said
    (`mm_use_im_patch_token`). made_by_share4v: of ShareGPT4V's own code.
    """

    layout: Layout
    config: LlavaConfig
    own: Mapping[str, Any]
    tower: str | None = None
    picture_marks: bool = False
    patch_token: bool = False
    made_by_share4v: bool = False

    @property
    def family(self) -> Family:
        """Which of the line it is, by its architecture."""
        if self.made_by_share4v:
            return "sharegpt4v"
        if self.config.image_aspect == "anyres":
            return "llava-1.6"
        if isinstance(self.config.vision, SiglipVisionConfig):
            return "llava-interleave"
        return "llava-1" if self.config.projector == "linear" else "llava-1.5"

    @property
    def picture_tokens(self) -> tuple[tuple[str, ...], ...]:
        """What a tokenizer must know for the pictures' sake, in the order of their ids."""
        patch = (("<im_patch>",),) if self.picture_marks and self.patch_token else ()
        return (*patch, ("<im_start>", "<im_end>")) if self.picture_marks else ()

    @property
    def template(self) -> str | None:
        """The template in the fields of our own."""
        return self.own.get("template")


def own_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of our own. Raises UnusableConfig for values that they cannot have."""
    own = content.get(OWN_FIELD, {})
    if not isinstance(own, dict):
        raise UnusableConfig(f"the field {OWN_FIELD} must be an object.")
    aspect, template = own.get("image_aspect"), own.get("template")
    if aspect is not None and aspect not in get_args(ImageAspect):
        raise UnusableConfig(f"image_aspect is {_listed(get_args(ImageAspect))}, not {aspect!r}.")
    if template is not None and (not isinstance(template, str) or template not in TEMPLATES):
        raise UnusableConfig(f"there is no template {template!r}; choose one of {[*TEMPLATES]}.")
    return own


def text_fields(text: TextConfig) -> dict[str, Any]:
    """The fields of a language model, the rotary ones in the words of transformers 4 as well.

    The authors' code and many servers read no others, and would compute with another base.
    """
    fields: dict[str, Any] = text.to_dict()
    rope = dict(fields.get("rope_parameters") or {})
    fields["rope_theta"] = rope.pop("rope_theta", 10_000.0)
    fields["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    return fields


def check_buildable(config: LlavaConfig) -> None:
    """What transformers would find out only while it builds or computes. Raises UnusableConfig.

    Raises ValueError for sizes of the tower that there cannot be.
    """
    text = config.text
    for part, activation in (
        ("vision_config", config.vision.hidden_act),
        ("text_config", text.hidden_act),
    ):
        if activation not in ACT2FN:
            raise UnusableConfig(
                f"hidden_act in {part} must be an activation of transformers, not {activation!r}."
            )
    rope_type = (text.rope_parameters or {}).get("rope_type", "default")
    if rope_type not in ("default", *ROPE_INIT_FUNCTIONS):
        kinds = ", ".join(("default", *ROPE_INIT_FUNCTIONS))
        raise UnusableConfig(f"rope_type in text_config must be one of {kinds}, not {rope_type!r}.")
    rows, padding = text.vocab_size, text.pad_token_id
    if padding is not None and not -rows <= padding < rows:
        raise UnusableConfig(
            f"pad_token_id in text_config must be null or below vocab_size, which is {rows}, not "
            f"{padding}."
        )
    _check_numbers(config)
    used_layers(config.vision.num_hidden_layers, config.select_layer)
    patches_per_side(config.vision)
    _check_patches(config)


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
            raise UnusableConfig(f"{name} must be a number above 0, not {value!r}.")
    if abs(config.image_token_id) >= 2**63:
        raise UnusableConfig("image_token_index must be a number of 64 bits.")


def _check_patches(config: LlavaConfig) -> None:
    """A tile must be whole patches, or rows of features would be of two places."""
    whole = image_size_px(config.vision) % int(str(config.vision.patch_size)) == 0
    if config.image_aspect == "anyres" and not (whole and config.select_feature == "patch"):
        raise UnusableConfig("anyres needs a tower of whole patches, and features without a class.")


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
