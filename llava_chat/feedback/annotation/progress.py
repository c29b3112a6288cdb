"""How far a project is, counted by item and by annotator. Imports the store's values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from llava_chat.store import KeptAnnotation, Member, Standing

OUTCOMES = ("answered", "skipped", "flagged")


def progress(standing: Standing) -> dict[str, Any]:
    """The counts as JSON takes them.

    `items`, `overlap`, `finished` (items that enough people judged), `answers` by outcome,
    `lead_time_s` (the median), `per_item`, `per_annotator`, and `flags` with their notes. Names
    are of those who signed in, and else a number in the order in which people came.
    """
    names = {number: name_of(member, number) for number, member in standing.members}
    by_item: dict[int, list[KeptAnnotation]] = {}
    by_person: dict[int, list[KeptAnnotation]] = {number: [] for number in names}
    flags = []
    for position, number, said in standing.said:
        by_item.setdefault(position, []).append(said)
        by_person[number].append(said)
        if said.outcome == "flagged":
            flags.append({"number": position + 1, "name": names[number], "note": said.note})
    per_item = [
        {"id": id, "number": position + 1, "gold": gold, **_counts(by_item.get(position, ()))}
        for id, position, gold in standing.items
    ]
    overlap = standing.project.overlap
    return {
        "id": standing.project.id,
        "name": standing.project.name,
        "open": standing.project.open,
        "items": len(per_item),
        "overlap": overlap,
        "finished": sum(row["answered"] + row["flagged"] >= overlap for row in per_item),
        "answers": _outcomes(said for _, _, said in standing.said),
        "lead_time_s": _median(said for _, _, said in standing.said),
        "per_item": per_item,
        "per_annotator": [
            {"name": names[number], "study": member.study, **_counts(by_person[number])}
            for number, member in standing.members
        ],
        "flags": flags,
    }


def name_of(member: Member, number: int) -> str:
    """What those who lead read of somebody.

    >>> name_of(Member("0f", name="ada"), 3), name_of(Member("0f"), 3)
    ('ada', 'annotator 3')
    """
    return member.name or f"annotator {number}"


def _counts(said: Iterable[KeptAnnotation]) -> dict[str, Any]:
    listed = list(said)
    return {**_outcomes(listed), "lead_time_s": _median(listed)}


def _outcomes(said: Iterable[KeptAnnotation]) -> Mapping[str, int]:
    counted = Counter[str](one.outcome for one in said)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def _median(said: Iterable[KeptAnnotation]) -> float | None:
    """Of what was answered: a skip takes no time."""
    times = [one.lead_time_s for one in said if one.outcome == "answered"]
    return round(median(times), 3) if times else None
