"""Which device a model runs on and in which numbers, chosen when it is asked for, never at import.

Imports torch and errors.
"""

from __future__ import annotations

import torch

from llava_chat.errors import SettingError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the accelerator that is there, else the CPU. Raises SettingError."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError("device", f"{name!r} is not on this machine; try auto") from error
    return device


def choose_dtype(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where a GPU has it, float16 on others, float32 on a CPU."""
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if device.type == "mps" else torch.float32
    if name not in DTYPES:
        raise SettingError("dtype", f"must be auto, {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]
