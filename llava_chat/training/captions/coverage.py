"""How often phrases occur among all captions and among those that are kept: a table and a plot.

Imports numpy and the module beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from llava_chat.training.captions.phrases import Phrases

WIDTH, HEIGHT = 640, 380  # pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 40, 46
COLOURS = ("#4f6df5", "#d97706")
"""Both have a contrast above 3:1 with white and with near-black (WCAG 2.2, 1.4.11)."""

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}"
    "line{stroke:#8c959f;stroke-opacity:.35}polyline{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#a6b0bb}}"
)
_MOST_POINTS = 200  # of a curve: more are not seen


@dataclass(frozen=True)
class Coverage:
    """before, after: in how many captions each phrase stands, (phrases,)."""

    captions: int
    kept: int
    before: np.ndarray
    after: np.ndarray
    least: int
    most: int

    def figures(self) -> dict[str, Any]:
        """By how frequent phrases were: how many they are, how many stay, and their mentions."""
        return {
            "captions": self.captions,
            "kept": self.kept,
            "phrases": int((self.before > 0).sum()),
            "phrases_kept": int((self.after > 0).sum()),
            "bands": [
                {
                    "frequency": label,
                    "phrases": int(within.sum()),
                    "phrases_kept": int((within & (self.after > 0)).sum()),
                    "mentions": int(self.before[within].sum()),
                    "mentions_kept": int(self.after[within].sum()),
                }
                for label, within in self._bands()
            ],
        }

    def _bands(self) -> list[tuple[str, np.ndarray]]:
        edges = sorted({1, self.least, 10, self.most + 1, 10 * self.most + 1})
        found = []
        for first, following in zip(edges, [*edges[1:], None], strict=True):
            within = self.before >= first
            if following is not None:
                within &= self.before < following
            found.append((_label(first, following), within))
        return found


def coverage(phrases: Phrases, kept: np.ndarray, *, least: int, most: int) -> Coverage:
    """Count them. kept: a boolean for each caption."""
    after = phrases.held[kept[phrases.captions]]
    return Coverage(
        captions=len(kept),
        kept=int(kept.sum()),
        before=phrases.frequency,
        after=np.bincount(after, minlength=len(phrases.names)),
        least=least,
        most=most,
    )


def table(found: Coverage) -> list[str]:
    """The figures as lines for a terminal."""
    rows = [("captions with the phrase", "phrases", "kept", "mentions", "kept")]
    for band in found.figures()["bands"]:
        rows.append(
            (
                band["frequency"],
                *(
                    f"{band[name]:,}"
                    for name in ("phrases", "phrases_kept", "mentions", "mentions_kept")
                ),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]


def plot(found: Coverage) -> str:
    """Frequency by rank, both on logarithmic axes, before and after: an SVG."""
    curves = {
        f"all {found.captions:,} captions": _sorted(found.before),
        f"the {found.kept:,} kept": _sorted(found.after),
    }
    decades_x = _decades(max(len(values) for values in curves.values()))
    decades_y = _decades(
        max((int(values[0]) for values in curves.values() if len(values)), default=1)
    )
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [_text(LEFT, 20, "How many captions hold a noun phrase", "start", ' class="title"')]
    for decade in range(decades_y + 1):
        y = TOP + high * (1 - decade / decades_y)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, _short(decade), "end"))
    for decade in range(decades_x + 1):
        x = LEFT + wide * decade / decades_x
        parts.append(_text(x, HEIGHT - BOTTOM + 16, _short(decade), "middle"))
    parts.append(
        _text(LEFT + wide / 2, HEIGHT - 8, "phrases, from the most frequent down", "middle")
    )
    for place, ((name, values), colour) in enumerate(zip(curves.items(), COLOURS, strict=True)):
        points = [
            (
                LEFT + wide * math.log10(rank) / decades_x,
                TOP + high * (1 - math.log10(values[rank - 1]) / decades_y),
            )
            for rank in _ranks(len(values))
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" stroke="{colour}"/>')
        y = TOP + 14 + 18 * place
        words = f"{name}: {len(values):,} phrases"
        parts.append(_text(WIDTH - RIGHT - 28, y, words, "end"))
        key = f"{WIDTH - RIGHT - 22},{y - 4} {WIDTH - RIGHT},{y - 4}"
        parts.append(f'<polyline points="{key}" stroke="{colour}"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>How many captions hold a noun phrase, before and after</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _label(first: int, following: int | None) -> str:
    """
    >>> _label(3, 10), _label(1001, None), _label(1, 2)
    ('3-9', '1,001 or more', '1')
    """
    if following is None:
        return f"{first:,} or more"
    return f"{first:,}-{following - 1:,}" if following - 1 > first else f"{first:,}"


def _sorted(frequency: np.ndarray) -> np.ndarray:
    return np.sort(frequency[frequency > 0])[::-1]


def _decades(most: int) -> int:
    """
    >>> _decades(1), _decades(100), _decades(101)
    (1, 2, 3)
    """
    return max(1, len(str(most - 1)) if most > 1 else 1)


def _short(decade: int) -> str:
    """
    >>> [_short(decade) for decade in (0, 2, 3, 5, 6, 9)]
    ['1', '100', '1k', '100k', '1M', '1,000M']
    """
    if decade < 3:
        return f"{10**decade}"
    return f"{10 ** (decade - 3)}k" if decade < 6 else f"{10 ** (decade - 6):,}M"


def _ranks(count: int) -> list[int]:
    if not count:
        return []
    steps = np.geomspace(1, count, min(count, _MOST_POINTS))
    return sorted({round(step) for step in steps.tolist()})


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
