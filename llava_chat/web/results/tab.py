"""The Results tab: its components, and what each event does. Imports gradio and the desk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from llava_chat.errors import LlavaChatError
from llava_chat.feedback.export import FORMATS
from llava_chat.feedback.results import Wanted
from llava_chat.web.chat.layout import HAND_ON
from llava_chat.web.elements import notice, plural
from llava_chat.web.markdown import printable
from llava_chat.web.results import figures, plots, reading
from llava_chat.web.results.desk import ResultsDesk, wanted_of

# Two people's figures at once: each takes a core for a second or two.
CONCURRENT = 2
# What was opened is read from its beginning, by eye and by a screen reader.
_TO_BEHIND = "() => setTimeout(() => document.querySelector('#results-behind h3')?.focus(), 50)"
FORMAT_NAMES = {
    "llava": "LLaVA instructions (llava)",
    "dpo": "TRL preferences (dpo)",
    "kto": "TRL judgements (kto)",
    "jsonl": "Everything (jsonl)",
    "csv": "Table (csv)",
    "parquet": "Table with pictures (parquet)",
}

ALL = ("All", "")
DAY = "2026-01-31"
FILTER_NAMES = ("project", "model", "since", "until")

Updates = dict[Any, Any]
Values = dict[Any, Any]


@dataclass(frozen=True)
class ResultsParts:
    """The components that handlers read and write."""

    tab: gr.Tab
    project: gr.Dropdown
    model: gr.Dropdown
    since: gr.Textbox
    until: gr.Textbox
    show: gr.Button
    notice: gr.HTML
    summary: gr.HTML
    over_time: gr.BarPlot
    by_model: gr.BarPlot
    by_reason: gr.BarPlot
    strengths: gr.ScatterPlot
    ranking: gr.HTML
    agreement: gr.HTML
    gold: gr.HTML
    volumes: gr.HTML
    behind: gr.HTML
    format: gr.Dropdown
    count: gr.Button
    export: gr.HTML

    @property
    def filters(self) -> list[Any]:
        """What says what is wanted, in the order of `wanted_of`."""
        return [self.project, self.model, self.since, self.until]

    @property
    def figures(self) -> list[Any]:
        """What shows it."""
        return [
            self.project, self.model, self.notice, self.summary, self.over_time, self.by_model,
            self.by_reason, self.strengths, self.ranking, self.agreement, self.gold, self.volumes,
            self.behind, self.export,
        ]  # fmt: skip


def add(desk: ResultsDesk) -> None:
    """Lay the tab out within the surrounding gr.Tabs and connect it.

    Its button is hidden from those who do not lead; what keeps them out is the desk.
    """
    Results(_laid_out(), desk).connect()


class Results:
    """What each event does. A refusal becomes a sentence in the tab."""

    def __init__(self, parts: ResultsParts, desk: ResultsDesk) -> None:
        self.parts, self.desk = parts, desk

    def connect(self) -> None:
        """Attach the handlers to the components."""
        parts = self.parts
        common: dict[str, Any] = {
            "inputs": set(parts.filters),
            "outputs": parts.figures,
            "show_progress": "minimal",
            "show_progress_on": parts.summary,
            "concurrency_limit": CONCURRENT,
            "concurrency_id": "results",
            "api_visibility": "private",
        }
        parts.tab.select(self.show, **common)
        parts.show.click(self.show, **common)
        for day in (parts.since, parts.until):
            day.submit(self.show, **common)
        for source in (parts.volumes, parts.ranking, parts.gold, parts.behind):
            acted = source.act(self.act, **common)
            acted.then(None, js=_TO_BEHIND, api_visibility="private")
        parts.count.click(self.count, **{**common, "inputs": {parts.format, *parts.filters}})

    def show(self, values: Values, request: gr.Request) -> Updates:
        """Every figure of what the filters say."""
        return self._answered(lambda: self._shown(values, request))

    def act(self, values: Values, event: gr.EventData, request: gr.Request) -> Updates:
        """Open what stands behind a row, or read one of it."""
        action, value = (printable(str(event._data.get(name))) for name in ("action", "value"))
        return self._answered(lambda: self._acted(values, request, action, value))

    def count(self, values: Values, request: gr.Request) -> Updates:
        """What an export would hold, and the link that makes it."""
        return self._answered(lambda: self._counted(values, request))

    def _wanted(self, values: Values) -> Wanted:
        return wanted_of(*(values[part] for part in self.parts.filters))

    def _answered(self, work: Callable[[], Updates]) -> Updates:
        try:
            return {self.parts.notice: "", **work()}
        except LlavaChatError as error:
            return {self.parts.notice: notice(str(error), "error")}

    def _shown(self, values: Values, request: gr.Request) -> Updates:
        parts = self.parts
        report = self.desk.report(request, self._wanted(values))
        projects, models = self.desk.choices(request)
        ranked = any(one.strength for one in report.ranking.standings)
        reasons = any(report.volume.by_reason.values())
        return {
            parts.project: gr.Dropdown(choices=[ALL, *projects]),
            parts.model: gr.Dropdown(choices=[ALL, *((name, name) for name in models)]),
            parts.summary: figures.summary(report),
            parts.over_time: gr.BarPlot(visible=bool(report.events), **plots.over_time(report)),
            parts.by_model: gr.BarPlot(
                visible=bool(report.volume.by_model), **plots.by_model(report)
            ),
            parts.by_reason: gr.BarPlot(visible=reasons, **plots.by_reason(report)),
            parts.strengths: gr.ScatterPlot(visible=ranked, **plots.strengths(report)),
            parts.ranking: figures.ranking(report),
            parts.agreement: figures.agreement(report),
            parts.gold: figures.gold(report),
            parts.volumes: figures.volumes(report),
            parts.behind: "",
            parts.export: "",
        }

    def _acted(self, values: Values, request: gr.Request, action: str, value: str) -> Updates:
        """value: "BY:NAME" of a row; to read one of it, "PLACE:ID:BY:NAME"."""
        if action == "read":
            place, id, row = (*value.split(":", 2), "", "")[:3]
            found, names = self.desk.read(request, place, id)
            return {self.parts.behind: reading.article(found, place, id, row, names)}
        by, _, name = value.partition(":")
        events, names = self.desk.behind(request, self._wanted(values), by, name)
        title = figures.person(name, names) if by == "person" else name.replace("_", " ")
        return {self.parts.behind: reading.listed(title, value, events, names)}

    def _counted(self, values: Values, request: gr.Request) -> Updates:
        form = values[self.parts.format]
        manifest = self.desk.counts(request, form, self._wanted(values))
        counts, left_out = manifest["counts"], manifest["left_out"]
        told = (
            f"{plural(counts['records'], 'record')}, {plural(counts['pictures'], 'picture')}, "
            f"{plural(counts['people'], 'person', 'people')}"
        )
        without = "".join(
            f"<li>{number:,} left out: {escape(reason)}</li>" for reason, number in left_out.items()
        )
        given = {
            name: str(values[part])
            for name, part in zip(FILTER_NAMES, self.parts.filters, strict=True)
            if values[part]
        }
        address = escape("results/export?" + urlencode({"format": form, **given}))
        link = f'<a class="button primary" href="{address}" download>Download the zip</a>'
        shown = f'<p role="status">{told}.</p>{f"<ul>{without}</ul>" if without else ""}'
        return {self.parts.export: shown + (link if counts["records"] else "")}


def _laid_out() -> ResultsParts:
    with (
        gr.Tab("Results", id="results", elem_id="results-tab") as tab,
        gr.Column(elem_id="results", min_width=0),
    ):
        with gr.Row(elem_id="results-filters"):
            project = _chosen("Project")
            model = _chosen("Model")
            since = gr.Textbox(label="From", placeholder=DAY, max_lines=1, min_width=140)
            until = gr.Textbox(label="To", placeholder=DAY, max_lines=1, min_width=140)
            show = gr.Button("Show", elem_id="results-show", min_width=90, scale=0)
        note = _html("results-notice")
        summary = _html("results-summary")
        with gr.Row(elem_classes="results-plots"):
            over_time = gr.BarPlot(visible=False, **plots.OVER_TIME)
            by_model = gr.BarPlot(visible=False, **plots.BY_MODEL)
        with gr.Row(elem_classes="results-plots"):
            by_reason = gr.BarPlot(visible=False, **plots.BY_REASON)
            strengths = gr.ScatterPlot(visible=False, **plots.STRENGTHS)
        ranking, agreement = _html("results-ranking"), _html("results-agreement")
        gold, volumes = _html("results-gold"), _html("results-volumes")
        behind = _html("results-behind")
        with gr.Column(elem_id="results-export", min_width=0):
            gr.HTML("<h3>Take it away</h3>", apply_default_css=False)
            with gr.Row(elem_id="results-export-how"):
                choices = [(FORMAT_NAMES[name], name) for name in FORMATS]
                form = gr.Dropdown(choices, value="jsonl", label="Format", min_width=200)
                count = gr.Button("Count first", min_width=120, scale=0)
            export = _html("results-export-counts")
    return ResultsParts(
        tab, project, model, since, until, show, note, summary, over_time, by_model, by_reason,
        strengths, ranking, agreement, gold, volumes, behind, form, count, export,
    )  # fmt: skip


def _chosen(label: str) -> gr.Dropdown:
    # What may be chosen is known when the tab is opened, and checked by the desk: Gradio would
    # refuse with a word of its own what a page shows that outlived a restart.
    return gr.Dropdown([ALL], value="", label=label, min_width=160, allow_custom_value=True)


def _html(id: str) -> gr.HTML:
    return gr.HTML("", js_on_load=HAND_ON, elem_id=id, apply_default_css=False)
