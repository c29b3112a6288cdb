"""Curves as SVG, legible on a light and on a dark page. Imports the standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 240  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 42
COLOURS = ("#4f6df5", "#d97706")
"""Both have a contrast above 3:1 with white and with near-black (WCAG 2.2, 1.4.11)."""

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}"
    "line{stroke:#8c959f;stroke-opacity:.35}polyline{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#a6b0bb}}"
)


@dataclass(frozen=True)
class Panel:
    """One pair of axes, both from 0. curves: by name, '' for none, a value at each of `at`."""

    title: str
    below: str
    at: Sequence[float]
    curves: Mapping[str, Sequence[float]]


def svg(*panels: Panel) -> str:
    """Two panels in a row."""
    rows = (len(panels) + 1) // 2
    drawn = [
        f'<g transform="translate({WIDTH * (number % 2)},{HEIGHT * (number // 2)})">'
        f"{_panel(panel)}</g>"
        for number, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT}" '
        f'role="img"><title>{escape(", ".join(panel.title for panel in panels))}</title>'
        f"<style>{_STYLE}</style>{''.join(drawn)}</svg>\n"
    )


def _panel(panel: Panel) -> str:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most_x, most_y = ceiling(max(panel.at)), ceiling(max(map(max, panel.curves.values())))
    parts = [_text(LEFT, 20, panel.title, "start", ' class="title"')]
    for step in range(5):
        x, y = LEFT + wide * step / 4, TOP + high * (1 - step / 4)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{most_y * step / 4:g}", "end"))
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{most_x * step / 4:g}", "middle"))
    parts.append(_text(LEFT + wide / 2, HEIGHT - 8, panel.below, "middle"))
    for (name, values), colour in zip(panel.curves.items(), COLOURS, strict=False):
        points = [
            (LEFT + wide * x / most_x, TOP + high * (1 - y / most_y))
            for x, y in zip(panel.at, values, strict=True)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        if name:
            parts.append(_text(points[-1][0], points[-1][1] - 8, name, "end"))
    return "".join(parts)


def ceiling(value: float) -> float:
    """The next number that four steps divide well.

    >>> ceiling(3900), ceiling(16), ceiling(0.7), ceiling(21)
    (4000.0, 16.0, 0.8, 24.0)
    """
    unit = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 0.1
    return next(
        times * unit for times in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if times * unit >= value
    )


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
