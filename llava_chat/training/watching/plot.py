"""The run as a picture: loss, learning rates and gradient norm against steps, in one SVG.

Drawn here, as no plotting library is needed otherwise; it is legible on light and dark pages.
Imports metrics and progress.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from llava_chat.training.watching.metrics import Row, read_metrics
from llava_chat.training.watching.progress import Progress

FILE_NAME = "plot.svg"
WIDTH = 760  # pixels, as all that follows
HEIGHTS = (240, 130, 150)  # of the panels, from the top
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 30, 22
COLOURS = ("#4f6df5", "#d97706", "#0f9d6b", "#c2419a")
"""All have a contrast above 3:1 with white and with near-black (WCAG 2.2, 1.4.11)."""
_COLUMNS = 340  # of a curve: more points than that nobody sees
_SMOOTH_SHARE = 0.05  # of the run's steps: how far back the smoothed loss remembers
_OUTLIERS = 0.01  # of the gradient norms: the highest may lie beyond the axis
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}"
    ".grid{stroke:#8c959f;stroke-opacity:.3}path{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    ".raw{stroke-width:1;stroke-opacity:.4}"
    "@media(prefers-color-scheme:dark){text{fill:#a6b0bb}.raw{stroke-opacity:.55}}"
)

Points = list[tuple[float, float]]


class Plot:
    """A Watcher that draws the run into each checkpoint's folder and into `output`.

    It reads what Metrics writes there, so it comes behind it. title: the run's.
    """

    def __init__(self, title: str, output: Path) -> None:
        self._title, self._output = title, output
        self._behind = False

    def step(self, progress: Progress) -> None:
        """Remember that there is something to draw."""
        self._behind = True

    def saving(self, step: int, folder: Path) -> None:
        """Draw the run up to this checkpoint."""
        self._draw(folder)

    def end(self) -> None:
        """Draw what came since."""
        if self._behind:
            self._draw(self._output)

    def _draw(self, folder: Path) -> None:
        drawn = svg(self._title, read_metrics(self._output))
        for each in {folder, self._output}:
            (each / FILE_NAME).write_text(drawn, encoding="utf-8")
        self._behind = False


@dataclass(frozen=True)
class _Axes:
    """One panel's: the first and last step, and the values at the bottom and at the top."""

    first: float
    last: float
    low: float
    high: float
    top: float
    height: float

    def x(self, step: float) -> float:
        share = (step - self.first) / max(1, self.last - self.first)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.top + TOP + (self.height - TOP - BOTTOM) * (1 - min(1, max(0, share)))

    def path(self, points: Points, look: str) -> str:
        line = "L".join(f"{self.x(step):.1f} {self.y(value):.1f}" for step, value in points)
        return f'<path d="M{line}" {look}/>' if points else ""


def svg(title: str, rows: Sequence[Row]) -> str:
    """The picture of a run's metrics; without any row it says so."""
    height = sum(HEIGHTS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 16}" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    ]
    if rows:
        parts += [
            _losses(rows, 0),
            _rates(rows, HEIGHTS[0]),
            _norms(rows, HEIGHTS[0] + HEIGHTS[1]),
            _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, height + 10, "step", "middle"),
        ]
    else:
        parts.append(_text(LEFT, TOP, "There is no step yet.", "start"))
    return "".join(parts) + "</svg>\n"


def _losses(rows: Sequence[Row], top: float) -> str:
    raw = _points(rows, "loss")
    smooth = smoothed(raw, max(1.0, _SMOOTH_SHARE * len(raw)))
    names = [name for name in rows[-1] if name.startswith("loss/")]
    curves = {"loss": smooth}
    if len(names) > 1:  # a single one is the loss itself
        for name in names:
            points = _points(rows, name)
            curves[name.removeprefix("loss/")] = smoothed(
                points, max(1.0, _SMOOTH_SHARE * len(points))
            )
    values = [value for points in (raw, *curves.values()) for _, value in points]
    axes = _axes(rows, values, top, HEIGHTS[0])
    told = (
        f"loss, smoothed over {round(max(1.0, _SMOOTH_SHARE * len(raw)))} steps; pale: of each step"
    )
    drawn = [axes.path(_thinned(raw, _extremes), f'class="raw" stroke="{COLOURS[0]}"')]
    return _panel(axes, told, drawn, curves)


def _rates(rows: Sequence[Row], top: float) -> str:
    prefix = "learning_rate/"
    names = [name for name in rows[-1] if name.startswith(prefix)]
    curves = {name.removeprefix(prefix): _points(rows, name) for name in names}
    values = [value for points in curves.values() for _, value in points]
    return _panel(_axes(rows, [0.0, *values], top, HEIGHTS[1]), "learning rate", [], curves)


