"""What a run is told as: a table, report.json, and the card beside the adapter.

Imports `judging` for its figures and `watching.card` for what all cards have; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llava_chat.training.adapter.judging import LessonFigures, PreferenceFigures
from llava_chat.training.watching.card import front_matter, how_to_run, settings_list

Kinds = Mapping[str, tuple[int, float]]


@dataclass(frozen=True)
class Figures:
    """Of one model, at one time. old: asked and the share of right ones, by kind of question."""

    lessons: LessonFigures | None = None
    preferences: PreferenceFigures | None = None
    old: Kinds = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A whole run. settings: by name. rows: how many, by what they were for. seconds: by part."""

    base: str
    revision: str
    settings: Mapping[str, Any]
    rows: Mapping[str, int]
    changed_words: tuple[str, ...]
    steps: int
    seconds: Mapping[str, float]
    before: Figures
    after: Figures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for when in ("before", "after"):
            kinds = found[when]["old"]
            found[when]["old"] = {
                kind: {"asked": asked, "right": right} for kind, (asked, right) in kinds.items()
            }
        return found


def table(report: Report) -> str:
    """A Markdown table of the figures before and after, on rows that were not trained on."""
    lines = ["| held out | of | before | after |", "|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(report.before, report.after)]
    if len(lines) == 2:
        return "No row was held out, so that nothing was measured."
    return "\n".join(lines)


def _rows(before: Figures, after: Figures) -> Iterator[tuple[str, str, str, str]]:
    if before.lessons and after.lessons:
        one, two = before.lessons, after.lessons
        count = str(one.replies)
        yield "replies: the very words", count, f"{one.exact:.1%}", f"{two.exact:.1%}"
        yield "replies: overlap of words", count, f"{one.overlap:.1%}", f"{two.overlap:.1%}"
    if before.preferences and after.preferences:
        first, last = before.preferences, after.preferences
        count = str(first.pairs)
        yield "pairs: the chosen likelier", count, f"{first.preferred:.1%}", f"{last.preferred:.1%}"
        yield "pairs: the chosen gained more", count, "-", f"{last.rewarded:.1%}"
        yield "pairs: reward margin", count, f"{first.margin:.3f}", f"{last.margin:.3f}"
    for kind, (asked, right) in before.old.items():
        _, now = after.old[kind]
        yield f"old skills: {kind}", str(asked), f"{right:.1%}", f"{now:.1%}"


def card(report: Report) -> str:
    """README.md of the adapter's folder, with the fields that the Hub reads."""
    counted = ", ".join(f"{count} {what}" for what, count in report.rows.items() if count)
    words = ", ".join(report.changed_words) or "none"
    return f"""{front_matter(report.base, library="peft", tags=["lora", "llava"])}

# A LoRA adapter for `{report.base}`

Trained by `llava_chat train adapter` on revision {report.revision}, in {report.steps} steps and
{report.seconds["training"]:.0f} seconds.

- rows: {counted}
- words that people replace: {words}

{how_to_run(report.base, adapter=True)}

## Figures, on what it was not trained on

{table(report)}

{settings_list(report.settings)}
"""
