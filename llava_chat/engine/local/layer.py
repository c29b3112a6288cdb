"""A decoder layer of transformers taken apart into what does its arithmetic, with or without a LoRA
adapter's changes beside it.

Imports torch only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LowRank:
    """A LoRA adapter's change of one layer: down (r, in), up (out, r), their product scaled."""

    down: Tensor
    up: Tensor
    scaling: float

    def __call__(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return functional.linear(functional.linear(hidden, self.down), self.up) * self.scaling

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return self.down.nbytes + self.up.nbytes


Changes = Mapping[str, LowRank]
"""By the name of a layer in LlavaModel."""


@dataclass(frozen=True)
class _Changed:
    """A linear layer with a change added, as peft adds it."""

    linear: nn.Module
    change: LowRank

    def __call__(self, hidden: Tensor) -> Tensor:
        made: Tensor = self.linear(hidden)
        return made + self.change(hidden)


@dataclass(frozen=True)
class _Mlp:
    """A gated layer (arXiv 2002.05202) of parts that may be changed."""

    gate: Map
    up: Map
    down: Map
    activation: Map

    def __call__(self, hidden: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(hidden)) * self.up(hidden))


@dataclass(frozen=True)
class Norm:
    """Root mean square normalisation (arXiv 1910.07467)."""

    weight: Tensor
    epsilon: float

    def __call__(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.epsilon)

    @classmethod
    def of(cls, norm: Any) -> Norm:
        """With the weight of a module of transformers."""
        return cls(norm.weight, norm.variance_epsilon)


@dataclass(frozen=True)
class Layer:
    """A decoder layer of transformers, taken apart: to ask a module for a part of it takes as long
    as a small product. kind: of attention. projections: to queries, keys and values.
    """

    kind: str
    device: torch.device
    head_size: int
    scale: float
    before_attention: Norm
    projections: tuple[Map, Map, Map]
    output: Map
    before_mlp: Norm
    mlp: Map

    @classmethod
    def of(cls, layer: Any, kind: str, name: str, changes: Changes) -> Layer:
        """The parts of such a layer, which is called `name`."""
        attention, mlp = layer.self_attn, layer.mlp

        def part(of: Any, place: str) -> Map:
            linear = getattr(of, place)
            change = changes.get(f"{name}.{'mlp' if of is mlp else 'self_attn'}.{place}")
            return linear if change is None else _Changed(linear, change)

        gated = any(each.startswith(f"{name}.mlp.") for each in changes)
        return cls(
            kind,
            layer.input_layernorm.weight.device,
            attention.head_dim,
            attention.scaling,
            Norm.of(layer.input_layernorm),
            (part(attention, "q_proj"), part(attention, "k_proj"), part(attention, "v_proj")),
            part(attention, "o_proj"),
            Norm.of(layer.post_attention_layernorm),
            _Mlp(part(mlp, "gate_proj"), part(mlp, "up_proj"), part(mlp, "down_proj"), mlp.act_fn)
            if gated
            else mlp,
        )
