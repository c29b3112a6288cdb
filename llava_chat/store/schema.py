"""The tables, as SQLAlchemy sees them. The migrations make them; a test holds the two together.

Conversations are trees: a regenerated reply or an edited message is one more child of the same
parent, and nothing is ever overwritten. Nothing here is meant for SQLite alone.
Only the store imports this module.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC. SQLite keeps no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a datetime without a zone: nobody could tell what it means."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What was stored, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The tables of the store share this metadata."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class ConversationRow(Base):
    """One conversation of one owner.

    head_id is the message that the owner sees last; the path from the root to it is what the model
    is given. It is no foreign key: the two tables would need each other to be created.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index(None, "owner", "updated_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    title: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    system: Mapped[str | None] = mapped_column(Text)
    template: Mapped[str | None] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    head_id: Mapped[str | None] = mapped_column(String(32))
    # False: "do not keep this chat". It is its owner's alone, and goes when they have left.
    kept: Mapped[bool] = mapped_column(Boolean, server_default=true())
    # "comparison": one side of one, which is in no list of chats.
    purpose: Mapped[str] = mapped_column(String(16), server_default=text("'chat'"))


class MessageRow(Base):
    """One message. `position` counts the conversation's messages from 0 in the order they came,
    so that their order does not hang on a clock."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "position"),
        CheckConstraint("role IN ('user', 'assistant')", name="role"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    # No cascade: SQLite allows 1,000 nested ones, and a long conversation is a deeper chain.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id"), index=True)
    position: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    token_ids: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    finish: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    pictures: Mapped[list[MessagePictureRow]] = relationship(
        order_by="MessagePictureRow.position", lazy="selectin", passive_deletes=True
    )
    record: Mapped[ReplyRecordRow | None] = relationship(lazy="selectin", passive_deletes=True)


class ReplyRecordRow(Base):
    """What made a reply: enough to tell replies apart, and to make a greedy one again."""

    __tablename__ = "reply_records"

    message_id: Mapped[str] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    model_id: Mapped[str] = mapped_column(Text, index=True)
    revision: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str | None] = mapped_column(Text)
    template: Mapped[str] = mapped_column(String(64))
    system: Mapped[str | None] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int | None] = mapped_column(BigInteger)
    picture_ids: Mapped[list[str]] = mapped_column(JSON)
    prompt_tokens: Mapped[int] = mapped_column(Integer)
    generated_tokens: Mapped[int] = mapped_column(Integer)
    first_token_s: Mapped[float | None] = mapped_column(Float)
    total_s: Mapped[float] = mapped_column(Float)
    app_version: Mapped[str] = mapped_column(String(64))
    padded_boxes: Mapped[bool | None] = mapped_column(Boolean)


class PictureRow(Base):
    """One picture, kept once however often it is sent; its pixels are a file beside the database.

    width, height: pixels. size_bytes: of the PNG.
    """

    __tablename__ = "pictures"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    notice: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MessagePictureRow(Base):
    """The pictures that a message brought, in order."""

    __tablename__ = "message_pictures"

    message_id: Mapped[str] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    picture_id: Mapped[str] = mapped_column(ForeignKey("pictures.id"), index=True)


class RatingRow(Base):
    """What one person thinks of one reply, the newest vote only.

    id: made by the client, so that a vote sent twice is one vote. replaced_ids: of the votes that
    this one took the place of; one of them that arrives late changes nothing.
    """

    __tablename__ = "ratings"
    __table_args__ = (UniqueConstraint("message_id", "owner"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(128), index=True)
    liked: Mapped[bool] = mapped_column(Boolean)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    comment: Mapped[str] = mapped_column(Text)
    replaced_ids: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CorrectionRow(Base):
    """What a reply should have said. The reply stays as it is; of several the newest counts.

    position: counts one person's corrections of one reply, so that the newest hangs on no clock.
    """

    __tablename__ = "corrections"
    __table_args__ = (UniqueConstraint("message_id", "owner", "position"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(128), index=True)
    position: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RankingRow(Base):
    """The replies to one message of the user's (message_id), best first; the newest counts."""

    __tablename__ = "rankings"
    __table_args__ = (UniqueConstraint("message_id", "owner", "position"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(128), index=True)
    position: Mapped[int] = mapped_column(Integer)
    reply_ids: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ConsentRow(Base):
    """Whether a person lets what they say of replies be kept and used, and to which wording."""

    __tablename__ = "consents"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    keep: Mapped[bool] = mapped_column(Boolean)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    wording: Mapped[str] = mapped_column(String(64))


class ComparisonRow(Base):
    """Two conversations with the same pictures and messages, side by side.

    left_name, right_name: what answers on each side, as people read it; the replies' records say
    the rest. Nobody is shown the names before the first vote.
    """

    __tablename__ = "comparisons"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    left_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), unique=True
    )
    right_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), unique=True
    )
    left_name: Mapped[str] = mapped_column(Text)
    right_name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ComparisonVoteRow(Base):
    """Which side was better after one turn of a comparison.

    id: made by the client. turn: how many messages of the user's there were, from 1. blind: whether
    the names were still hidden. lead_time_s: from the end of the slower reply to the vote.
    """

    __tablename__ = "comparison_votes"
    __table_args__ = (
        UniqueConstraint("comparison_id", "turn"),
        CheckConstraint("choice IN ('left', 'right', 'tie', 'both_bad')", name="choice"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    turn: Mapped[int] = mapped_column(Integer)
    choice: Mapped[str] = mapped_column(String(16))
    blind: Mapped[bool] = mapped_column(Boolean)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    comment: Mapped[str] = mapped_column(Text)
    lead_time_s: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
