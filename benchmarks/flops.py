"""What a training step has to compute, and how much a device could compute in the meantime.

Imports torch and `llava_chat.model`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from llava_chat.model.llava import LlavaModel

# Dense multiply-adds in bfloat16 with float32 sums, in FLOP/s, by the beginning of the name that
# torch gives: NVIDIA's data sheets of the H100 and H200 (which show twice as much, with sparsity),
# A100, L40S and L4, and the Ada architecture's white paper, appendix A, for the RTX 4090.
PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 4090": 165.2e12,
}
# What may follow: how a card is built. Whatever else does is of another one, such as the H100 NVL,
# or of a part of one.
_BUILD = re.compile(r"([ -](SXM\d|PCIe|\d+GB|HBM\w+))*", re.IGNORECASE)
_MATRIX, _TIMES = 2048, 5


@dataclass(frozen=True)
class Work:
    """One batch. lengths: tokens of each sample, padding left out; learned: of all of them."""

    lengths: Sequence[int]
    learned: int
    pictures: int


def step_flops(model: LlavaModel, stage: str, work: Work, lora_weights: int = 0) -> float:
    """Additions and multiplications of a step that learns, done once each and without padding.

    As PaLM counts them (arXiv 2204.02311, appendix B): a weight costs 2 a token forward, 2 for the
    gradient of its input and 2 for its own; attention, with its mask as without, 4 times width
    times length a token and layer forward, and twice that backward. Beyond that formula: what is
    frozen has no gradient of its own, the tower none at all, and words are read out only where
    they are learned. stage: `align`, `finetune` or `lora`; lora_weights: the adapter's.
    """
    own = 2 if stage == "finetune" else 0  # gradients of the decoder's own weights
    decoder, vision = model.language_model, model.tower.config
    tokens = sum(work.lengths)
    squares = sum(length**2 for length in work.lengths)
    patches = work.pictures * model.tokens_per_picture
    seen = work.pictures * ((vision.image_size // vision.patch_size) ** 2 + 1)
    text = decoder.config
    return float(
        2 * _linear_weights(model.tower) * seen
        + 4 * vision.hidden_size * vision.num_hidden_layers * seen**2 / max(1, work.pictures)
        + 6 * _linear_weights(model.projector) * patches
        + (4 + own) * _linear_weights(decoder.model) * tokens
        + 12 * text.hidden_size * text.num_hidden_layers * squares
        + (4 + own) * decoder.lm_head.weight.numel() * work.learned
        + 6 * lora_weights * tokens
    )


def _linear_weights(module: nn.Module) -> int:
    """Of its linear layers and convolutions, an adapter's left out."""
    return sum(
        part.weight.numel()
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and ".lora_" not in name
    )


def peak_of(name: str) -> float:
    """FLOP/s of the GPU that torch calls so, in 16 bits; 0 for an unknown one.

    >>> peak_of("NVIDIA A100-SXM4-80GB"), peak_of("NVIDIA L40")
    (312000000000000.0, 0.0)
    """
    return next(
        (
            peak
            for card, peak in PEAKS.items()
            if name.startswith(card) and _BUILD.fullmatch(name, len(card))
        ),
        0.0,
    )


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a GPU as its maker tells them, of a CPU as measured.

    0 where nothing is known: of another GPU, or of one in another number format than 16 bits.
    """
    if device.type == "cuda":
        known = dtype in (torch.bfloat16, torch.float16)
        return peak_of(torch.cuda.get_device_name(device)) if known else 0.0
    left, right = torch.randn(2, _MATRIX, _MATRIX, dtype=dtype)
    times = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - started)
    return 2 * _MATRIX**3 / min(times)