def _norms(rows: Sequence[Row], top: float) -> str:
    points = _points(rows, "gradient_norm")
    values = sorted(value for _, value in points)
    shown = values[: max(1, len(values) - int(_OUTLIERS * len(values)))]
    axes = _axes(rows, [0.0, *shown], top, HEIGHTS[2])
    title = "gradient norm, before it is clipped"
    if values and values[-1] > axes.high:
        step, highest = max(points, key=lambda point: point[1])
        title += f"; the highest is {highest:.3g}, at step {step:.0f}"
    drawn = [axes.path(_thinned(points, _extremes), f'class="raw" stroke="{COLOURS[0]}"')]
    curve = {"": smoothed(points, max(1.0, _SMOOTH_SHARE * len(points)))}
    return _panel(axes, title, drawn, curve)


def _panel(axes: _Axes, title: str, drawn: list[str], curves: dict[str, Points]) -> str:
    parts = [_text(LEFT, axes.top + 18, title, "start", ' class="title"')]
    for value in ticks(axes.low, axes.high, 4):
        y = axes.y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", "end"))
    for step in ticks(axes.first, axes.last, 8):
        if step == int(step):
            parts.append(_text(axes.x(step), axes.top + axes.height - 6, f"{step:g}", "middle"))
    parts += drawn
    for number, points in enumerate(curves.values()):
        look = f'stroke="{COLOURS[number % len(COLOURS)]}"'
        parts.append(axes.path(_thinned(points, _last), look))
    return "".join(parts) + (_legend(axes, list(curves)) if len(curves) > 1 else "")


def _legend(axes: _Axes, names: Sequence[str]) -> str:
    parts: list[str] = []
    x = float(WIDTH - RIGHT)
    for number, name in reversed([*enumerate(names)]):
        x -= 7 * len(name)
        parts.append(_text(x, axes.top + 18, name, "start"))
        x -= 20
        look = f'stroke="{COLOURS[number % len(COLOURS)]}"'
        parts.append(f'<path d="M{x:.0f} {axes.top + 14:.0f}h14" {look}/>')
        x -= 14
    return "".join(parts)


def _points(rows: Sequence[Row], name: str) -> Points:
    """(step, value) wherever there is a number."""
    found = ((row["step"], row.get(name)) for row in rows)
    return [(step, value) for step, value in found if value is not None]


def smoothed(points: Points, steps: float) -> Points:
    """A mean in which a value so many steps back counts a third of the newest.

    >>> smoothed([(1, 4.0), (2, 2.0), (3, 2.0)], 1)
    [(1, 4.0), (2, 2.0), (3, 2.0)]
    >>> [round(value, 2) for _, value in smoothed([(1, 4.0), (2, 2.0), (3, 2.0)], 4)]
    [4.0, 2.86, 2.49]
    """
    keep = 1 - 1 / steps
    total = weight = 0.0
    found: Points = []
    for step, value in points:
        total, weight = keep * total + value, keep * weight + 1
        found.append((step, total / weight))
    return found


def _thinned(points: Points, of_column: Callable[[Points], Points]) -> Points:
    """No more than _COLUMNS places, each with what `of_column` leaves of its points."""
    if len(points) <= _COLUMNS:
        return points
    size = len(points) / _COLUMNS
    parts = (points[int(n * size) : int((n + 1) * size)] for n in range(_COLUMNS))
    return [point for part in parts for point in of_column(part)]


def _extremes(points: Points) -> Points:
    lowest, highest = (find(points, key=lambda point: point[1]) for find in (min, max))
    return sorted({lowest, highest})


def _last(points: Points) -> Points:
    return points[-1:]


def _axes(rows: Sequence[Row], values: Sequence[float], top: float, height: float) -> _Axes:
    low, high = min(values, default=0.0), max(values, default=1.0)
    space = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    bottom = 0.0 if low >= 0 and low < (high - low) / 2 else low - space
    return _Axes(rows[0]["step"], rows[-1]["step"], bottom, high + space, top, height)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, `most` + 1 of them at most.

    >>> ticks(0, 10.2, 4), ticks(0.31, 0.62, 4), ticks(1, 5197, 8)[:3]
    ([0.0, 5.0, 10.0], [0.4, 0.5, 0.6], [1000.0, 2000.0, 3000.0])
    """
    if high <= low:
        return [float(low)]
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times * most >= high - low)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
