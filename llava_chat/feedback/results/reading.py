"""One conversation, comparison or item behind a figure, as those who lead read it.

Whether it may still be read is asked again each time. Imports the rest of feedback and store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llava_chat.errors import NotFoundError
from llava_chat.feedback.comparisons import name_of
from llava_chat.feedback.results.volume import Place
from llava_chat.feedback.rows import pseudonym
from llava_chat.feedback.words import REASONS
from llava_chat.store import (
    ConversationStore,
    JudgedComparison,
    JudgedConversation,
    Message,
    Opinion,
    Projects,
    Result,
    compared,
    judged,
)


@dataclass(frozen=True)
class Passage:
    """One message. picture_ids: those that it brought. writer: what wrote it, "" for a person.

    said: what was said of it, a line each.
    """

    role: str
    text: str
    picture_ids: tuple[str, ...] = ()
    writer: str = ""
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What stands behind a figure. sides: one, or two of a comparison; said: of all of it."""

    person: str
    sides: tuple[tuple[Passage, ...], ...]
    said: tuple[str, ...] = ()

    @property
    def picture_ids(self) -> tuple[str, ...]:
        """Every picture once, in order."""
        every = (id for side in self.sides for passage in side for id in passage.picture_ids)
        return tuple(dict.fromkeys(every))


def read(
    store: ConversationStore, place: Place, id: str, key: bytes, names: Mapping[str, str]
) -> Reading:
    """What was said there. key, names: of people, as of `gather`.

    Raises NotFoundError where it is not there, is not kept, or its owner agrees no longer.
    """
    if place == "item":
        return _item(Projects(store).item_results(id), key, names)
    if place == "comparison":
        for comparison in compared(store, id):
            return _comparison(comparison, pseudonym(comparison.owner, key))
    else:
        for conversation in judged(store, id):
            owner = pseudonym(conversation.owner, key)
            return Reading(owner, (_passages(conversation, conversation.messages),))
    raise NotFoundError("It is not there any more: its owner may have deleted it.")


def _passages(conversation: JudgedConversation, messages: Sequence[Message]) -> tuple[Passage, ...]:
    """Every version of every message, in the order that they came."""
    return tuple(
        Passage(
            message.role,
            message.text,
            message.picture_ids,
            "" if message.record is None else name_of(message.record),
            _opinion(conversation.opinions.get(message.id)),
        )
        for message in messages
    )


def _opinion(opinion: Opinion | None) -> tuple[str, ...]:
    said = []
    if opinion is not None and opinion.rating is not None:
        reasons = "; ".join(REASONS[reason] for reason in opinion.rating.reasons)
        vote = "Liked" if opinion.rating.liked else "Not liked"
        said.append(f"{vote}: {reasons}" if reasons else vote)
        said += [f"Comment: {opinion.rating.comment}"] if opinion.rating.comment else []
    if opinion is not None and opinion.correction is not None:
        said.append(f"Corrected: {opinion.correction.text}")
    if opinion is not None and opinion.ranking is not None:
        said.append(f"{len(opinion.ranking.reply_ids)} replies were ranked")
    return tuple(said)


_CHOICES = {
    "left": "the first is better",
    "right": "the second is better",
    "tie": "a tie",
    "both_bad": "both are bad",
}


def _comparison(found: JudgedComparison, owner: str) -> Reading:
    said = []
    for vote in found.comparison.votes:
        told = f"Turn {vote.turn}: {_CHOICES[vote.choice]}{'' if vote.blind else ', names shown'}"
        said.append("; ".join([told, *(REASONS[reason] for reason in vote.reasons)]))
        said += [f"Comment: {vote.comment}"] if vote.comment else []
    sides = (_passages(side, side.messages) for side in (found.left, found.right))
    return Reading(owner, tuple(sides), tuple(said))


def _item(results: Sequence[Result], key: bytes, names: Mapping[str, str]) -> Reading:
    if not results:
        raise NotFoundError("Nobody has said anything of this item that is still kept.")
    item = results[0].item
    turns = [
        Passage(turn["role"], turn["text"], tuple(item.picture_ids[n] for n in turn["pictures"]))
        for turn in item.content["turns"]
    ]
    replies = [
        Passage("assistant", reply["text"], writer=reply.get("model") or "")
        for reply in item.content["replies"]
    ]
    said = [] if not item.gold else [f"Gold: {_values(item.gold)}"]
    for result in results:
        person = pseudonym(result.annotator.owner, key)
        told = _values(result.annotation.values) or result.annotation.outcome
        note = f" ({result.annotation.note})" if result.annotation.note else ""
        said.append(f"{names.get(person) or person[:8]}: {told}{note}")
    return Reading("", (tuple([*turns, *replies]),), tuple(said))


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and all(not isinstance(one, dict) for one in value):
        return " > ".join(map(str, value)) if value and type(value[0]) is int else ", ".join(value)
    if isinstance(value, list):
        return f"{len(value)} marked"
    return str(value)
