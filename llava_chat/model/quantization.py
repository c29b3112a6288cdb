"""The language model's layers in 8 or 4 bits, put in one weight at a time while they are read.

Only the Linears of the decoder's layers: they are nine tenths of a 7B model. The tower, the
projector and the tables of words stay in their number format; rounding them would save little and
reach everything that is seen and said.

bitsandbytes, not torchao: LLM.int8 (arXiv 2208.07339) and NF4 (QLoRA, arXiv 2305.14314) are what
the reference's own 8-bit and 4-bit loading gives, peft runs adapters on top of them, and one call
quantises one weight, without a pass over the model. torchao's int8 and int4 are meant for
torch.compile; in eager mode its int8 was 2.5x slower than float32 on a CPU.

bitsandbytes is no requirement: it is imported when it is asked for. A model is a LlavaModel, known
here by the names of its parts alone. Imports torch and errors.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from llava_chat.errors import SettingError

Bits = Literal[8, 4]

_BITS: dict[str, Bits] = {"8bit": 8, "4bit": 4}

_LAYERS: dict[str, Bits] = {"Linear8bitLt": 8, "Linear4bit": 4}  # bitsandbytes' names for them

# Columns of activations that exceed it are multiplied in float16 (arXiv 2208.07339, section 3.2).
_OUTLIER_THRESHOLD = 6.0
_NF4: dict[str, Any] = {"quant_type": "nf4", "compress_statistics": True}


@dataclass(frozen=True)
class Quantization:
    """How many bits a weight of the decoder's layers takes, its scales apart."""

    bits: Bits

    @property
    def dtype(self) -> torch.dtype | None:
        """What `auto` computes in, None for the device's own: LLM.int8 multiplies in float16."""
        return torch.float16 if self.bits == 8 else None


def quantize_kind(name: str, device: torch.device) -> Quantization | None:
    """`none`, `8bit` or `4bit` on a device; None is `none`.

    Raises SettingError where fewer bits would not help, or bitsandbytes is not installed.
    """
    if name == "none":
        return None
    if name not in _BITS:
        raise SettingError("quantize", f"must be none, {', '.join(_BITS)}, not {name!r}")
    if device.type != "cuda":
        way_out = "--dtype bfloat16 halves the memory there" if device.type == "cpu" else "use none"
        raise SettingError(
            "quantize",
            f"{name} needs a CUDA GPU: on {device.type} replies become slower; {way_out}",
        )
    if find_spec("bitsandbytes") is None:
        raise SettingError(
            "quantize",
            f"{name} needs bitsandbytes, which is not installed: pip install bitsandbytes",
        )
    return Quantization(_BITS[name])


def quantised_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """What is quantised, or would be, by its name in the model: the Linears of the decoder."""
    prefix = "language_model.model.layers"
    return {
        f"{prefix}.{name}": module
        for name, module in model.get_submodule(prefix).named_modules()
        if isinstance(module, nn.Linear)  # bitsandbytes' own are such as well
    }


def prepare(model: nn.Module, quantization: Quantization, dtype: torch.dtype) -> None:
    """Replace the layers of a model without memory (on meta) by those that hold fewer bits.

    dtype: what they compute in. `put` then gives each its weight.
    """
    import bitsandbytes as bnb

    # It warns at every multiplication that LLM.int8 is float16 inside.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    for name, layer in quantised_layers(model).items():
        sizes, bias = (layer.in_features, layer.out_features), layer.bias is not None
        replacement: Any
        if quantization.bits == 8:
            replacement = bnb.nn.Linear8bitLt(
                *sizes, bias, has_fp16_weights=False, threshold=_OUTLIER_THRESHOLD, device="meta"
            )
        else:
            replacement = bnb.nn.Linear4bit(
                *sizes, bias, compute_dtype=dtype, device="meta", **_NF4
            )
        model.set_submodule(name, replacement.requires_grad_(False))
    # What peft looks at before it puts an adapter on such layers.
    setattr(model, f"is_loaded_in_{quantization.bits}bit", True)


def put(model: nn.Module, name: str, weight: Tensor) -> bool:
    """Quantise a weight of a prepared model where it lies and put it in; False if it stays whole.

    What was read is free afterwards, so that a device never holds more than one of them in full.
    """
    path, _, kind = name.rpartition(".")
    layer: Any = quantised_layers(model).get(path)
    bits = _LAYERS.get(type(layer).__name__)
    if bits is None or kind != "weight":
        return False
    import bitsandbytes as bnb

    if bits == 4:
        quantised = bnb.nn.Params4bit(weight, requires_grad=False, module=layer, **_NF4)
        layer.weight = quantised.to(weight.device)
    else:
        rounded, scales, _ = bnb.functional.int8_vectorwise_quant(weight.to(torch.float16))
        layer.weight = bnb.nn.Int8Params(rounded, requires_grad=False, CB=rounded, SCB=scales)
    return True


def bits_of(model: nn.Module) -> Bits | None:
    """The bits of a prepared model's layers, with weights or without; None for any other model."""
    kinds = {type(layer).__name__ for layer in quantised_layers(model).values()}
    return next((bits for kind, bits in _LAYERS.items() if kind in kinds), None)


def weight_count(weight: Tensor) -> int:
    """How many numbers a weight stands for, however few bytes hold them.

    >>> weight_count(torch.empty(2, 3))
    6
    """
    packed = getattr(weight, "quant_state", None)
    return weight.numel() if packed is None else torch.Size(packed.shape).numel()
