"""Number formats and torch.compile, as far as a machine has them.

Imports torch and transformers.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel


def autocast(device: torch.device, enabled: bool) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where it is asked for, float32 elsewhere."""
    if enabled:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


Module = TypeVar("Module", bound=nn.Module)


def on_device(module: Module, device: torch.device) -> Module:
    """`module.to(device)`, whose type transformers hides."""
    nn.Module.to(module, device)
    return module


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module through torch.compile, or the module itself where that does not work.

    Worth it for a decoder of one length: it fuses the many small operations between its matrix
    products. On a CPU these include plain attention's, which is the faster there at some hundred
    tokens. It needs a C++ compiler on a CPU and Triton on a GPU, which may be missing.
    """
    on_cpu = next(module.parameters()).device.type == "cpu"
    if on_cpu and isinstance(module, PreTrainedModel):
        module.set_attn_implementation("eager")
    ways: list[Callable[..., Any]] = [module]

    def call(*inputs: Any, **named: Any) -> Any:
        try:
            return ways[-1](*inputs, **named)
        except RuntimeError as error:
            if len(ways) == 1:
                raise
            outputs = module(*inputs, **named)  # raises as well if the compiler is not to blame
            ways.pop()
            reason = str(error).strip().partition("\n")[0]
            print(f"going on without torch.compile: {reason}", file=sys.stderr, flush=True)
            return outputs

    with contextlib.suppress(RuntimeError):  # this Python or this machine has no compiler at all
        ways.append(torch.compile(module, dynamic=False))
    return call
