"""The rows of the plots, and how the plots look. Imports gradio, feedback, and pandas by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr

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
# At least 3 : 1 on both the light and the dark ground (WCAG 2.2, 1.4.11), and apart in lightness.
_COLOURS: Mapping[Kind, str] = {
    "liked": "#1f8a70",
    "disliked": "#c4513a",
    "correction": "#a8761d",
    "ranking": "#5d7fb8",
    "vote": "#8b6cc0",
    "annotation": "#4a8f9c",
}
_ESTIMATE, _END = "Strength", "95 % interval"
_HEIGHT_PX = 260
_MAX_BARS = 12
"""Names below a plot; the tables have them all."""


def over_time() -> gr.BarPlot:
    """How much was said when."""
    return gr.BarPlot(
        label="By day", x="When", y="Count", color="Kind", x_title=" ", y_title=" ", **_common()
    )


def by_reason() -> gr.BarPlot:
    """Why replies were not liked."""
    look = _common() | {"color_map": None, "x_label_angle": -30, "sort": "-y"}
    return gr.BarPlot(label="By reason", x="Reason", y="Count", x_title=" ", y_title=" ", **look)


def by_model() -> gr.BarPlot:
    """What was said of each model."""
    return gr.BarPlot(
        label="By model", x="Model", y="Count", color="Kind", x_title=" ", y_title=" ", **_common()
    )


def strengths() -> gr.ScatterPlot:
    """Each model's strength between the ends of its interval."""
    look = _common() | {"color_map": {_ESTIMATE: "#1f8a70", _END: "#8f9893"}, "sort": None}
    return gr.ScatterPlot(
        label="Strength, with its interval",
        x="Model",
        y="Points",
        color="Of",
        x_title=" ",
        y_title=" ",
        **look,
    )


def _common() -> dict[str, Any]:
    colours = {KIND_NAMES[kind]: colour for kind, colour in _COLOURS.items()}
    return {
        "color_map": colours,
        "color_title": " ",
        "height": _HEIGHT_PX,
        "sort": "x",
        "tooltip": "all",
        "show_label": True,
        "buttons": [],
        "container": True,
    }


def rows_over_time(report: Report) -> Any:
    """`When`, `Kind`, `Count`."""
    by_time = report.volume.by_time
    return _frame(
        ("When", "Kind", "Count"),
        (
            (day.isoformat(), *rest)
            for day, told in by_time.items()
            for rest in _kinds(report, told)
        ),
    )


def rows_by_reason(report: Report) -> Any:
    """`Reason`, `Count`, of those that were given."""
    given = report.volume.by_reason.items()
    return _frame(
        ("Reason", "Count"), ((name.replace("_", " "), count) for name, count in given if count)
    )


def rows_by_model(report: Report) -> Any:
    """`Model`, `Kind`, `Count`, of the models with most."""
    models = list(report.volume.by_model.items())[:_MAX_BARS]
    return _frame(
        ("Model", "Kind", "Count"),
        ((_short(name), *rest) for name, told in models for rest in _kinds(report, told)),
    )


def rows_of_strengths(report: Report) -> Any:
    """`Model`, `Points`, `Of`: three points for each that is ranked."""
    ranked = [(one.name, one.strength) for one in report.ranking.standings if one.strength]
    return _frame(
        ("Model", "Points", "Of"),
        (
            (_short(name), round(points, 1), which)
            for name, strength in ranked[:_MAX_BARS]
            for points, which in (
                (strength.low, _END),
                (strength.high, _END),
                (strength.value, _ESTIMATE),
            )
        ),
    )


def _kinds(report: Report, told: Mapping[Kind, int]) -> Iterable[tuple[str, int]]:
    """Of the kinds that there are at all: a legend of the others would say nothing."""
    there = [kind for kind in KINDS if report.volume.by_kind[kind]]
    return ((KIND_NAMES[kind], told[kind]) for kind in there)


def _short(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _frame(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Any:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
