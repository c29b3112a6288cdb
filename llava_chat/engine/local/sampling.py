"""From logits to the next token: penalty, temperature, nucleus, seed.

Imports torch, `engine.base` and `errors`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import EngineError


class Sampler:
    """Chooses one reply's tokens with a random generator of its own.

    forbidden: (V,) bool, True for ids that may never be generated.
    """

    def __init__(self, settings: GenerationSettings, seed: int, forbidden: Tensor) -> None:
        self._settings = settings
        self._forbidden = forbidden
        self._generator = torch.Generator(forbidden.device).manual_seed(seed)
        self._penalised = torch.zeros_like(forbidden)

    def choose(self, logits: Tensor) -> int:
        """From logits (V,) to the id of the next token. Raises EngineError when they are NaN."""
        scores = logits.float().masked_fill(self._forbidden, -torch.inf)
        if self._settings.repetition_penalty != 1:
            scores = penalise(scores, self._penalised, self._settings.repetition_penalty)
        best, token = scores.max(dim=-1)
        if not torch.isfinite(best):
            raise EngineError(
                "The model computed something that is not a number, so this reply was stopped. "
                "Try again; if it happens every time, the model or its dtype is damaged."
            )
        if not self._settings.greedy:
            probabilities = ((scores - best) / self._settings.temperature).softmax(dim=-1)
            kept = nucleus(probabilities, self._settings.top_p)
            token = torch.multinomial(kept, 1, generator=self._generator)
        chosen = int(token)
        self._penalised[chosen] = True
        return chosen


def penalise(scores: Tensor, repeated: Tensor, penalty: float) -> Tensor:
    """Make the ids marked in `repeated` (V,) less likely (CTRL, arXiv 1909.05858, section 4.1).

    Only what this reply has already said counts, as in the paper: words of the question are free.

    >>> penalise(torch.tensor([2.0, -2.0, 2.0]), torch.tensor([True, True, False]), 2.0)
    tensor([ 1., -4.,  2.])
    """
    less = torch.where(scores > 0, scores / penalty, scores * penalty)
    return torch.where(repeated, less, scores)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero all but the fewest likeliest ids (V,) whose mass reaches top_p (arXiv 1904.09751).

    The result is not normalised; at least one id is kept.

    >>> nucleus(torch.tensor([0.25, 0.5, 0.125, 0.125]), 0.7)
    tensor([0.2500, 0.5000, 0.0000, 0.0000])
    """
    if top_p == 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True)
    beyond = ordered.cumsum(dim=-1) - ordered >= top_p
    beyond[0] = False  # a top_p that is 0 in float32 would leave nothing
    ordered = ordered.masked_fill(beyond, 0)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)
