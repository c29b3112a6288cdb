"""The bridge: encoder features into the language model's space of words.

`linear` is LLaVA's (arXiv 2304.08485), `mlp2x_gelu` LLaVA-1.5's (arXiv 2310.03744). Imports torch
only.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

ProjectorKind = Literal["linear", "mlp2x_gelu"]
PROJECTOR_KINDS: tuple[str, ...] = get_args(ProjectorKind)


def build_projector(kind: ProjectorKind, vision_dim: int, text_dim: int) -> nn.Module:
    """A module (N, P, vision_dim) -> (N, P, text_dim). Raises ValueError for an unknown kind.

    >>> [tuple(p.shape) for p in build_projector("mlp2x_gelu", 8, 16).parameters()]
    [(16, 8), (16,), (16, 16), (16,)]
    """
    match kind:
        case "linear":
            return nn.Linear(vision_dim, text_dim)
        case "mlp2x_gelu":
            return nn.Sequential(
                nn.Linear(vision_dim, text_dim), nn.GELU(), nn.Linear(text_dim, text_dim)
            )
        case _:
            raise ValueError(f"projector {kind!r} is unknown; use {' or '.join(PROJECTOR_KINDS)}")
