"""On which of several GPUs each part of a model lies, and what carries a turn from one to the next.

A model that one GPU holds stays on one: every step between two costs a copy. Of a larger one, whole
layers lie one after the other on all that there are, evenly, and accelerate's hooks bring a layer's
input to where its weights are.
Imports torch, accelerate, `llava`, `quantization` and errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import infer_auto_device_map
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from accelerate.utils import CustomDtype, compute_module_sizes, get_balanced_memory
from torch import nn

from llava_chat.errors import CheckpointError
from llava_chat.model.llava import LlavaModel
from llava_chat.model.quantization import bits_of, quantised_layers

Devices = Mapping[str, torch.device]
"""Where the parts of a model lie, by their names in it; "" is all of it."""

# On every GPU: what CUDA keeps for itself, the numbers of one chunk of a prompt, and what the
# engine keeps of earlier turns (half a gigabyte by default).
_WORKSPACE_BYTES = 2**30


def place(model: LlavaModel, device: torch.device, dtype: torch.dtype) -> Devices:
    """Where a model without memory goes: on `device`, or from there over all GPUs.

    Only `cuda` without a number may become several. Raises CheckpointError as `plan` does.
    """
    count = torch.cuda.device_count() if device == torch.device("cuda") else 1
    if count < 2:
        return {"": device}
    return plan(model, dtype, [torch.cuda.mem_get_info(number)[0] for number in range(count)])


def plan(model: LlavaModel, dtype: torch.dtype, free_bytes: Sequence[int]) -> Devices:
    """Where the parts of a model without memory go, given what is free on cuda:0, cuda:1, ...

    The keys and values of one full context have to fit beside the weights. The encoder and each
    decoder layer lie on one GPU whole. Raises CheckpointError saying how much memory is missing.
    """
    weights, cache = weight_bytes(model, dtype), cache_bytes(model, dtype)
    if weights + cache + _WORKSPACE_BYTES <= free_bytes[0]:
        return {"": torch.device("cuda", 0)}
    # Keys and values lie beside their layers, and those are spread evenly.
    taken = _WORKSPACE_BYTES + cache // len(free_bytes)
    room = {number: max(free - taken, 0) for number, free in enumerate(free_bytes)}
    missing = weights - sum(room.values())
    if missing > 0:
        raise CheckpointError(_too_little(model, weights + cache, missing, free_bytes))
    sizes: dict[str, Any] = {"dtype": dtype, "special_dtypes": _special_dtypes(model)}
    whole = [type(model.tower).__name__, type(model.language_model.model.layers[0]).__name__]
    for memory in (_balanced(model, room, whole, sizes), room):
        found = infer_auto_device_map(model, {**memory}, no_split_module_classes=whole, **sizes)
        if all(isinstance(number, int) for number in found.values()):
            return _together(model, {name: torch.device("cuda", n) for name, n in found.items()})
    left = sum(compute_module_sizes(model, **sizes)[n] for n, d in found.items() if d == "disk")
    raise CheckpointError(_too_little(model, weights + cache, left, free_bytes))


def _balanced(
    model: LlavaModel, room: Mapping[int, int], whole: list[str], sizes: dict[str, Any]
) -> dict[int, int]:
    memory: dict[int, int] = get_balanced_memory(
        model, {**room}, no_split_module_classes=whole, **sizes
    )
    return memory


def _too_little(model: LlavaModel, needed: int, missing: int, free_bytes: Sequence[int]) -> str:
    ways = "" if bits_of(model) == 4 else "--quantize 4bit, "
    return (
        f"The model needs {needed / 1e9:.1f} GB for its weights and one conversation, and the GPUs "
        f"have {sum(free_bytes) / 1e9:.1f} GB free, some of it to compute with: "
        f"{missing / 1e9:.1f} GB are missing; use {ways}a smaller model or --device cpu."
    )


def _together(model: LlavaModel, devices: dict[str, torch.device]) -> Devices:
    """What is used beside the table of words lies there, whatever came last in the model.

    Those are the rotary frequencies, which every layer is given, and the other side of that table
    if there is only one.
    """
    words = device_of("language_model.model.embed_tokens.weight", devices)
    devices["language_model.model.rotary_emb"] = words
    if model.config.text.tie_word_embeddings:
        devices["language_model.lm_head"] = words
    return devices


def weight_bytes(model: LlavaModel, dtype: torch.dtype) -> int:
    """What the weights of a model without memory will take in `dtype`, quantised ones less.

    The scales of the quantised ones, at most 4 % of them, are not counted.
    """
    sizes = compute_module_sizes(model, dtype=dtype, special_dtypes=_special_dtypes(model))
    return int(sizes[""])


def cache_bytes(model: LlavaModel, dtype: torch.dtype) -> int:
    """What the keys and values of one full context take."""
    text = model.config.text
    heads = text.num_key_value_heads or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    row = 2 * text.num_hidden_layers * heads * width
    return int(row * text.max_position_embeddings * dtype.itemsize)


def _special_dtypes(model: LlavaModel) -> dict[str, Any]:
    bits = bits_of(model)
    if bits is None:
        return {}
    kept = CustomDtype.INT4 if bits == 4 else torch.int8
    return {f"{name}.weight": kept for name in quantised_layers(model)}


def device_of(name: str, devices: Devices) -> torch.device:
    """Where the weight or the part of this name lies.

    >>> cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    >>> device_of("layers.10.mlp.weight", {"layers.1": cpu, "layers.10": gpu})
    device(type='cuda', index=1)
    >>> device_of("anything", {"": cpu})
    device(type='cpu')
    """
    while name not in devices:
        name = name.rpartition(".")[0]
    return devices[name]


def connect(model: LlavaModel, devices: Devices) -> None:
    """Let each part fetch its inputs to its device; logits come back to where the embeds were.

    The keys and values stay beside their layers. `accelerate.dispatch_model` would take a "cpu"
    among the devices for weights that are to be copied to a GPU at every step.
    """
    if len(set(devices.values())) < 2:
        return
    for name, device in devices.items():
        if isinstance(part := _part(model, name), nn.Module):
            add_hook_to_module(part, AlignDevicesHook(device))
    add_hook_to_module(model, AlignDevicesHook(next(iter(devices.values())), io_same_device=True))


def _part(model: LlavaModel, name: str) -> object:
    path, _, last = name.rpartition(".")
    return getattr(model.get_submodule(path), last)
