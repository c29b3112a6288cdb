"""Between the weights of a LlavaModel and those in files: what fits, reading in, handing out.

A model is made without weights and takes those of the file as they come, converted one by one, so
that loading never holds a model twice. Imports the modules beside it, torch and errors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.model.device import auto_dtype
from llava_chat.model.layouts.names import HEAD, WORDS, Layout, file_name, is_unread_layer
from llava_chat.model.llava import LlavaConfig, LlavaModel, parameter_count
from llava_chat.model.memory import check_memory, out_of_memory
from llava_chat.model.placement import Devices, connect, device_of, place, weight_bytes
from llava_chat.model.quantization import Quantization, bits_of, prepare, put
from llava_chat.model.sources import Headers, Sources
from llava_chat.model.weight_files import (
    FLOAT_BYTES,
    briefly,
    check_finite,
    one_line,
    read_weights,
)
from llava_chat.progress import Report

_MOST_LAYERS = 1000


def load_model(
    sources: Sources,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    quantization: Quantization | None = None,
    report: Report | None = None,
) -> LlavaModel:
    """The weights of a checkpoint in a model that never held others.

    dtype: None is what fits device and model. Raises CheckpointError when the weights are damaged,
    do not fit the configuration, or do not fit into the memory.
    """
    config = sources.description.config
    headers = sources.headers()
    model = empty_model(config, headers)
    check_weights(model, headers, sources)
    wanted = _wanted(model, headers)
    if dtype is None and quantization is not None:
        dtype = quantization.dtype
    dtype = dtype or auto_dtype(device, parameter_count(model))
    if quantization is not None:
        prepare(model, quantization, dtype)
    devices, needed_bytes = place(model, device, dtype), weight_bytes(model, dtype)
    if len(devices) == 1:  # over several, `place` has looked
        check_memory(needed_bytes, devices[""], what=f"The model in {sources.located.folder}")
    with _memory_told(sources, needed_bytes, device, dtype):
        weights: dict[str, Tensor] = {}
        for name, weight in read_weights(
            wanted, device=lambda name: device_of(name, devices), dtype=dtype, report=report
        ):
            if not put(model, name, weight):
                weights[name] = weight
        if config.projector == "linear":
            fold_projector(weights)
        _take(model, weights)
        _fill_buffers(model, devices)
    connect(model, devices)
    return model.eval()


@contextmanager
def _memory_told(
    sources: Sources, needed_bytes: int, device: torch.device, dtype: torch.dtype
) -> Iterator[None]:
    """Say how much memory the weights need when there is not enough."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        gigabytes = needed_bytes / 1e9
        number_format = str(dtype).removeprefix("torch.")
        ways = "a smaller model or another --dtype"
        if device.type != "cpu":
            ways = "a smaller model, another --dtype or --device cpu"
        if device.type == "cuda":
            ways = "a smaller model, --quantize 4bit or --device cpu"
        raise CheckpointError(
            f"The model in {sources.located.folder} needs about {gigabytes:.1f} GB in "
            f"{number_format} on {device}, which has less memory left; use {ways}."
        ) from error


def _take(model: LlavaModel, weights: dict[str, Tensor]) -> None:
    """Put the weights in, with one table for the words that are read and written if it is one.

    A configuration may tie two tables that differ in the files; they stay two, as in transformers.
    """
    if model.config.text.tie_word_embeddings:
        head = weights.pop(HEAD, None)
        if head is not None and not torch.equal(weights.setdefault(WORDS, head), head):
            weights[HEAD] = head
            _untie(model)
    model.load_state_dict(weights, strict=False, assign=True)
    if model.config.text.tie_word_embeddings:
        language = model.language_model
        language.lm_head.weight = language.model.embed_tokens.weight


def _untie(model: LlavaModel) -> None:
    text = copy.deepcopy(model.config.text)
    text.tie_word_embeddings = model.language_model.config.tie_word_embeddings = False
    model.config = replace(model.config, text=text)


def empty_model(config: LlavaConfig, headers: Headers) -> LlavaModel:
    """A model of shapes alone, without memory for its weights.

    Raises CheckpointError when there cannot be weights for all its layers, because a configuration
    may claim any number of them, and each would be built; or when transformers cannot build it.
    """
    layers = max(config.text.num_hidden_layers, config.vision.num_hidden_layers)
    if layers > len(headers):
        raise CheckpointError(
            f"config.json speaks of {layers} layers, but the files hold {len(headers)} weights."
        )
    return model_of_shapes(config)


def model_of_shapes(config: LlavaConfig) -> LlavaModel:
    """As `empty_model`, where there are no files to hold a configuration to.

    Raises CheckpointError when nobody could build it.
    """
    layers = max(config.text.num_hidden_layers, config.vision.num_hidden_layers)
    if layers > _MOST_LAYERS:
        raise CheckpointError(f"config.json speaks of {layers} layers, more than any model has.")
    try:
        with torch.device("meta"):
            return LlavaModel(config)
    except Exception as error:  # its parts look at their settings with exceptions of many kinds
        raise CheckpointError(
            "config.json describes a model that cannot be built "
            f"({type(error).__name__}: {one_line(error)}); correct it or download it again."
        ) from error


