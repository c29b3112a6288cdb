"""Reads what was said of replies inside a transaction: one conversation's, or all for a host.

Only the store and the commands of a host, through `feedback`, use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import CompoundSelect, Select, select, union
from sqlalchemy.orm import Session

from llava_chat.store import rows
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.said import (
    JudgedConversation,
    KeptCorrection,
    KeptRanking,
    KeptRating,
    Opinion,
)
from llava_chat.store.schema import (
    ConsentRow,
    ConversationRow,
    CorrectionRow,
    MessageRow,
    RankingRow,
    RatingRow,
)
from llava_chat.store.stored import Message

BATCH_CONVERSATIONS = 100
"""Read together: a hundred long conversations are some megabytes."""

Judgements = dict[tuple[str, str], dict[str, Opinion]]
"""By conversation and owner: opinions by message."""


def judged(
    store: ConversationStore, conversation_id: str | None = None
) -> Iterator[JudgedConversation]:
    """Every kept conversation that its owner said something of, oldest first; or one of them.

    Not those whose owner does not agree (any more) that their feedback is kept. All come from one
    state of the database, held until the iterator ends or is closed. Raises StoreError.
    """
    wanted = _agreed_ids().where(ConversationRow.id.in_(_said()))
    if conversation_id is not None:
        wanted = wanted.where(ConversationRow.id == rows.storable(conversation_id))
    return _all_of(store, wanted)


def agreed(store: ConversationStore) -> Iterator[JudgedConversation]:
    """As `judged`, with the conversations of which their owner said nothing."""
    return _all_of(store, _agreed_ids())


def _all_of(store: ConversationStore, ids: Select[str]) -> Iterator[JudgedConversation]:
    with store.database.read() as session:
        wanted = list(session.scalars(ids))
        for start in range(0, len(wanted), BATCH_CONVERSATIONS):
            yield from judged_conversations(session, wanted[start : start + BATCH_CONVERSATIONS])


def conversation_of(store: ConversationStore, message_id: str) -> JudgedConversation | None:
    """The kept conversation that a message stands in, whoever its owner is; None for no such."""
    with store.database.read() as session:
        query = (
            select(ConversationRow.id)
            .join(MessageRow, MessageRow.conversation_id == ConversationRow.id)
            .where(MessageRow.id == rows.storable(message_id), ConversationRow.kept)
        )
        return next(judged_conversations(session, list(session.scalars(query))), None)


def opinions(session: Session, conversation_ids: Sequence[str]) -> Judgements:
    """The newest of each kind that anybody said of these conversations' messages."""
    found: Judgements = defaultdict(lambda: defaultdict(Opinion))

    def tell(conversation_id: str, row: RatingRow | CorrectionRow | RankingRow) -> None:
        of_one = found[conversation_id, row.owner]
        of_one[row.message_id] = _with(of_one[row.message_id], row)

    kinds: tuple[tuple[Any, Any], ...] = (
        (RatingRow, RatingRow.created_at),
        (CorrectionRow, CorrectionRow.position),  # a later one takes the place of an earlier one
        (RankingRow, RankingRow.position),
    )
    for table, order in kinds:
        query = (
            select(MessageRow.conversation_id, table)
            .join(MessageRow, MessageRow.id == table.message_id)
            .where(MessageRow.conversation_id.in_(conversation_ids))
            .order_by(order)
        )
        for conversation_id, row in session.execute(query):
            tell(conversation_id, row)
    return {key: dict(of_one) for key, of_one in found.items()}


def _with(opinion: Opinion, row: RatingRow | CorrectionRow | RankingRow) -> Opinion:
    if isinstance(row, RatingRow):
        reasons = tuple(row.reasons)
        rating = KeptRating(row.id, row.liked, reasons, row.comment, row.created_at, row.updated_at)
        return replace(opinion, rating=rating)
    if isinstance(row, CorrectionRow):
        return replace(opinion, correction=KeptCorrection(row.id, row.text, row.created_at))
    ranking = KeptRanking(row.id, tuple(row.reply_ids), row.created_at)
    return replace(opinion, ranking=ranking)


def _said() -> CompoundSelect[str]:
    # Gathered once, and not asked of each conversation: one person may have said most of it.
    return union(
        *(
            select(MessageRow.conversation_id).join(table, table.message_id == MessageRow.id)
            for table in (RatingRow, CorrectionRow, RankingRow)
        )
    )


def _agreed_ids() -> Select[str]:
    return (
        select(ConversationRow.id)
        .join(ConsentRow, ConsentRow.owner == ConversationRow.owner)
        .where(ConversationRow.kept, ConsentRow.keep)
        .order_by(ConversationRow.created_at, ConversationRow.id)
    )


def judged_conversations(session: Session, ids: Sequence[str]) -> Iterator[JudgedConversation]:
    """These conversations, in this order, with what their owners said of them."""
    by_conversation = opinions(session, ids)
    told = session.scalars(select(ConversationRow).where(ConversationRow.id.in_(ids)))
    by_id = {row.id: row for row in told}
    messages = defaultdict[str, list[MessageRow]](list)
    query = select(MessageRow).where(MessageRow.conversation_id.in_(ids))
    for row in session.scalars(query.order_by(MessageRow.position)):
        messages[row.conversation_id].append(row)
    for id in ids:
        conversation = by_id[id]
        yield JudgedConversation(
            id=id,
            owner=conversation.owner,
            created_at=conversation.created_at,
            messages=_all_versions(messages[id]),
            positions={row.id: row.position for row in messages[id]},
            opinions=by_conversation.get((id, conversation.owner), {}),
        )
    session.expunge_all()  # what was read is not needed again, and may be large


def _all_versions(found: Sequence[MessageRow]) -> tuple[Message, ...]:
    messages = tuple(map(rows.message, found))
    tree = rows.tree_of(messages)
    return tuple(rows.with_versions(message, tree) for message in messages)
