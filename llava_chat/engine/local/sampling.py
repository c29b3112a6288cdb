"""From logits to the next tokens, for all replies that are written at once.

Every reply has settings and a seed of its own, and its draws do not depend on who else is written
beside it. The host waits for the device once a step: for the ids that were chosen.
Imports torch, `engine.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from llava_chat.engine.base import GenerationSettings

NOT_A_NUMBER = -1
"""In place of an id: this row's logits were NaN or infinite."""

NOT_A_NUMBER_SENTENCE = (
    "The model computed something that is not a number, so this reply was stopped. "
    "Try again; if it happens every time, the model or its dtype is damaged."
)

# In place of an id: this row's nucleus is wider than the ids that were put in order.
_WIDER = -2
# A nucleus rarely has more ids, and to put a whole vocabulary in order takes 20 times as long.
_HEAD_IDS = 128
_WIDENING = 16
# Probabilities are counted in whole shares: sums of whole numbers are the same in whatever order a
# device adds them, and an id of no share is never hit. Shares times points fit into 63 bits.
_SHARES = 2**36
_POINTS = 2**26


class RowSampler:
    """What one reply's tokens are chosen with.

    forbidden: (V,) bool on the logits' device, True for ids that may never be generated; the same
    for all replies. said: (V,) bool there, the ids that are penalised; None without a penalty.
    point: where the next draw hits, (1,) in [0, 2**26), on the CPU.
    """

    def __init__(self, settings: GenerationSettings, seed: int, forbidden: Tensor) -> None:
        self.settings = settings
        self.forbidden = forbidden
        self.said = torch.zeros_like(forbidden) if settings.repetition_penalty != 1 else None
        # On the CPU: a seed then gives the same points whatever device the model is on.
        self._generator = torch.Generator().manual_seed(seed)
        self.point = self._next_point()

    def mark(self, token: int) -> None:
        """This token was chosen."""
        if self.said is not None:
            self.said[token] = True
        if not self.settings.greedy:
            self.point = self._next_point()

    def _next_point(self) -> Tensor:
        return torch.randint(_POINTS, (1,), generator=self._generator)


@torch.inference_mode()
def choose(logits: Tensor, samplers: Sequence[RowSampler]) -> list[int]:
    """From logits (B, V) to the ids of the next tokens, which are marked as chosen.

    A row whose logits are no numbers gives NOT_A_NUMBER, and the others their ids. Waits for the
    device once; more often only where a distribution is so flat that _HEAD_IDS are no nucleus.
    """
    forbidden = samplers[0].forbidden
    drawn = [row for row, sampler in enumerate(samplers) if not sampler.settings.greedy]
    penalised = any(sampler.said is not None for sampler in samplers)
    if not drawn and not penalised:
        return list(greedy_ids(logits, forbidden).tolist())
    scores = logits.float().masked_fill(forbidden, -torch.inf)
    if penalised:
        scores = _penalised(scores, samplers)
    chosen, width = _likeliest(scores), _HEAD_IDS
    if drawn:
        chosen = _draw(chosen, drawn, scores, samplers, width)
    tokens: list[int] = chosen.tolist()
    while wider := [row for row, token in enumerate(tokens) if token == _WIDER]:
        width *= _WIDENING
        chosen = _draw(chosen, wider, scores, samplers, width)
        tokens = chosen.tolist()
    for sampler, token in zip(samplers, tokens, strict=True):
        if token != NOT_A_NUMBER:
            sampler.mark(token)
    return tokens


def greedy_ids(logits: Tensor, forbidden: Tensor) -> Tensor:
    """The likeliest ids (B,) of logits (B, V) that are not forbidden (V,), or NOT_A_NUMBER.

    No branch depends on a value, so that a CUDA graph can hold it.

    >>> greedy_ids(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([False, False, True])).tolist()
    [1]
    """
    return _likeliest(logits.masked_fill(forbidden, -torch.inf))


def _likeliest(scores: Tensor) -> Tensor:
    best, ids = scores.max(dim=-1)
    return torch.where(best.isfinite(), ids, NOT_A_NUMBER)


def penalise(scores: Tensor, repeated: Tensor, penalty: Tensor | float) -> Tensor:
    """Make the ids marked in `repeated` (..., V) less likely (CTRL, arXiv 1909.05858, section 4.1).

    Only what this reply has already said counts, as in the paper: words of the question are free.

    >>> penalise(torch.tensor([2.0, -2.0, 2.0]), torch.tensor([True, True, False]), 2.0)
    tensor([ 1., -4.,  2.])
    """
    # The paper divides what is above 0 and multiplies what is below: the smaller of the two.
    return torch.where(repeated, torch.minimum(scores / penalty, scores * penalty), scores)


