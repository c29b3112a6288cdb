"""From what is kept to plain values: events, judgements, matches and answers to gold items.

Of people who agreed to it and of chats that are kept, as everywhere in feedback. Imports the rest
of feedback and store.
"""

from __future__ import annotations

import itertools
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from llava_chat.feedback.comparisons import ComparisonVote, contestant_name, votes
from llava_chat.feedback.results.agreement import Judgement, Level, Value, Weights
from llava_chat.feedback.results.gold import is_right
from llava_chat.feedback.results.ranking import Choice, Match
from llava_chat.feedback.results.volume import Event, Kind
from llava_chat.feedback.rows import FeedbackRow, Filter, feedback_rows, pseudonym
from llava_chat.store import ConversationStore, Project, Projects, ReplyRecord, Result


@dataclass(frozen=True)
class Wanted:
    """Which of all this is wanted; None for any.

    project: a project's id; what was said outside of it is left out then. since, until: when it was
    said, with a zone. model: what a contestant is called, or a model's id for that model
    with whatever was put on it.
    """

    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    model: str | None = None

    def in_time(self, at: datetime) -> bool:
        """Whether something said then is wanted."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def about(self, contestants: Iterable[str | None]) -> bool:
        """Whether something about these is wanted.

        >>> Wanted(model="scenes").about(["scenes + mauve", None])
        True
        >>> Wanted(model="scenes").about(["scenes-large"]), Wanted().about([])
        (False, True)
        """
        wanted = self.model
        if wanted is None:
            return True
        more = (wanted, f"{wanted} + ", f"{wanted} (")
        return any(name and (name == more[0] or name.startswith(more[1:])) for name in contestants)


@dataclass(frozen=True)
class Question:
    """One field of a project's form on which people can agree. domain: its values in order."""

    project: str
    field: str
    label: str
    levels: tuple[Level, ...]
    weights: Weights
    domain: tuple[Value, ...] | None = None


