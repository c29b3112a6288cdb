"""How much was said: over time, and by kind, reason, model and person. Imports the words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from llava_chat.feedback.words import REASONS

Kind = Literal["liked", "disliked", "correction", "ranking", "vote", "annotation"]
KINDS: tuple[Kind, ...] = ("liked", "disliked", "correction", "ranking", "vote", "annotation")
Place = Literal["conversation", "comparison", "item"]
Step = Literal["day", "week"]
MAX_DAYS = 90
"""More bars than these nobody tells apart; a longer time is counted by weeks."""


@dataclass(frozen=True)
class Event:
    """Something that one person said. at: with its zone. models: what it is about, if known.

    source, place: the id of what it was said of, and whether that is a conversation, a comparison
    or an item.
    """

    at: datetime
    kind: Kind
    person: str
    models: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    source: str = ""
    place: Place = "conversation"


@dataclass(frozen=True)
class Volume:
    """Counts of events. by_time: by the first day of each step (UTC), those without any too."""

    total: int
    people: int
    step: Step
    by_kind: Mapping[Kind, int]
    by_time: Mapping[date, Mapping[Kind, int]]
    by_reason: Mapping[str, int] = field(default_factory=dict)
    by_model: Mapping[str, Mapping[Kind, int]] = field(default_factory=dict)
    by_person: Mapping[str, Mapping[Kind, int]] = field(default_factory=dict)


def volume(events: Iterable[Event]) -> Volume:
    """The counts; of models and people those with most first, of reasons all, in their order."""
    events = list(events)
    kinds = Counter(event.kind for event in events)
    reasons = Counter(reason for event in events for reason in event.reasons)
    models, people = dict[str, Counter[Kind]](), dict[str, Counter[Kind]]()
    for event in events:
        people.setdefault(event.person, Counter())[event.kind] += 1
        for model in dict.fromkeys(event.models):
            models.setdefault(model, Counter())[event.kind] += 1
    step, by_time = over_time(events)
    return Volume(
        total=len(events),
        people=len(people),
        step=step,
        by_kind=_all(kinds),
        by_time=by_time,
        by_reason={reason: reasons[reason] for reason in REASONS},
        by_model=_most_first(models),
        by_person=_most_first(people),
    )


def over_time(events: Sequence[Event]) -> tuple[Step, dict[date, dict[Kind, int]]]:
    """Counts by day, or by week (from its Monday on) where that is more than MAX_DAYS."""
    if not events:
        return "day", {}
    days = [event.at.astimezone(UTC).date() for event in events]
    first, last = min(days), max(days)
    step: Step = "day" if (last - first).days < MAX_DAYS else "week"
    counts = dict[date, Counter[Kind]]()
    day = _begin(first, step)
    while day <= last:
        counts[day] = Counter()
        day += timedelta(days=1 if step == "day" else 7)
    for event, day in zip(events, days, strict=True):
        counts[_begin(day, step)][event.kind] += 1
    return step, {day: _all(count) for day, count in counts.items()}


def _begin(day: date, step: Step) -> date:
    return day if step == "day" else day - timedelta(days=day.weekday())


def _all(counts: Counter[Kind]) -> dict[Kind, int]:
    return {kind: counts[kind] for kind in KINDS}


def _most_first(counts: Mapping[str, Counter[Kind]]) -> dict[str, Mapping[Kind, int]]:
    names = sorted(counts, key=lambda name: (-counts[name].total(), name))
    return {name: _all(counts[name]) for name in names}
