"""Which device a model runs on and in which numbers, chosen when it is asked for, never at import.

Imports torch, `weight_files` and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from llava_chat.errors import SettingError
from llava_chat.model.weight_files import one_line

# The first compute capability with bfloat16 in its tensor cores (CUDA C programming guide, table of
# arithmetic instructions).
_AMPERE = (8, 0)
# 1 GB in float32. Below it matrices come from the CPU's caches, and one row times a matrix of
# 512 x 1408 took 1.5 times as long in bfloat16 as in float32 (AVX512_BF16, two cores), one of
# 4096 x 11008, which comes from the memory, 0.6 times as long.
_SMALL_PARAMETERS = 250_000_000

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the accelerator that is there, else the CPU. Raises SettingError."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = _named(name)
    try:
        torch.empty(0, device=device)
    except (AssertionError, ImportError, NotImplementedError) as error:
        raise SettingError(
            "device", f"{name!r} is not in this build of PyTorch; try auto"
        ) from error
    except RuntimeError as error:  # no such GPU, no driver, no memory left: it says which
        problem = f"{name!r} cannot be used: {one_line(error)}; try auto or cpu"
        raise SettingError("device", problem) from error
    return device


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "meta":  # it holds shapes and no numbers, so that nothing can be computed
        raise SettingError("device", f"must be auto, cpu, cuda, cuda:1 or mps, not {name!r}")
    return device


def named_dtype(name: str | torch.dtype) -> torch.dtype | None:
    """The number format of a name, None for `auto`. Raises SettingError for a name of none.

    >>> named_dtype("bfloat16"), named_dtype("auto")
    (torch.bfloat16, None)
    """
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        return None
    if name not in DTYPES:
        raise SettingError("dtype", f"must be auto, {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]


def auto_dtype(device: torch.device, parameters: int) -> torch.dtype:
    """What `auto` is on a device of this machine, for a model of so many weights."""
    return best_dtype(device.type, parameters, native=has_native_bfloat16(device))


def best_dtype(device_type: str, parameters: int, *, native: bool) -> torch.dtype:
    """bfloat16 where it is native; else float16 on an accelerator and float32 on a CPU.

    A small model stays in float32 on any CPU, exact and no slower.

    >>> best_dtype("cuda", 7_000_000_000, native=False), best_dtype("mps", 1, native=False)
    (torch.float16, torch.float16)
    >>> best_dtype("cpu", 7_000_000_000, native=True), best_dtype("cpu", 10_000_000, native=True)
    (torch.bfloat16, torch.float32)
    """
    if device_type == "cpu" and parameters <= _SMALL_PARAMETERS:
        return torch.float32
    if native:
        return torch.bfloat16
    return torch.float32 if device_type == "cpu" else torch.float16


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device of this machine multiplies bfloat16 itself instead of emulating it.

    On MPS it does not: Apple's first chips have no bfloat16, and float16 is as fast on the others.
    """
    if device.type == "cuda":
        # torch.cuda.is_bf16_supported() is true of older GPUs as well, where it is emulated.
        return torch.cuda.get_device_capability(device) >= _AMPERE
    return device.type == "cpu" and cpu_has_bfloat16(torch.cpu.get_capabilities())


def cpu_has_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU multiplies bfloat16, by what torch.cpu.get_capabilities() says of it.

    Not torch.ops.mkldnn._is_mkldnn_bf16_supported: it is true of every AVX-512, with or without.

    >>> cpu_has_bfloat16({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False})
    True
    >>> cpu_has_bfloat16({"avx512_f": True, "avx512_bf16": False}), cpu_has_bfloat16({"neon": True})
    (False, False)
    """
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
