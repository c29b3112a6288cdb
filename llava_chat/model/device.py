"""Which device a model runs on and in which numbers, chosen when it is asked for, never at import.

Imports torch, `weight_files` and errors.
"""

from __future__ import annotations

import torch

from llava_chat.errors import SettingError
from llava_chat.model.weight_files import one_line

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# What PyTorch says in a plain RuntimeError: on a CPU (Windows, Linux), and on MPS or in a driver.
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


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


def choose_dtype(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where a GPU has it, float16 on others, float32 on a CPU.

    Raises SettingError for a name of no number format.
    """
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if device.type == "mps" else torch.float32
    if name not in DTYPES:
        raise SettingError("dtype", f"must be auto, {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking, for which PyTorch has a class that it does not always use.

    >>> out_of_memory(RuntimeError("MPS backend out of memory")), out_of_memory(RuntimeError("?"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
