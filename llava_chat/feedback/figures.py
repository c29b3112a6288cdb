"""How much feedback there is, counted by kind, reason and model. Imports the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from llava_chat.feedback.comparisons import ComparisonRow
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.feedback.words import CHOICES, REASONS


class Figures:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._models: dict[str, Counter[str]] = {}
        self._people: set[str] = set()
        self._comparisons: set[str] = set()
        self._votes: Counter[str] = Counter()

    def passing(self, rows: Iterable[FeedbackRow]) -> Iterator[FeedbackRow]:
        """The same rows, each counted."""
        for row in rows:
            self._add(row)
            yield row

    def add_vote(self, row: ComparisonRow) -> None:
        """Count a vote on a comparison."""
        self._comparisons.add(row.comparison.id)
        self._votes[row.vote.choice] += 1
        self._reasons.update(row.vote.reasons)
        self._people.add(row.owner)

    def _add(self, row: FeedbackRow) -> None:
        record = row.reply.record
        name = "unknown" if record is None else record.model_id
        kinds = list(_kinds(row))
        self._counts.update(kinds)
        self._models.setdefault(name, Counter()).update(kinds)
        self._reasons.update(() if row.rating is None else row.rating.reasons)
        self._people.add(row.owner)

    def counted(self) -> dict[str, Any]:
        """The counts so far as JSON takes them: `replies`, `liked`, `disliked`, `corrections`,
        `rankings`, `comparisons`, `votes` on them by choice, `people`, `reasons` by code, `models`
        by id with the counts of each."""
        return {
            **_all_kinds(self._counts),
            "comparisons": len(self._comparisons),
            "votes": {choice: self._votes[choice] for choice in CHOICES},
            "people": len(self._people),
            "reasons": {reason: self._reasons[reason] for reason in REASONS},
            "models": {name: _all_kinds(self._models[name]) for name in sorted(self._models)},
        }


def figures(rows: Iterable[FeedbackRow], votes: Iterable[ComparisonRow] = ()) -> dict[str, Any]:
    """The counts of all rows; see Figures.counted."""
    counting = Figures()
    for vote in votes:
        counting.add_vote(vote)
    for _ in counting.passing(rows):
        pass
    return counting.counted()


def _kinds(row: FeedbackRow) -> Iterator[str]:
    yield "replies"
    if row.rating is not None:
        yield "liked" if row.rating.liked else "disliked"
    if row.correction is not None:
        yield "corrections"
    if row.ranking is not None:
        yield "rankings"


def _all_kinds(counts: Counter[str]) -> dict[str, int]:
    kinds = ("replies", "liked", "disliked", "corrections", "rankings")
    return {kind: counts[kind] for kind in kinds}
