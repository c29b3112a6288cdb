"""What a weight is called: in LlavaModel, and in the files of the llava-hf layout.

That layout has three generations of names, by the version of transformers that wrote them:

    4 files      vision_tower.vision_model.X  language_model.model.X  language_model.lm_head
    5 in memory  model.vision_tower.X         model.language_model.X  lm_head
    5 files      vision_tower.X               language_model.model.X  language_model.lm_head

All are read; the first is written, because every version and every other server reads it. Imports
nothing: names only.
"""

from __future__ import annotations

import re

_PROJECTOR_PLACES = {"linear_1": "0", "linear_2": "2"}
_NOT_WEIGHTS = re.compile(r"\.(position_ids|inv_freq)$")
_TOWER_LAYER = re.compile(r"tower\.clip\.encoder\.layers\.(\d+)\.")


def model_name(file_name: str) -> str | None:
    """The name in LlavaModel (with mlp2x_gelu) of a weight in a file, None when it needs none.

    A name of no generation is returned as it is.

    >>> model_name("vision_tower.vision_model.pre_layrnorm.bias")
    'tower.clip.pre_layrnorm.bias'
    >>> model_name("model.language_model.norm.weight"), model_name("lm_head.weight")
    ('language_model.model.norm.weight', 'language_model.lm_head.weight')
    >>> model_name("model.multi_modal_projector.linear_2.bias")
    'projector.2.bias'
    >>> model_name("vision_tower.vision_model.embeddings.position_ids")
    """
    if _NOT_WEIGHTS.search(file_name):
        return None
    name = file_name
    if name.startswith(("model.vision_tower.", "model.multi_modal_", "model.language_model.")):
        name = name.removeprefix("model.")
    part, _, rest = name.partition(".")
    if part == "vision_tower":
        return f"tower.clip.{rest.removeprefix('vision_model.')}"
    if part == "multi_modal_projector":
        place, _, kind = rest.partition(".")
        return f"projector.{_PROJECTOR_PLACES.get(place, place)}.{kind}"
    if part == "language_model" and not rest.startswith(("model.", "lm_head.")):
        return f"language_model.model.{rest}"
    return f"language_model.{name}" if part == "lm_head" else name


def file_name(model_name: str) -> str:
    """The name under which a weight of LlavaModel is written.

    >>> file_name("tower.clip.pre_layrnorm.bias"), file_name("projector.0.weight")
    ('vision_tower.vision_model.pre_layrnorm.bias', 'multi_modal_projector.linear_1.weight')
    """
    if model_name.startswith("tower.clip."):
        return f"vision_tower.vision_model.{model_name.removeprefix('tower.clip.')}"
    for place, number in _PROJECTOR_PLACES.items():
        if model_name.startswith(f"projector.{number}."):
            return model_name.replace(f"projector.{number}", f"multi_modal_projector.{place}")
    return model_name


def is_unread_layer(model_name: str, layers: int) -> bool:
    """Whether a weight belongs to an encoder layer after the `layers` that are run.

    >>> is_unread_layer("tower.clip.encoder.layers.23.mlp.fc1.bias", 23)
    True
    """
    match = _TOWER_LAYER.match(model_name)
    return match is not None and int(match[1]) >= layers
