"""Takes in conversations that another database exported, with what was said of them.

What is here already, word for word, is passed over, so that an import may be repeated or go on
where it was cut off. Only `feedback` uses it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from llava_chat.errors import StoreError
from llava_chat.store import rows
from llava_chat.store.comparisons import vote_row
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.said import JudgedComparison, JudgedConversation, KeptRating, Opinion
from llava_chat.store.schema import (
    ComparisonRow,
    ComparisonVoteRow,
    ConsentRow,
    ConversationRow,
    CorrectionRow,
    MessagePictureRow,
    MessageRow,
    RankingRow,
    RatingRow,
)
from llava_chat.store.stored import Message, title_from

IMPORTED = "import"
"""The wording of a consent that was given elsewhere, to whoever exported."""


def take_in(store: ConversationStore, conversation: JudgedConversation) -> bool:
    """Keep a conversation, in one transaction; whether anything of it was new.

    Its pictures must be kept already, and a message comes after the one that it answers. Raises
    StoreError when something else has the same id, and when the database fails; nothing of the
    conversation is kept then.
    """
    with store.database.write() as session:
        _agree(session, conversation.owner)
        news = _add_conversation(session, conversation, rows.CHAT)
        for message_id, opinion in conversation.opinions.items():
            news |= _add_opinion(session, conversation.owner, message_id, opinion)
        return news


def take_in_comparison(store: ConversationStore, judged: JudgedComparison) -> bool:
    """As `take_in`, of a comparison with both its sides and its votes."""
    told = judged.comparison
    with store.database.write() as session:
        _agree(session, judged.owner)
        sides = (judged.left, judged.right)
        news = [_add_conversation(session, side, rows.COMPARISON) for side in sides]
        row = session.get(ComparisonRow, told.id)
        if row is None:
            columns = {name: value for name, value in vars(told).items() if name != "votes"}
            session.add(ComparisonRow(owner=judged.owner, **columns))
            session.flush()
        elif (row.owner, row.left_id, row.right_id) != (judged.owner, told.left_id, told.right_id):
            raise StoreError(f"The comparison {told.id} is here already with other conversations.")
        for vote in told.votes:
            if session.get(ComparisonVoteRow, vote.id) is None:
                session.add(vote_row(vote, told.id))
                news.append(True)
        session.flush()
        return any(news)


def _add_conversation(session: Session, conversation: JudgedConversation, purpose: str) -> bool:
    """Its messages, the newest of them as the head; whether one of them was new."""
    begun = _begin(session, conversation, purpose)
    news = [
        _add_message(session, conversation.id, message, conversation.positions[message.id])
        for message in conversation.messages
    ]
    newest = select(MessageRow.id).filter_by(conversation_id=conversation.id)
    begun.head_id = session.scalar(newest.order_by(MessageRow.position.desc()).limit(1))
    return any(news)


def _agree(session: Session, owner: str) -> None:
    if session.get(ConsentRow, owner) is None:
        now = datetime.now(UTC)
        rows.added_first(
            session, ConsentRow(owner=owner, keep=True, decided_at=now, wording=IMPORTED)
        )


def _begin(session: Session, conversation: JudgedConversation, purpose: str) -> ConversationRow:
    row = session.get(ConversationRow, conversation.id, with_for_update=True)
    if row is None:
        first = conversation.messages[0].text if conversation.messages else ""
        owner, title, id = conversation.owner, title_from(first), conversation.id
        row = rows.begin(session, owner, title, id=id, purpose=purpose)
        row.created_at = conversation.created_at
    if (row.owner, row.purpose) != (conversation.owner, purpose):
        raise StoreError(
            f"The conversation {conversation.id} is here already and is somebody's: it was "
            "exported from this database, or two were given the same id."
        )
    return row


def _add_message(session: Session, conversation_id: str, message: Message, position: int) -> bool:
    found = session.get(MessageRow, message.id)
    if found is not None:
        if (found.conversation_id, found.text) != (conversation_id, message.text):
            raise StoreError(f"The message {message.id} is here already with other words.")
        return False
    session.add(
        MessageRow(
            id=message.id,
            conversation_id=conversation_id,
            parent_id=message.parent_id,
            position=position,
            role=message.role,
            text=message.text,
            token_ids=None if message.token_ids is None else list(message.token_ids),
            finish=message.finish,
            created_at=message.created_at,
            pictures=[
                MessagePictureRow(position=place, picture_id=picture_id)
                for place, picture_id in enumerate(message.picture_ids)
            ],
            record=None if message.record is None else rows.record_row(message.record),
        )
    )
    session.flush()
    return True


def _add_opinion(session: Session, owner: str, message_id: str, opinion: Opinion) -> bool:
    of_it = {"message_id": message_id, "owner": owner}
    news = opinion.rating is not None and _add_rating(session, owner, message_id, opinion.rating)
    if opinion.correction is not None and _unknown(session, CorrectionRow, opinion.correction.id):
        correction = vars(opinion.correction)
        place = rows.next_position(session, CorrectionRow, owner, message_id)
        session.add(CorrectionRow(**of_it, **correction, position=place))
        news = True
    if opinion.ranking is not None and _unknown(session, RankingRow, opinion.ranking.id):
        ranking = {**vars(opinion.ranking), "reply_ids": list(opinion.ranking.reply_ids)}
        place = rows.next_position(session, RankingRow, owner, message_id)
        session.add(RankingRow(**of_it, **ranking, position=place))
        news = True
    session.flush()
    return news


def _unknown(session: Session, table: type[CorrectionRow | RankingRow], id: str) -> bool:
    return session.get(table, id) is None


def _add_rating(session: Session, owner: str, message_id: str, rating: KeptRating) -> bool:
    row = session.scalar(select(RatingRow).filter_by(message_id=message_id, owner=owner))
    if row is not None and row.updated_at >= rating.updated_at:
        return False
    if row is None:
        row = RatingRow(message_id=message_id, owner=owner, replaced_ids=[])
        session.add(row)
    for name, value in (vars(rating) | {"reasons": list(rating.reasons)}).items():
        setattr(row, name, value)
    return True
