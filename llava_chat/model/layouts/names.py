"""What a weight is called: in LlavaModel, and in the files of every layout.

The llava-hf layout has three generations of names, by the version of transformers that wrote them:

    4 files      vision_tower.vision_model.X  language_model.model.X  language_model.lm_head
    5 in memory  model.vision_tower.X         model.language_model.X  lm_head
    5 files      vision_tower.X               language_model.model.X  language_model.lm_head

The authors' own one (haotian-liu/LLaVA) extends the names of a plain language model:

    model.vision_tower.vision_tower.vision_model.X   model.mm_projector.0   model.layers.X   lm_head

and a vision tower in a repository of its own has `vision_model.X`. No name means two things, so
that all are read by one function. Written are the first line of llava-hf, which every version and
every other server reads, and the authors'. Imports nothing: names only.
"""

from __future__ import annotations

import re
from typing import Literal

Layout = Literal["hf", "original"]

WORDS = "language_model.model.embed_tokens.weight"
"""The table by which words are read, in LlavaModel."""
HEAD = "language_model.lm_head.weight"
"""The table by which words are written; one with WORDS where they are tied."""

# Beside the tower in CLIP's and SigLIP's own repositories, and what is computed from a config.
_NOT_WEIGHTS = re.compile(
    r"\.(position_ids|inv_freq)$|^(text_model|visual_projection|text_projection)\."
    r"|^logit_(scale|bias)$|(^|vision_tower\.)(vision_model\.)?head\."
)
# peft wraps a model twice; transformers 5 and the authors' code wrap the language model once.
_ADAPTED = "base_model.model."
_TOWER = re.compile(
    r"(model\.)?(vision_tower\.){1,2}(vision_model\.)?|vision_model\."
    r"|(?=(embeddings|encoder|pre_layrnorm|post_layernorm)\.)"
)
_PROJECTOR = re.compile(r"(model\.)?(mm_projector|multi_modal_projector)\.")
_LANGUAGE = re.compile(r"(model\.)?language_model\.(model\.)?|model\.")
_HEAD = re.compile(r"(language_model\.)?lm_head\.")
_PROJECTOR_PLACES = {"linear_1": "0", "linear_2": "2"}
_TOWER_LAYER = re.compile(r"tower\.vision\.encoder\.layers\.(\d+)\.")


def model_name(file_name: str) -> str | None:
    """The name in LlavaModel (with mlp2x_gelu) of a weight in a file, None when it needs none.

    A name of no layout is returned as it is.

    >>> model_name("vision_tower.vision_model.pre_layrnorm.bias")
    'tower.vision.pre_layrnorm.bias'
    >>> model_name("model.language_model.norm.weight"), model_name("lm_head.weight")
    ('language_model.model.norm.weight', 'language_model.lm_head.weight')
    >>> model_name("model.multi_modal_projector.linear_2.bias")
    'projector.2.bias'
    >>> model_name("base_model.model.model.mm_projector.weight")
    'projector.weight'
    >>> model_name("model.vision_tower.vision_tower.vision_model.post_layernorm.bias")
    'tower.vision.post_layernorm.bias'
    >>> model_name("vision_tower.vision_model.embeddings.position_ids")
    """
    name = file_name.removeprefix(_ADAPTED)
    if name.startswith("model.model."):
        name = name.removeprefix("model.")
    if _NOT_WEIGHTS.search(name):
        return None
    if name in ("image_newline", "model.image_newline"):
        return "image_newline"
    if tower := _TOWER.match(name):
        return f"tower.vision.{name[tower.end() :]}"
    if projector := _PROJECTOR.match(name):
        place, dot, kind = name[projector.end() :].partition(".")
        return f"projector.{_PROJECTOR_PLACES.get(place, place)}{dot}{kind}"
    if head := _HEAD.match(name):
        return f"language_model.lm_head.{name[head.end() :]}"
    if language := _LANGUAGE.match(name):
        return f"language_model.model.{name[language.end() :]}"
    return name


def file_name(model_name: str, layout: Layout = "hf") -> str:
    """The name under which a weight of LlavaModel is written.

    >>> file_name("tower.vision.pre_layrnorm.bias"), file_name("projector.0.weight")
    ('vision_tower.vision_model.pre_layrnorm.bias', 'multi_modal_projector.linear_1.weight')
    >>> file_name("language_model.model.norm.weight", "original")
    'model.norm.weight'
    """
    part, _, rest = model_name.partition(".")
    if part == "tower":
        inner = f"vision_model.{rest.removeprefix('vision.')}"
        return f"{'vision_tower' if layout == 'hf' else 'model.vision_tower.vision_tower'}.{inner}"
    if layout == "original":
        if part == "language_model":
            return rest
        return f"model.{'mm_projector.' + rest if part == 'projector' else model_name}"
    for place, number in _PROJECTOR_PLACES.items():
        if model_name.startswith(f"projector.{number}."):
            return model_name.replace(f"projector.{number}", f"multi_modal_projector.{place}")
    return model_name


def is_unread_layer(model_name: str, layers: int) -> bool:
    """Whether a weight belongs to an encoder layer after the `layers` that are run.

    >>> is_unread_layer("tower.vision.encoder.layers.23.mlp.fc1.bias", 23)
    True
    """
    match = _TOWER_LAYER.match(model_name)
    return match is not None and int(match[1]) >= layers
