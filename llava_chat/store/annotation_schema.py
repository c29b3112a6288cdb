"""The tables of annotation: who may do what, projects, their items, and what is said of those.

As in `schema`, whose metadata they share. Only the store imports this module.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from llava_chat.store.schema import Base, UtcDateTime


class MemberRow(Base):
    """Somebody who annotates, leads or hosts. owner: as in conversations.

    name: as they signed in, "" without a sign-in; leads alone see it. study: what Prolific sent
    them with (PROLIFIC_PID, STUDY_ID, SESSION_ID), for those who came from there.
    """

    __tablename__ = "members"
    __table_args__ = (CheckConstraint("role IN ('annotator', 'lead', 'host')", name="role"),)

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    study: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProjectRow(Base):
    """A set of items that are judged with one form by one set of guidelines.

    overlap: how many people judge each item. lease_s: how long an item is kept for who opened it.
    gold_every: so many items a person is given for each gold one, 0 for as they come.
    completion_code: what a person is given at the end, for Prolific.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    guidelines: Mapped[str] = mapped_column(Text)
    form: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    overlap: Mapped[int] = mapped_column(Integer)
    lease_s: Mapped[float] = mapped_column(Float)
    gold_every: Mapped[int] = mapped_column(Integer)
    open: Mapped[bool] = mapped_column(Boolean)
    completion_code: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ItemRow(Base):
    """What is judged: a conversation up to one reply, or up to a message with several replies.

    position: from 0, the order in which items are given out. content: the turns and the replies, as
    `feedback` writes them. gold: the right values by the form's fields, for an item that tests
    those who judge. source_id: the kept reply that it was made from, with which it goes.
    """

    __tablename__ = "items"
    __table_args__ = (UniqueConstraint("project_id", "position"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    gold: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    source_id: Mapped[str | None] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), index=True
    )

    pictures: Mapped[list[ItemPictureRow]] = relationship(
        order_by="ItemPictureRow.position", lazy="selectin", passive_deletes=True
    )


class ItemPictureRow(Base):
    """The pictures of an item, in order."""

    __tablename__ = "item_pictures"

    item_id: Mapped[str] = mapped_column(
        ForeignKey("items.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    picture_id: Mapped[str] = mapped_column(ForeignKey("pictures.id"), index=True)


class LeaseRow(Base):
    """That an item is somebody's to judge until then."""

    __tablename__ = "leases"

    item_id: Mapped[str] = mapped_column(
        ForeignKey("items.id", ondelete="CASCADE"), primary_key=True
    )
    annotator: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DraftRow(Base):
    """What somebody has filled in of an item's form so far; theirs alone to see."""

    __tablename__ = "drafts"

    item_id: Mapped[str] = mapped_column(
        ForeignKey("items.id", ondelete="CASCADE"), primary_key=True
    )
    annotator: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    lead_time_s: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AnnotationRow(Base):
    """What somebody said of an item. Nothing is overwritten; of several the newest counts.

    id: made by the client. position: counts one person's annotations of one item. outcome: whether
    the form was filled in, or the item skipped or flagged, `note` saying why. lead_time_s: how long
    the person had the item before them.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("item_id", "annotator", "position"),
        CheckConstraint("outcome IN ('answered', 'skipped', 'flagged')", name="outcome"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    item_id: Mapped[str] = mapped_column(ForeignKey("items.id", ondelete="CASCADE"))
    annotator: Mapped[str] = mapped_column(String(128), index=True)
    position: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(16))
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(Text)
    lead_time_s: Mapped[float] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
