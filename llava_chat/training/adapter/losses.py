"""What an adapter is led by: the answers' cross-entropy, and the preference between two of them.

Imports torch and `batch`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from llava_chat.tokens import IGNORED


def reply_logprobs(hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """The log-probability of each row's labelled tokens together: (B,) float32.

    hidden: (B, T, D), labels: (B, T). The vocabulary is read out at the labelled places only.
    """
    targets = labels[:, 1:]
    known = targets != IGNORED
    logits = head(hidden[:, :-1][known]).float()
    each = -functional.cross_entropy(logits, targets[known], reduction="none")
    rows = known.nonzero()[:, 0]
    return torch.zeros(len(labels), device=each.device).index_add(0, rows, each)


def preference_loss(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """(loss, margins) of direct preference optimisation (DPO, arXiv 2305.18290, equation 7).

    policy, reference: (2, B) log-probabilities of the chosen replies and of the rejected ones,
    with the adapter and without. margins: (B,), how much higher the chosen one's reward is, a
    reward being beta times the gain in log-probability.

    >>> same = torch.tensor([[-1.0], [-2.0]])
    >>> [round(float(each), 4) for each in preference_loss(same, same, 0.1)]
    [0.6931, 0.0]
    """
    rewards = beta * (policy - reference)
    margins = rewards[0] - rewards[1]
    return -functional.logsigmoid(margins).mean(), margins
