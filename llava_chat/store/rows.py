"""Finds, reads and makes rows inside a transaction that the store has begun."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from llava_chat.conversation import Role
from llava_chat.errors import ConsentError, NotFoundError
from llava_chat.store.annotation_schema import ItemRow
from llava_chat.store.schema import (
    Base,
    ConsentRow,
    ConversationRow,
    CorrectionRow,
    MessageRow,
    RankingRow,
    RatingRow,
    ReplyRecordRow,
)
from llava_chat.store.stored import ChatOptions, Message, ReplyRecord, StoredConversation
from llava_chat.store.tree import Node, Tree

TITLE_LIMIT_CHARACTERS = 200
CHAT = "chat"
COMPARISON = "comparison"
"""What a conversation is for: who asks for one kind never sees the other."""

_LONE_SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Text as every database takes it: U+FFFD for NUL (PostgreSQL) and lone surrogates (UTF-8).

    >>> storable("a\\ud83d b\\x00")
    'a\ufffd b\ufffd'
    """
    return _LONE_SURROGATE_OR_NUL.sub("\ufffd", text)


def owned(
    session: Session,
    owner: str,
    conversation_id: str,
    *,
    to_change: bool = False,
    purpose: str = CHAT,
) -> ConversationRow:
    """The owner's conversation of this purpose. Raises NotFoundError where there is none."""
    wanted = {"id": storable(conversation_id), "owner": owner, "purpose": purpose}
    query = select(ConversationRow).filter_by(**wanted)
    row = session.scalar(query.with_for_update() if to_change else query)
    if row is None:
        raise NotFoundError("There is no such conversation: it may have been deleted.")
    return row


def check_consent(session: Session, owner: str, wording: str) -> None:
    """Raise ConsentError where this person has not agreed to this wording.

    Held (PostgreSQL), so that nothing is kept after a "no" was acknowledged.
    """
    query = select(ConsentRow).filter_by(owner=owner).with_for_update(read=True)
    row = session.scalar(query)
    if row is None or row.wording != wording:
        raise ConsentError(
            "Your feedback is kept only if you agree to it: say yes or no to that first."
        )
    if not row.keep:
        raise ConsentError(
            "You decided that your feedback is not kept: change that to rate replies."
        )


def messages_from(
    session: Session, conversation_id: str, position: int
) -> tuple[tuple[Message, ...], int]:
    """The conversation's messages from that position on, oldest first, without their versions.

    The second result is the position after the last one, `position` itself where there is none.
    """
    query = select(MessageRow).where(MessageRow.conversation_id == conversation_id)
    query = query.where(MessageRow.position >= position).order_by(MessageRow.position)
    found = session.scalars(query).all()
    return tuple(map(message, found)), found[-1].position + 1 if found else position


def tree_of(messages: Iterable[Message]) -> Tree:
    """Where all messages of a conversation, oldest first, stand in it."""
    return Tree(Node(one.id, one.parent_id, one.role) for one in messages)


def known(tree: Tree, message_id: str) -> Node:
    """The message's place in the tree. Raises NotFoundError when it is not in it."""
    if message_id not in tree:
        raise NotFoundError("There is no such message in this conversation.")
    return tree[message_id]


def message(row: MessageRow) -> Message:
    """The row as a value, without its versions."""
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        role=cast(Role, row.role),
        text=row.text,
        created_at=row.created_at,
        picture_ids=tuple(picture.picture_id for picture in row.pictures),
        token_ids=None if row.token_ids is None else tuple(row.token_ids),
        finish=row.finish,
        record=None if row.record is None else _record(row.record),
    )


def with_versions(message: Message, tree: Tree) -> Message:
    """The message with the ids of all its versions."""
    return replace(message, sibling_ids=tree.siblings(message.id))


def path_to(head_id: str | None, messages: Iterable[Message]) -> tuple[Message, ...]:
    """Of all messages of a conversation those from the first to `head_id`, with their versions."""
    by_id = {one.id: one for one in messages}
    tree = tree_of(by_id.values())
    return tuple(with_versions(by_id[id], tree) for id in tree.path(head_id))


