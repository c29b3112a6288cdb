"""Which optimiser learns which weights, and how fast. Imports torch and `schedule`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from llava_chat.training.schedule import LoopOptions

_REST = "model"
_MATRICES = "matrices"


def optimisers_for(modules: nn.Module, options: LoopOptions) -> list[torch.optim.Optimizer]:
    """AdamW for all that learns, or Muon for the hidden matrices and AdamW for the rest.

    AdamW has a group for each of options.part_lr and one for what is left. Muon
    (https://kellerjordan.github.io/posts/muon) learns in fewer steps; its updates are scaled so
    that learning rates are of AdamW's size (arXiv 2502.16982). Embeddings and the read-out of the
    vocabulary are not for it.
    """
    learned = {name: p for name, p in modules.named_parameters() if p.requires_grad}
    matrices = set() if options.matrix_lr is None else hidden_matrices(modules) & set(learned)
    rest = {name: p for name, p in learned.items() if name not in matrices}
    found: list[torch.optim.Optimizer] = []
    if rest:
        found.append(
            torch.optim.AdamW(
                _groups(rest, options),
                weight_decay=options.weight_decay,
                betas=options.betas,
                fused=True if all(_can_be_fused(p) for p in rest.values()) else None,
            )
        )
    if options.matrix_lr is not None and matrices:
        weights = [learned[name] for name in sorted(matrices)]
        group = {"params": weights, "peak_lr": options.matrix_lr, "part": _MATRICES}
        found.append(
            torch.optim.Muon(
                [group], weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return found


def _groups(weights: Mapping[str, nn.Parameter], options: LoopOptions) -> list[dict[str, object]]:
    """AdamW's groups, each with its part's name and peak learning rate."""
    parts: dict[str, list[nn.Parameter]] = {_REST: []}
    for name, weight in weights.items():
        part = next((p for p in options.part_lr if name.startswith(p)), _REST)
        parts.setdefault(part, []).append(weight)
    return [
        {"params": members, "peak_lr": options.part_lr.get(part, options.lr), "part": part}
        for part, members in parts.items()
        if members
    ]


def _can_be_fused(weight: nn.Parameter) -> bool:
    """Whether there is one kernel for a whole step: a third of the time on two cores, too."""
    return weight.device.type in ("cuda", "cpu") and weight.is_floating_point()


def set_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> dict[str, float]:
    """Set `share` of the peak learning rates; return them by part."""
    rates: dict[str, float] = {}
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rates[group["part"]] = group["peak_lr"] * share
    return rates


def hidden_matrices(modules: nn.Module) -> set[str]:
    """The names of the weights of linear layers, the read-out of a vocabulary apart.

    >>> layers = {"embed": nn.Embedding(4, 2), "up": nn.Linear(2, 3), "lm_head": nn.Linear(3, 4)}
    >>> sorted(hidden_matrices(nn.ModuleDict(layers)))
    ['up.weight']
    """
    return {
        f"{name}.weight" if name else "weight"
        for name, part in modules.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[2] != "lm_head"
    }
