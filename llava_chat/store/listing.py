"""The list of somebody's conversations, and the search in it: the one query that reads many.

Only the store imports this module.
"""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from llava_chat.store import rows
from llava_chat.store.schema import ConversationRow, MessageRow
from llava_chat.store.stored import ConversationSummary


def summaries(
    session: Session, owner: str, search: str, limit: int, purpose: str
) -> list[ConversationSummary]:
    """As `ConversationStore.list`."""
    # Positions have no gaps but in what was imported, and the index knows the last one.
    count = (
        select(func.coalesce(func.max(MessageRow.position) + 1, 0))
        .where(MessageRow.conversation_id == ConversationRow.id)
        .scalar_subquery()
    )
    columns = (ConversationRow.id, ConversationRow.title, ConversationRow.updated_at)
    query = (
        select(*columns, count, ConversationRow.kept)
        .where(ConversationRow.owner == owner, ConversationRow.purpose == purpose)
        .order_by(ConversationRow.updated_at.desc(), ConversationRow.id)
        .limit(limit)
    )
    words = rows.storable(search.strip())
    if words:
        said = (
            select(MessageRow.conversation_id)
            .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
            .where(ConversationRow.owner == owner)  # nobody waits for a search of all chats
            .where(MessageRow.text.icontains(words, autoescape=True))
        )
        titled = ConversationRow.title.icontains(words, autoescape=True)
        query = query.where(or_(titled, ConversationRow.id.in_(said)))
    return [ConversationSummary(*found) for found in session.execute(query)]