def _record(row: ReplyRecordRow) -> ReplyRecord:
    return ReplyRecord(
        model_id=row.model_id,
        revision=row.revision,
        adapter=row.adapter,
        template=row.template,
        system=row.system,
        settings=row.settings,
        seed=row.seed,
        picture_ids=tuple(row.picture_ids),
        prompt_tokens=row.prompt_tokens,
        generated_tokens=row.generated_tokens,
        first_token_s=row.first_token_s,
        total_s=row.total_s,
        app_version=row.app_version,
        padded_boxes=row.padded_boxes,
    )


def record_row(record: ReplyRecord) -> ReplyRecordRow:
    """The record as a row; its message gives it the key."""
    columns: dict[str, Any] = dict(vars(record))
    columns["settings"] = dict(record.settings)
    columns["picture_ids"] = list(record.picture_ids)
    if record.system is not None:
        columns["system"] = storable(record.system)
    return ReplyRecordRow(**columns)


def stored(row: ConversationRow, path: tuple[Message, ...]) -> StoredConversation:
    """The conversation with its active path."""
    return StoredConversation(
        id=row.id,
        title=row.title,
        created_at=row.created_at,
        updated_at=row.updated_at,
        system=row.system,
        template=row.template,
        settings=row.settings,
        path=path,
        kept=row.kept,
    )


def touch(conversation: ConversationRow) -> datetime:
    """Mark the conversation as changed now; a clock set back does not push it down the list."""
    conversation.updated_at = max(datetime.now(UTC), conversation.updated_at)
    return conversation.updated_at


def title(text: str) -> str:
    """A title as it is kept: one line, cut to 200 characters."""
    return " ".join(storable(text).split())[:TITLE_LIMIT_CHARACTERS]


def begin(
    session: Session,
    owner: str,
    title: str = "",
    *,
    kept: bool = True,
    id: str | None = None,
    purpose: str = CHAT,
) -> ConversationRow:
    """A new conversation with the model's own options. id: None draws one."""
    now = datetime.now(UTC)
    row = ConversationRow(
        id=id or uuid.uuid4().hex,
        owner=owner,
        title=title,
        created_at=now,
        updated_at=now,
        kept=kept,
        purpose=purpose,
    )
    set_options(row, ChatOptions())
    session.add(row)
    session.flush()
    return row


def set_options(row: ConversationRow, options: ChatOptions) -> None:
    """Let these options take the place of the conversation's."""
    row.system = None if options.system is None else storable(options.system)
    row.template = options.template
    row.settings = dict(options.settings)


def new_message(
    conversation: ConversationRow, parent_id: str | None, position: int, text: str
) -> MessageRow:
    """A message that still lacks its role, without pictures and record."""
    return MessageRow(
        id=uuid.uuid4().hex,
        conversation_id=conversation.id,
        parent_id=parent_id,
        position=position,
        text=storable(text),
        created_at=touch(conversation),
        pictures=[],
        record=None,
    )


def forget_opinions(session: Session, conversation_id: str) -> None:
    """Delete what was said of the conversation's replies, also where they became items."""
    of_it = select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)
    session.execute(delete(ItemRow).where(ItemRow.source_id.in_(of_it)))
    for table in (RatingRow, CorrectionRow, RankingRow):
        session.execute(delete(table).where(table.message_id.in_(of_it)))


def next_position(
    session: Session, table: type[CorrectionRow | RankingRow], owner: str, message_id: str
) -> int:
    """One more than the newest of the owner's on this message has; from 0."""
    newest = select(func.max(table.position)).filter_by(owner=owner, message_id=message_id)
    found = session.scalar(newest)
    return 0 if found is None else found + 1


def added_first(session: Session, row: Base) -> bool:
    """Add a row unless another transaction was first with its key; whether it was added.

    What came first is committed then, and a new query finds it.
    """
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True
