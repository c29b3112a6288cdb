"""What the plots show and how they look: arguments of Gradio's own components.

Imports feedback, and pandas where it is used alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llava_chat.feedback.results import Report
from llava_chat.feedback.results.volume import KINDS, Kind

KIND_NAMES: Mapping[Kind, str] = {
    "liked": "Liked",
    "disliked": "Not liked",
    "correction": "Corrections",
    "ranking": "Rankings",
    "vote": "Votes",
    "annotation": "Annotations",
}
# At least 3 : 1 on both the light and the dark ground (WCAG 2.2, 1.4.11).
KIND_COLOURS: Mapping[Kind, str] = {
    "liked": "#1f8a70",
    "disliked": "#c4513a",
    "correction": "#a8761d",
    "ranking": "#5d7fb8",
    "vote": "#8b6cc0",
    "annotation": "#4a8f9c",
}
_ESTIMATE, _END = "Strength", "End of its interval"
_COMMON: dict[str, Any] = {
    "x_title": " ",
    "y_title": " ",
    "color_title": " ",
    "height": 240,
    "tooltip": "all",
    "show_label": True,
    "buttons": [],
}
_BY_KIND = {"color_map": {KIND_NAMES[kind]: colour for kind, colour in KIND_COLOURS.items()}}
OVER_TIME = {**_COMMON, **_BY_KIND, "x": "When", "y": "Count", "color": "Kind", "label": "By day"}
BY_MODEL = {**_COMMON, **_BY_KIND, "x": "Model", "y": "Count", "color": "Kind", "label": "By model"}
BY_REASON = {**_COMMON, "x": "Reason", "y": "Count", "label": "By reason", "x_label_angle": -20}
STRENGTHS = {
    **_COMMON,
    **{"x": "Model", "y": "Points", "color": "Of", "label": "Strength, with its interval"},
    "color_map": {_ESTIMATE: KIND_COLOURS["liked"], _END: "#8f9893"},
}
MAX_BARS = 8
"""Names below a plot; the tables have them all."""
_HEADROOM = 1.08  # above the highest bar
_LONGEST_NAME = 20


def over_time(report: Report) -> dict[str, Any]:
    """How much was said when."""
    by_time = report.volume.by_time
    rows = ((day, *rest) for day, told in by_time.items() for rest in _kinds(report, told))
    return {
        "value": _frame(("When", "Kind", "Count"), rows, time="When"),
        "label": f"By {report.volume.step}",
        "x_bin": "1d" if report.volume.step == "day" else "7d",
        "y_aggregate": "sum",
        "y_lim": _from_zero(sum(told.values()) for told in by_time.values()),
    }


def by_model(report: Report) -> dict[str, Any]:
    """What was said of the models with most."""
    told = {_short(name): counts for name, counts in report.volume.by_model.items()}
    shown = list(told.items())[:MAX_BARS]
    rows = ((name, *rest) for name, counts in shown for rest in _kinds(report, counts))
    return {
        "value": _frame(("Model", "Kind", "Count"), rows),
        "sort": [name for name, _ in shown],
        "y_lim": _from_zero(sum(counts.values()) for _, counts in shown),
    }


def by_reason(report: Report) -> dict[str, Any]:
    """Why replies were not liked, of the reasons that were given."""
    given = {
        name.replace("_", " "): count for name, count in report.volume.by_reason.items() if count
    }
    names = sorted(given, key=lambda name: -given[name])
    return {
        "value": _frame(("Reason", "Count"), ((name, given[name]) for name in names)),
        "sort": names,
        "y_lim": _from_zero(given.values()),
    }


def strengths(report: Report) -> dict[str, Any]:
    """Each ranked model's strength between the ends of its interval."""
    ranked = [(_short(one.name), one.strength) for one in report.ranking.standings if one.strength]
    ranked = ranked[:MAX_BARS]
    rows = (
        (name, round(points, 1), which)
        for name, strength in ranked
        for points, which in (
            (strength.low, _END),
            (strength.high, _END),
            (strength.value, _ESTIMATE),
        )
    )
    return {
        "value": _frame(("Model", "Points", "Of"), rows),
        "sort": [name for name, _ in ranked],
    }


def _kinds(report: Report, told: Mapping[Kind, int]) -> Iterable[tuple[str, int]]:
    """Of the kinds that there are at all."""
    there = [kind for kind in KINDS if report.volume.by_kind[kind]]
    return ((KIND_NAMES[kind], told[kind]) for kind in there)


def _from_zero(heights: Iterable[int]) -> list[float]:
    return [0, _HEADROOM * max(1, *heights, 1)]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _frame(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]], time: str = "") -> Any:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns))
    if time:
        frame[time] = pd.to_datetime(frame[time])
    return frame
