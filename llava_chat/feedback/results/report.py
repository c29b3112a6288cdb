"""All figures of one moment: for a page, and as JSON or lines for the command.

Imports the modules beside it and store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llava_chat.feedback.results.agreement import Agreement, PairAgreement, agreement, pairs
from llava_chat.feedback.results.estimate import Estimate
from llava_chat.feedback.results.gathering import Gathered, Question, Wanted, gather
from llava_chat.feedback.results.gold import GoldAccuracy, gold_accuracy
from llava_chat.feedback.results.ranking import Ranking, ranking
from llava_chat.feedback.results.volume import Event, Volume, volume
from llava_chat.store import ConversationStore


@dataclass(frozen=True)
class Answered:
    """A question, and how far those who answered it agree."""

    question: Question
    agreement: Agreement
    pairs: Sequence[PairAgreement]


@dataclass(frozen=True)
class Report:
    """All figures, and the events that were counted. unblind, names: as in Gathered."""

    events: Sequence[Event]
    volume: Volume
    questions: Sequence[Answered]
    ranking: Ranking
    unblind: int
    gold: Sequence[GoldAccuracy]
    names: Mapping[str, str]

    def told(self) -> dict[str, Any]:
        """The figures as JSON takes them; docs/results.md says what each means."""
        return {
            "volume": _volume(self.volume),
            "agreement": [_question(one) for one in self.questions],
            "ranking": {
                "votes": self.ranking.votes,
                "not_blind": self.unblind,
                "missing": self.ranking.missing,
                "models": [
                    {
                        "model": one.name,
                        "votes": one.votes,
                        "wins": one.wins,
                        "ties": one.ties,
                        "losses": one.losses,
                        "strength": _estimate(one.strength),
                    }
                    for one in self.ranking.standings
                ],
            },
            "gold": [
                {
                    "person": one.rater,
                    "asked": one.asked,
                    "right": one.right,
                    "accuracy": _estimate(one.accuracy),
                    "missing": one.missing,
                }
                for one in self.gold
            ],
        }

    def lines(self) -> Iterator[str]:
        """The figures for people to read in a terminal, but for the volume."""
        for one in self.questions:
            yield f"agreement: {one.question.project}, {one.question.label}"
            yield f"  {one.agreement.items} items that two judged, {one.agreement.raters} people"
            for level, estimate in one.agreement.alpha.items():
                yield f"  alpha, {level}: {spoken(estimate)}"
            if one.agreement.missing:
                yield f"  {one.agreement.missing}"
        if self.ranking.standings:
            yield "ranking:"
        for standing in self.ranking.standings:
            strength = "" if standing.strength is None else f", {spoken(standing.strength, 0)}"
            yield (
                f"  {standing.name}: {standing.wins} won, {standing.ties} tied, "
                f"{standing.losses} lost{strength}"
            )
        if self.ranking.standings and self.ranking.missing:
            yield f"  {self.ranking.missing}"
        for person in self.gold:
            told = person.missing if person.accuracy is None else spoken(person.accuracy)
            yield f"gold: {person.rater[:8]}: {person.right} of {person.asked} right. {told}"


def report(
    store: ConversationStore, wanted: Wanted | None = None, key: bytes | None = None
) -> Report:
    """Read what is wanted and compute every figure. key: as of `gather`. Raises StoreError."""
    return figures_of(gather(store, wanted, key))


def figures_of(gathered: Gathered) -> Report:
    """Every figure of what was read."""
    return Report(
        events=gathered.events,
        volume=volume(gathered.events),
        questions=[
            Answered(
                question,
                agreement(judgements, question.levels, question.domain),
                pairs(judgements, question.weights, question.domain),
            )
            for question, judgements in gathered.judgements.items()
        ],
        ranking=ranking(gathered.matches),
        unblind=gathered.unblind,
        gold=gold_accuracy(gathered.gold),
        names=gathered.names,
    )


def spoken(estimate: Estimate, places: int = 2) -> str:
    """A figure with its interval.

    >>> spoken(Estimate(0.815, 0.6, 0.9)), spoken(Estimate(1034.2, 980, 1100), 0)
    ('0.81 (0.60 to 0.90)', '1034 (980 to 1100)')
    """
    told = (f"{number:.{places}f}" for number in (estimate.value, estimate.low, estimate.high))
    return "{} ({} to {})".format(*told)


def _volume(counts: Volume) -> dict[str, Any]:
    return {
        "total": counts.total,
        "people": counts.people,
        "step": counts.step,
        "by_kind": dict(counts.by_kind),
        "by_time": {day.isoformat(): dict(told) for day, told in counts.by_time.items()},
        "by_reason": dict(counts.by_reason),
        "by_model": {name: dict(told) for name, told in counts.by_model.items()},
        "by_person": {name: dict(told) for name, told in counts.by_person.items()},
    }


def _question(one: Answered) -> dict[str, Any]:
    return {
        "project": one.question.project,
        "field": one.question.field,
        "label": one.question.label,
        "items": one.agreement.items,
        "people": one.agreement.raters,
        "judgements": one.agreement.judgements,
        "alpha": {level: estimate.told() for level, estimate in one.agreement.alpha.items()},
        "missing": one.agreement.missing,
        "pairs": [
            {
                "people": list(pair.raters),
                "items": pair.items,
                "kappa": _estimate(pair.kappa),
                "weights": one.question.weights,
                "missing": pair.missing,
            }
            for pair in one.pairs
        ],
    }


def _estimate(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else estimate.told()
