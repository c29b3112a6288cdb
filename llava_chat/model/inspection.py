"""What a checkpoint is, from its configuration, its tokenizer and the headers of its weights.

Loads no weights and downloads nothing. Imports the modules beside it and errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from llava_chat.errors import CheckpointError
from llava_chat.model.adapters import check_adapter
from llava_chat.model.device import auto_dtype
from llava_chat.model.encoder import tokens_per_picture
from llava_chat.model.layouts.description import Description
from llava_chat.model.layouts.reading import read_processor_settings
from llava_chat.model.location import BUNDLED_NAME, is_hub_id
from llava_chat.model.memory import check_memory
from llava_chat.model.preprocessing import Preprocessing
from llava_chat.model.published import PUBLISHED, Published
from llava_chat.model.quantization import Quantization
from llava_chat.model.sources import Headers, Search, Sources, find_sources
from llava_chat.model.template_choice import choose_template
from llava_chat.model.tokenizer_files import check_tokenizer_files, load_tokenizer
from llava_chat.model.weight_files import WeightHeader
from llava_chat.model.weights import empty_model, misfits, model_of_shapes

# Quantised weights keep a scale of 8 bits for a block of 64 and one of 32 bits for 256 of those
# (QLoRA, arXiv 2305.14314, section 3), or one a row (LLM.int8, arXiv 2208.07339): next to nothing.
_INT4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
_INT8_BYTES = 1.0


@dataclass(frozen=True)
class KnownModel:
    """A model that is known to run here. name: what to pass as the model's name.

    parameters: how many numbers. memory_bytes: of the weights in bfloat16. needs: what is found or
    downloaded with it. convert_first: the command that makes it a checkpoint. present: on this
    machine with all it needs, so that nothing would be downloaded.
    """

    name: str
    description: str
    parameters: int
    memory_bytes: int
    template: str
    present: bool
    needs: tuple[str, ...] = ()
    convert_first: str | None = None


def known_models() -> list[KnownModel]:
    """The bundled model, and those of the Hub with whether they were downloaded."""
    return [_bundled(), *map(_on_the_hub, PUBLISHED)]


def _on_the_hub(each: Published) -> KnownModel:
    return KnownModel(
        each.name,
        each.description,
        each.parameters,
        2 * each.parameters,
        each.template,
        all(map(_present, (each.name, *each.needs))),
        each.needs,
        each.convert_first,
    )


def _present(name: str) -> bool:
    """Whether every file is here: a download may have been interrupted after any of them."""
    try:
        sources = find_sources(name, Search(download=False))
        sources.headers()
        check_tokenizer_files(sources.folder)
    except CheckpointError:
        return False
    return True


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


def known_model(name: str) -> KnownModel:
    """What is known of any model without loading it; sizes are 0 where they cannot be told.

    Raises CheckpointError for one that is neither here nor to be had from the Hub.
    """
    for known in known_models():
        if known.name == name:
            return known
    if is_hub_id(name) and not _present(name):
        return KnownModel(name, "", 0, 0, "", False)
    sources = find_sources(name, Search(download=False))
    try:
        parameters = sum(header.count for header in sources.headers().values())
    except CheckpointError:  # whoever opens it is told
        parameters = 0
    return KnownModel(name, "", parameters, 2 * parameters, "", True)


def inspect_checkpoint(
    name: str,
    *,
    adapter: str | None = None,
    vision_tower: str | None = None,
    template: str | None = None,
) -> dict[str, Any]:
    """What `name` holds, ready for JSON. No weights are read or downloaded.

    Of a Hub id that was not downloaded the small files are, and `download_bytes` says how large its
    weights are. template: the one to use whatever the checkpoint names. `problems` lists what would
    keep it from loading, in words; it is empty for a good one. Raises CheckpointError when there is
    no such checkpoint, or no model is of its configuration.
    """
    search = Search(vision_tower, download=False, outline=True)
    sources = find_sources(name, search, adapter=adapter)
    description = sources.description
    problems: list[str] = []
    # In the order of loading, so that the first problem is the one that it ends with.
    with _listed(problems):
        Preprocessing.read(read_processor_settings(sources.folder), description.config)
    spoken: str | None = None
    with _listed(problems):
        tokenizer = load_tokenizer(sources.folder, description)
        named = sources.located.id
        spoken = choose_template(description, tokenizer, named, asked=template)
    headers: Headers = {}
    lacking_bytes = 0
    with _listed(problems):
        lacking_bytes = sources.lacking_bytes
        headers = _outlined(sources) if lacking_bytes else _checked(sources, problems)
    return {
        **_origin(sources),
        "family": description.family,
        "layout": description.layout,
        **_architecture(description),
        "template": spoken,
        "template_named_by_checkpoint": description.template is not None,
        "description": str(description.own.get("description", "")),
        "parameters": sum(header.count for header in headers.values()),
        **_storage(lacking_bytes, headers),
        "memory_bytes": _memory_bytes(headers),
        "problems": problems,
    }


def check_room(
    found: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype | None,
    quantization: Quantization | None,
) -> None:
    """Raise CheckpointError when the weights of an inspected checkpoint do not fit the free memory.

    dtype: None is what fits device and model. Of several GPUs it is seen when they are filled.
    """
    if device == torch.device("cuda") and torch.cuda.device_count() > 1:
        return
    if quantization is not None:
        kept = f"int{quantization.bits}"
    else:
        dtype = dtype or auto_dtype(device, found["parameters"])
        kept = "float32" if dtype == torch.float32 else "bfloat16"
    check_memory(found["memory_bytes"][kept], device, what=found["id"])


def _checked(sources: Sources, problems: list[str]) -> Headers:
    """What the files say of the weights; what does not fit is added to `problems`."""
    headers = sources.headers()
    model = empty_model(sources.description.config, headers)
    problems += misfits(model, headers, sources)
    if sources.lora is not None:
        check_adapter(sources.lora, model)
    return headers


def _outlined(sources: Sources) -> Headers:
    """What the configuration says of weights that are not here, the tower whole."""
    model = model_of_shapes(replace(sources.description.config, select_layer=-1))
    return {
        name: WeightHeader(sources.base.folder, name, tuple(weight.shape), "BF16")
        for name, weight in model.state_dict().items()
    }


def _storage(lacking_bytes: int, headers: Headers) -> dict[str, Any]:
    if lacking_bytes:
        return {"download_bytes": lacking_bytes, "stored_as": {}, "stored_bytes": 0}
    return {
        "download_bytes": 0,
        "stored_as": dict(Counter(header.number_format for header in headers.values())),
        "stored_bytes": sum(header.stored_bytes for header in headers.values()),
    }


@contextmanager
def _listed(problems: list[str]) -> Iterator[None]:
    """Add what is refused to `problems`, and go on."""
    try:
        yield
    except CheckpointError as error:
        problems.append(str(error))


def _origin(sources: Sources) -> dict[str, str | None]:
    located, adapter = sources.located, sources.adapter
    return {
        "id": located.id,
        "revision": located.revision,
        "folder": str(located.folder),
        "base": None if sources.base.folder == located.folder else sources.base.id,
        "adapter": None if adapter is None else adapter.id,
    }


def _architecture(description: Description) -> dict[str, Any]:
    config = description.config
    vision, text = config.vision, config.text
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    tower = {
        "name": description.tower,
        "kind": vision.model_type,
        **{name: getattr(vision, name) for name in (*names, "image_size", "patch_size")},
        "select_layer": config.select_layer,
        "select_feature": config.select_feature,
    }
    language_names = (*names, "num_key_value_heads", "vocab_size", "max_position_embeddings")
    language = {"kind": text.model_type} | {name: getattr(text, name) for name in language_names}
    return {
        "tower": tower,
        "projector": config.projector,
        "image_aspect": config.image_aspect,
        "grid_pinpoints": [list(pair) for pair in config.grid_pinpoints],
        "tokens_per_picture": tokens_per_picture(vision, config.select_feature),
        "language_model": language,
        "context_tokens": text.max_position_embeddings,
    }


def _memory_bytes(headers: Headers) -> dict[str, int]:
    """Of the weights alone. Quantised are the language model's layers; the rest is bfloat16."""
    everything = sum(header.count for header in headers.values())
    quantised = sum(
        header.count
        for name, header in headers.items()
        if name.startswith("language_model.model.layers.") and len(header.shape) == 2
    )
    rest = 2 * (everything - quantised)
    return {
        "float32": 4 * everything,
        "bfloat16": 2 * everything,
        "int8": int(rest + _INT8_BYTES * quantised),
        "int4": int(rest + _INT4_BYTES * quantised),
    }