def _penalised(scores: Tensor, samplers: Sequence[RowSampler]) -> Tensor:
    """All rows at once: a penalty of 1 changes nothing."""
    free = torch.zeros_like(samplers[0].forbidden)
    said = torch.stack([free if each.said is None else each.said for each in samplers])
    penalties = torch.tensor([[each.settings.repetition_penalty] for each in samplers])
    return penalise(scores, said, _moved(penalties, scores.device))


class Limits(NamedTuple):
    """What each of B rows is drawn with, all (B, 1) on the logits' device.

    temperature: float32 above 0. top_k: ids, 0 is all. top_p: in shares, at least 1.
    point: where the draw hits. widest: the largest top_k. cut: False when no row has any limit;
    both known to the host.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    point: Tensor
    widest: int
    cut: bool


def limits_of(samplers: Sequence[RowSampler], device: torch.device) -> Limits:
    """The limits of these rows' settings, and the points of their next draws."""
    settings = [sampler.settings for sampler in samplers]
    temperature = torch.tensor([[each.temperature] for each in settings], dtype=torch.float32)
    sizes = torch.tensor([[each.top_k, max(1, round(each.top_p * _SHARES))] for each in settings])
    points = torch.stack([sampler.point for sampler in samplers])
    numbers = _moved(torch.cat((sizes, points), dim=-1), device)
    top_k, top_p, point = numbers.split(1, dim=-1)
    return Limits(
        _moved(temperature, device),
        top_k,
        top_p,
        point,
        widest=max(each.top_k for each in settings),
        cut=any(each.top_k > 0 or each.top_p < 1 for each in settings),
    )


def _moved(numbers: Tensor, device: torch.device) -> Tensor:
    """A few numbers from the host, for which CUDA waits for nothing that it still computes."""
    return numbers.to(device, non_blocking=device.type == "cuda")


def _draw(
    chosen: Tensor, rows: list[int], scores: Tensor, samplers: Sequence[RowSampler], width: int
) -> Tensor:
    """`chosen` (B,) with the ids of `rows` drawn from scores (B, V).

    _WIDER where `width` ids do not hold the nucleus. Drawn in the order of the ids, not of their
    scores: where another batch rounds a score otherwise, the same point still hits the same id.
    """
    index = _moved(torch.tensor(rows), scores.device)
    limits = limits_of([samplers[row] for row in rows], scores.device)
    shares, wider = kept_shares(scores.index_select(0, index), limits, width)
    sums = shares.cumsum(dim=-1)
    target = sums[:, -1:] * limits.point // _POINTS
    ids = torch.where(wider, _WIDER, torch.searchsorted(sums, target, right=True))[:, 0]
    numbers = chosen.index_select(0, index) != NOT_A_NUMBER
    return chosen.index_copy(0, index, torch.where(numbers, ids, NOT_A_NUMBER))


def kept_shares(scores: Tensor, limits: Limits, width: int) -> tuple[Tensor, Tensor]:
    """What may be drawn of scores (B, V): whole shares (B, V), 0 for what is cut off.

    top_k keeps the k likeliest ids (arXiv 1805.04833), top_p of those the fewest likeliest that
    reach its mass (arXiv 1904.09751); and with the last of them whatever is exactly as likely, so
    that no order among equals plays a part. The second result (B, 1) tells which rows' nucleus
    needs more than the `width` likeliest ids.
    """
    uncut = limits.top_p == _SHARES
    if not limits.cut:
        return _shares(scores, limits.temperature), torch.zeros_like(uncut)
    width = min(max(width, limits.widest), scores.shape[-1])
    values, order = scores.topk(width, dim=-1)
    if limits.widest:
        last = values.gather(-1, (limits.top_k - 1).clamp(0, width - 1))
        scores = scores.masked_fill((scores < last) & (limits.top_k > 0), -torch.inf)
    shares = _shares(scores, limits.temperature)
    head = shares.gather(-1, order)
    sums = head.cumsum(dim=-1)
    needed = (sums - head < limits.top_p).sum(dim=-1, keepdim=True)
    least = head.gather(-1, needed - 1).masked_fill(uncut, 0)
    wider = (sums[:, -1:] < limits.top_p) & (limits.top_k == 0) & ~uncut
    return shares.mul_(shares >= least), wider & (width < scores.shape[-1])


def _shares(scores: Tensor, temperature: Tensor) -> Tensor:
    best = scores.amax(dim=-1, keepdim=True)
    return (scores - best).div_(temperature).softmax(dim=-1).mul_(_SHARES).long()
