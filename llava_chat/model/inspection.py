"""What a checkpoint is, from its configuration, its tokenizer and the headers of its weights.

Loads no weights and downloads nothing. Imports the modules beside it and errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llava_chat.errors import CheckpointError
from llava_chat.model.config_files import CONFIG_NAME, read_config, read_processor_settings
from llava_chat.model.encoder import tokens_per_picture
from llava_chat.model.key_names import model_name
from llava_chat.model.llava import LlavaConfig
from llava_chat.model.location import BUNDLED_NAME, Located, locate
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.tokenizer_files import (
    check_default_template,
    check_tokenizer_files,
    load_tokenizer,
)
from llava_chat.model.weight_files import FLOAT_BYTES, WeightHeader, read_headers, weight_files
from llava_chat.model.weights import compare_weights, empty_model

# Quantised weights keep a scale for every block of 64 (QLoRA, arXiv 2305.14314, section 3), or one
# a row (LLM.int8, arXiv 2208.07339), which is next to nothing.
_INT4_BYTES = 0.5 + 4 / 64
_INT8_BYTES = 1.0


@dataclass(frozen=True)
class KnownModel:
    """A model that is known to run here. name: what to pass as the model's name.

    parameters: how many numbers. memory_bytes: of the weights in bfloat16. present: on this
    machine, so that nothing would be downloaded.
    """

    name: str
    description: str
    parameters: int
    memory_bytes: int
    template: str
    present: bool


# (Hub id, description, parameters: counted on transformers' model of that configuration.)
_ON_THE_HUB = (
    ("llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 on Vicuna 7B (arXiv 2310.03744)", 7_063_427_072),
    ("llava-hf/llava-1.5-13b-hf", "LLaVA-1.5 on Vicuna 13B (arXiv 2310.03744)", 13_351_494_656),
)


def known_models() -> list[KnownModel]:
    """The bundled model, and those of the Hub with whether they were downloaded."""
    known = [_bundled()]
    for name, description, parameters in _ON_THE_HUB:
        known.append(
            KnownModel(name, description, parameters, 2 * parameters, "vicuna_v1", _present(name))
        )
    return known


def _present(name: str) -> bool:
    """Whether every file is here: a download may have been interrupted after any of them."""
    try:
        folder = locate(name, download=False).folder
        weight_files(folder)
        check_tokenizer_files(folder)
    except CheckpointError:
        return False
    return (folder / CONFIG_NAME).is_file()


def _bundled() -> KnownModel:
    what = "small demonstration model that knows drawings of shapes"
    try:
        found = inspect_checkpoint(BUNDLED_NAME)
    except CheckpointError:
        return KnownModel(BUNDLED_NAME, what, 0, 0, "vicuna_v1", False)
    return KnownModel(
        BUNDLED_NAME,
        found["description"] or what,
        found["parameters"],
        found["memory_bytes"]["bfloat16"],
        found["template"],
        not found["problems"],
    )


def inspect_checkpoint(name: str) -> dict[str, Any]:
    """What `name` holds, ready for JSON. Hub ids are looked up among what was downloaded.

    `problems` lists what would keep it from loading, in words; it is empty for a good one. Raises
    CheckpointError when there is no such folder, or no model is of its configuration.
    """
    located = locate(name, download=False)
    config, own = read_config(located.folder)
    problems: list[str] = []
    headers: dict[str, WeightHeader] = {}
    with _listed(problems):
        headers = read_headers(weight_files(located.folder))
        problems += compare_weights(empty_model(config, headers), headers)
    with _listed(problems):
        Preprocessing.read(read_processor_settings(located.folder), config)
    with _listed(problems):
        tokenizer = load_tokenizer(located.folder, config)
        if "template" not in own:
            check_default_template(tokenizer, located.folder)
    return {
        **_origin(located),
        "family": "llava",
        "layout": "hf",
        **_architecture(config),
        "template": config.template,
        "template_named_by_checkpoint": "template" in own,
        "description": str(own.get("description", "")),
        "parameters": sum(header.count for header in headers.values()),
        "stored_as": dict(Counter(header.number_format for header in headers.values())),
        "stored_bytes": sum(_stored_bytes(header) for header in headers.values()),
        "memory_bytes": _memory_bytes(headers),
        "problems": problems,
    }


@contextmanager
def _listed(problems: list[str]) -> Iterator[None]:
    """Add what is refused to `problems`, and go on."""
    try:
        yield
    except CheckpointError as error:
        problems.append(str(error))


def _origin(located: Located) -> dict[str, str]:
    return {"id": located.id, "revision": located.revision, "folder": str(located.folder)}


def _architecture(config: LlavaConfig) -> dict[str, Any]:
    vision, text = config.vision, config.text
    cut = {"select_layer": config.select_layer, "select_feature": config.select_feature}
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    tower = {name: getattr(vision, name) for name in (*names, "image_size", "patch_size")}
    language_names = (*names, "num_key_value_heads", "vocab_size", "max_position_embeddings")
    return {
        "tower": tower | cut,
        "projector": config.projector,
        "image_aspect": config.image_aspect,
        "tokens_per_picture": tokens_per_picture(config.vision, config.select_feature),
        "language_model": {name: getattr(text, name) for name in language_names},
        "context_tokens": text.max_position_embeddings,
    }


def _stored_bytes(header: WeightHeader) -> int:
    return header.count * FLOAT_BYTES.get(header.number_format, 1)


def _memory_bytes(headers: Mapping[str, WeightHeader]) -> dict[str, int]:
    """Of the weights alone. Quantised are the language model's layers; the rest is bfloat16."""
    everything = sum(header.count for header in headers.values())
    quantised = sum(
        header.count
        for stored, header in headers.items()
        if (model_name(stored) or "").startswith("language_model.model.layers.")
        and len(header.shape) == 2
    )
    rest = 2 * (everything - quantised)
    return {
        "float32": 4 * everything,
        "bfloat16": 2 * everything,
        "int8": int(rest + _INT8_BYTES * quantised),
        "int4": int(rest + _INT4_BYTES * quantised),
    }