def compare_weights(model: LlavaModel, headers: Headers, layout: Layout) -> list[str]:
    """What is missing, unexpected, of the wrong shape or no float; [] when all fits.

    layout: whose names what is missing is told by.
    """
    found = _wanted(model, headers)
    expected = _expected_shapes(model, found)
    missing = [file_name(name, layout) for name in expected if name not in found]
    unexpected = [header.name for name, header in found.items() if name not in expected]
    odd = [
        f"{header.name} {header.number_format}"
        for header in found.values()
        if header.number_format not in FLOAT_BYTES
    ]
    shapes = [
        f"{found[name].name} is {found[name].shape} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != tuple(shape)
    ]
    return [
        f"{what} {briefly(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong shape:", shapes),
            ("stored in a format that is not read:", odd),
        )
        if names
    ]


def _expected_shapes(model: LlavaModel, found: Headers) -> dict[str, torch.Size]:
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    if model.config.text.tie_word_embeddings:  # one table does, under either name
        if HEAD not in found:
            del shapes[HEAD]
        elif WORDS not in found:
            del shapes[WORDS]
    if model.config.projector == "linear" and "projector.0.weight" in found:
        text = shapes.pop("projector.bias")
        shapes["projector.0.weight"] = shapes.pop("projector.weight")
        shapes["projector.2.weight"] = torch.Size([*text, *text])
        shapes["projector.0.bias"] = shapes["projector.2.bias"] = text
    return shapes


def _wanted(model: LlavaModel, headers: Headers) -> Headers:
    """The weights of the files without those of layers that are not run."""
    layers = model.tower.config.num_hidden_layers
    return {name: header for name, header in headers.items() if not is_unread_layer(name, layers)}


def check_weights(model: LlavaModel, headers: Headers, sources: Sources) -> None:
    """Raise CheckpointError with the first thing that does not fit."""
    for misfit in misfits(model, headers, sources):
        raise CheckpointError(misfit)


def misfits(model: LlavaModel, headers: Headers, sources: Sources) -> list[str]:
    """A sentence for each kind of weight that does not fit; [] when all do."""
    folder = sources.located.folder
    return [
        f"The weights in {folder} do not fit config.json: {problem}."
        for problem in compare_weights(model, headers, sources.description.layout)
    ]


def fold_projector(weights: dict[str, Tensor]) -> None:
    """Two layers with nothing between them are one: W2 (W1 x + b1) + b2. Exact for W2 = 1."""
    if "projector.weight" in weights:
        return
    first, shift, second, last = (
        weights.pop(f"projector.{place}") for place in ("0.weight", "0.bias", "2.weight", "2.bias")
    )
    weights["projector.weight"] = second @ first
    weights["projector.bias"] = second @ shift + last


def _fill_buffers(model: LlavaModel, devices: Devices) -> None:
    """Compute what is in no file: positions and rotary frequencies, in float32 as always."""
    embeddings = model.tower.vision.embeddings
    positions = torch.arange(embeddings.num_positions, device=device_of("tower", devices))
    embeddings.register_buffer("position_ids", positions.expand((1, -1)), persistent=False)
    language = model.language_model.model
    rotary = device_of("language_model.model.rotary_emb", devices)
    language.rotary_emb = type(language.rotary_emb)(language.config).to(rotary)


def weights_for_files(model: LlavaModel, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """(name in the file, weight on the CPU) for every weight, a linear projector as two layers.

    Raises CheckpointError when a weight has a number that is not finite in `dtype`, or the model is
    quantised.
    """
    if bits_of(model) is not None:
        raise CheckpointError(
            "A model in fewer bits cannot be saved, because its weights are rounded; load it "
            "without --quantize."
        )
    linear = model.config.projector == "linear"
    for name, weight in model.state_dict().items():
        if name == HEAD and model.config.text.tie_word_embeddings:
            continue
        stored = weight.detach().to("cpu", dtype).contiguous()
        check_finite(name, stored)
        yield from as_stored(name, stored, "hf", linear)


def as_stored(
    name: str, weight: Tensor, layout: Layout, linear: bool
) -> Iterator[tuple[str, Tensor]]:
    """(name in the file, weight) of a weight of LlavaModel.

    linear: the projector is; llava-hf knows none, so that it is written as two layers of which the
    second changes nothing.
    """
    if linear and layout == "hf" and name in ("projector.weight", "projector.bias"):
        kind = name.removeprefix("projector.")
        rows = weight.shape[0]
        same = torch.eye(rows, dtype=weight.dtype) if kind == "weight" else torch.zeros_like(weight)
        yield file_name(f"projector.0.{kind}"), weight
        yield file_name(f"projector.2.{kind}"), same
    else:
        yield file_name(name, layout), weight
