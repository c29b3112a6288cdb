"""One table of what was found, beside what the papers found; and the same for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llava_chat.evaluation.ablations.asking import REASONED, SCENES
from llava_chat.evaluation.ablations.intervals import Estimate, estimate
from llava_chat.evaluation.ablations.runs import Judged
from llava_chat.evaluation.ablations.variants import Variant

_HEAD = (
    "| variant | seeds | right | difference | the paper's | its difference | source |",
    "|---|---:|---:|---:|---|---|---|",
)


@dataclass(frozen=True)
class Row:
    """A variant's figures, as shares of the questions. difference: from `variant.against`.

    by_seed: the right answers of each seed. difference: None without a counterpart, or where it is
    not judged with the same seeds. kinds: right and asked by kind of question.
    """

    variant: Variant
    by_seed: Mapping[int, float]
    right: Estimate
    difference: Estimate | None
    kinds: Mapping[str, tuple[int, int]]


def rows(variants: Sequence[Variant], judged: Sequence[Judged]) -> list[Row]:
    """A row for each variant of which something is judged."""
    scores = {variant.name: _scores(variant, judged) for variant in variants}
    asked_of = {name: found for name, found in scores.items() if found}
    return [_row(v, asked_of, judged) for v in variants if v.name in asked_of]


def _row(
    variant: Variant, scores: Mapping[str, Mapping[int, np.ndarray]], judged: Sequence[Judged]
) -> Row:
    own, other = scores[variant.name], scores.get(variant.against, {})
    seeds = sorted(own)
    asked = own[seeds[0]][1]
    right = {seed: float(own[seed][0].sum() / asked.sum()) for seed in seeds}
    shared = [seed for seed in seeds if seed in other]
    difference = None
    if shared:
        apart = np.stack([own[seed][0] - other[seed][0] for seed in shared])
        difference = estimate(apart, asked)
    everything = estimate(np.stack([own[seed][0] for seed in seeds]), asked)
    return Row(variant, right, everything, difference, _kinds(variant, judged))


def _questions(variant: Variant) -> str:
    return SCENES if variant.order is None else REASONED


def _scores(variant: Variant, judged: Sequence[Judged]) -> dict[int, np.ndarray]:
    """Seed -> (2, pictures): right answers about each picture, and how many were asked."""
    found: dict[int, np.ndarray] = {}
    for one in judged:
        if one.variant != variant.name:
            continue
        said = [s for s in one.said if s.asked == _questions(variant)]
        table = np.zeros((2, 1 + max(s.picture for s in said)))
        for answer in said:
            table[:, answer.picture] += (answer.right, 1)
        found[one.seed] = table
    return found


def _kinds(variant: Variant, judged: Sequence[Judged]) -> dict[str, tuple[int, int]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in judged:
        for said in one.said if one.variant == variant.name else ():
            if said.asked == _questions(variant):
                counts[said.kind][0] += said.right
                counts[said.kind][1] += 1
    return {kind: (right, asked) for kind, (right, asked) in sorted(counts.items())}


def markdown(found: Sequence[Row]) -> str:
    """The table. Shares in per cent, differences in points, both with intervals of 95 %."""
    lines = list(_HEAD)
    for row in found:
        variant = row.variant
        difference = "" if row.difference is None else _shown(row.difference, sign="+")
        against = f" from {variant.against}" if difference and variant.against != "as it is" else ""
        cells = (
            variant.name,
            str(len(row.by_seed)),
            _shown(row.right),
            difference + against,
            variant.paper,
            variant.paper_difference,
            variant.source,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(figure: Estimate, sign: str = "") -> str:
    """In per cent, with its margin.

    >>> _shown(Estimate(-0.0123, 0.004), "+"), _shown(Estimate(0.9, None))
    ('-1.2 ± 0.4', '90.0')
    """
    shown = f"{100 * figure.mean:{sign}.1f}"
    return shown if figure.margin is None else f"{shown} ± {100 * figure.margin:.1f}"


def sentences(found: Sequence[Row]) -> list[str]:
    """What the table says of each variant that is held against another, in words."""
    told = []
    for row in found:
        if row.difference is None:
            continue
        against = row.variant.against
        if row.difference.margin is None:
            word = "one seed tells no interval"
        elif not row.difference.clear():
            word = "no difference can be told from chance"
        else:
            word = "worse" if row.difference.mean < 0 else "better"
        told.append(f"{row.variant.name} against {against}: {word}.")
    return told


def as_json(found: Sequence[Row]) -> list[dict[str, Any]]:
    """The same for programs; shares from 0 to 1."""
    return [asdict(row) for row in found]