@dataclass
class Gathered:
    """All that was said. names: of members who signed in, by the hash that stands for them."""

    events: list[Event] = field(default_factory=list)
    judgements: dict[Question, list[Judgement]] = field(default_factory=dict)
    matches: list[Match] = field(default_factory=list)
    gold: list[tuple[str, bool]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    unblind: int = 0
    """Votes after the names were shown, which do not count in the ranking."""


def gather(
    store: ConversationStore, wanted: Wanted | None = None, key: bytes | None = None
) -> Gathered:
    """Read it all once. key: makes people's hashes; None draws one. Raises StoreError."""
    wanted = wanted or Wanted()
    key = secrets.token_bytes(32) if key is None else key
    projects = Projects(store)
    found = Gathered(names=names_of(projects, key))
    if wanted.project is None:
        _add_chats(found, feedback_rows(store, _dates(wanted), key), wanted)
        _add_votes(found, votes(store, _dates(wanted), key), wanted)
        chosen = [summary.project for summary in projects.summaries("", all=True)]
    else:
        chosen = [projects.project(wanted.project)]
    for project in chosen:
        _add_project(found, project, projects.results(project.id, newest_only=True), wanted, key)
    return found


def names_of(projects: Projects, key: bytes) -> dict[str, str]:
    """Of members who signed in with a name, by the hash that stands for them."""
    return {pseudonym(one.owner, key): one.name for one in projects.members() if one.name}


def models_of(events: Iterable[Event]) -> list[str]:
    """All models that something was said of, sorted."""
    return sorted({model for event in events for model in event.models})


def questions(project: Project) -> Iterator[Question]:
    """The fields of a form that can be agreed on; chips are one question for each of them.

    A text, a correction and marks in a reply or a picture have no scale: two that mean the same
    seldom are the same.
    """
    for told in project.form:
        name, label = told["name"], told["label"]
        if told["type"] == "scale":
            steps = tuple(range(told["min"], told["max"] + 1))
            levels: tuple[Level, ...] = ("ordinal", "nominal", "interval")
            yield Question(project.name, name, label, levels, "linear", steps)
        elif told["type"] == "choice":
            values = tuple(option["value"] for option in told["options"])
            yield Question(project.name, name, label, ("nominal",), "none", values)
        elif told["type"] == "chips":
            for option in told["options"]:
                chip = f"{name}:{option['value']}"
                about = f"{label}: {option['label']}"
                yield Question(project.name, chip, about, ("nominal",), "none", (False, True))
        elif told["type"] == "best_of":
            yield Question(project.name, name, f"{label}: the best", ("nominal",), "none")


def answer(question: Question, values: Mapping[str, Any]) -> Value | None:
    """What somebody's values say to a question, None for nothing; a chip is chosen or is not."""
    name, _, chip = question.field.partition(":")
    given = values.get(name)
    if chip:
        return chip in (given or ())
    if given is None:
        return None
    return cast(Value, given[0] if isinstance(given, list) else given)


def _dates(wanted: Wanted) -> Filter:
    return Filter(since=wanted.since, until=wanted.until)


def _name(record: ReplyRecord | None) -> tuple[str, ...]:
    return () if record is None else (contestant_name(record.model_id, record.adapter, {}, None),)


def _add_chats(found: Gathered, rows: Iterable[FeedbackRow], wanted: Wanted) -> None:
    for row in rows:
        models = _name(row.reply.record)
        if not wanted.about(models):
            continue
        said: list[tuple[datetime, Kind, tuple[str, ...]]] = []
        if (rating := row.rating) is not None:
            kind: Kind = "liked" if rating.liked else "disliked"
            said.append((rating.updated_at, kind, rating.reasons))
        if row.correction is not None:
            said.append((row.correction.created_at, "correction", ()))
        if row.ranking is not None:
            said.append((row.ranking.created_at, "ranking", ()))
        found.events += [
            Event(at, kind, row.owner, models, reasons, row.conversation_id)
            for at, kind, reasons in said
            if wanted.in_time(at)
        ]


def _add_votes(found: Gathered, said: Iterable[ComparisonVote], wanted: Wanted) -> None:
    for vote in said:
        models = (vote.left, vote.right)
        if not wanted.about(models):
            continue
        found.events.append(
            Event(
                vote.created_at, "vote", vote.owner, models, vote.reasons,
                vote.comparison_id, "comparison",
            )
        )  # fmt: skip
        if vote.blind:
            choice = cast(Choice, vote.choice)
            found.matches.append(Match(*models, choice, vote.comparison_id))
        else:
            found.unblind += 1


def _add_project(
    found: Gathered, project: Project, results: Iterable[Result], wanted: Wanted, key: bytes
) -> None:
    asked = list(questions(project))
    said = {question: list[Judgement]() for question in asked}
    for result in results:
        annotation, item = result.annotation, result.item
        models = _writers(item.content)
        if not (wanted.in_time(annotation.created_at) and wanted.about(models)):
            continue
        person = pseudonym(result.annotator.owner, key)
        if annotation.outcome != "answered":
            continue
        shown = tuple(model for model in models if model is not None)
        found.events.append(
            Event(annotation.created_at, "annotation", person, shown, (), item.id, "item")
        )
        for question in asked:
            if (value := answer(question, annotation.values)) is not None:
                said[question].append(Judgement(item.id, person, value))
        if item.gold:
            found.gold.append((person, is_right(annotation.values, item.gold)))
        found.matches += _best_of(project, item.content, annotation.values, f"{item.id} {person}")
    found.judgements |= said


def _writers(content: Mapping[str, Any]) -> list[str | None]:
    """Who wrote each reply of an item, None where nobody knows."""
    return [
        contestant_name(reply["model"], reply.get("adapter"), {}, None)
        if reply.get("model")
        else None
        for reply in content.get("replies", ())
    ]


def _best_of(
    project: Project, content: Mapping[str, Any], values: Mapping[str, Any], judged: str
) -> Iterator[Match]:
    """A ranking of replies as votes between every two of them: the writers were hidden."""
    writers = _writers(content)
    for told in project.form:
        order = values.get(told["name"]) if told["type"] == "best_of" else None
        for better, other in itertools.combinations(order or (), 2):
            left, right = writers[better], writers[other]
            if left is not None and right is not None:
                yield Match(left, right, "left", judged)


def agreed_items(gathered: Gathered, least: float) -> set[str]:
    """Items of which the share of pairs of people who said the same is at least `least`.

    Over all questions of the item that two or more answered; others are not among them. Alpha is
    of many items and says nothing of a single one: this is its observed agreement (Fleiss,
    Psychological Bulletin 76, 1971, P_i).
    """
    alike, all_pairs = defaultdict[str, int](int), defaultdict[str, int](int)
    for judgements in gathered.judgements.values():
        by_item = defaultdict[str, list[Value]](list)
        for one in judgements:
            by_item[one.item].append(one.value)
        for item, given in by_item.items():
            for one_value, other in itertools.combinations(given, 2):
                all_pairs[item] += 1
                alike[item] += one_value == other
    return {item for item, count in all_pairs.items() if alike[item] >= least * count}
