"""Pictures by hash: a row says that one is kept, a file beside the database holds its pixels.

Whoever uses a picture keeps it again inside the same transaction, and removal asks inside its own,
so a picture cannot vanish between being sent and being referred to.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, or_, select, union_all
from sqlalchemy.orm import Session

from llava_chat.errors import NotFoundError
from llava_chat.image import Picture
from llava_chat.store import rows
from llava_chat.store.annotation_schema import ItemPictureRow
from llava_chat.store.picture_files import PictureFiles
from llava_chat.store.schema import ConversationRow, MessagePictureRow, MessageRow, PictureRow

UNSENT_PICTURE_AGE = timedelta(days=1)
"""A picture that was kept and never sent goes after this long."""


class KeptPictures(dict[str, Picture]):
    """Pictures by id; asking for one that is not kept raises NotFoundError."""

    def __missing__(self, picture_id: str) -> Picture:
        """Say so in a sentence."""
        raise NotFoundError("This picture is no longer kept: send it again.")


class Pictures:
    """The kept pictures; its methods work inside the session that they are given."""

    def __init__(self, folder: Path) -> None:
        self._files = PictureFiles(folder)

    def write_file(self, picture: Picture) -> None:
        """Write the file ahead of a transaction: encoding takes long and needs no lock."""
        self._files.keep(picture)

    def keep(self, session: Session, picture: Picture) -> None:
        """Keep the picture's file and row, if they are not there."""
        # The lock (PostgreSQL) holds off a removal until this transaction has referred to it.
        locked = select(PictureRow.id).filter_by(id=picture.id).with_for_update(read=True)
        known = session.scalar(locked)
        size_bytes = self._files.keep(picture)
        if known is None:
            row = PictureRow(
                id=picture.id,
                width=picture.width,
                height=picture.height,
                size_bytes=size_bytes,
                notice=picture.notice,
                created_at=datetime.now(UTC),
            )
            if not rows.added_first(session, row):
                session.scalar(locked)  # another process sent the same one a moment ago

    def keep_all(self, session: Session, pictures: Iterable[Picture]) -> None:
        """Keep every picture, in the order of their ids so that two writers cannot deadlock."""
        for picture in sorted(pictures, key=lambda picture: picture.id):
            self.keep(session, picture)

    def find(self, session: Session, picture_id: str) -> Picture:
        """The picture, its source the path of its file. Raises NotFoundError."""
        self._files.path(picture_id)
        return self.find_all(session, (picture_id,))[picture_id]

    def find_all(self, session: Session, picture_ids: Iterable[str]) -> KeptPictures:
        """Those of these pictures that are kept with their files, by id, in one query."""
        query = select(PictureRow.id, PictureRow.width, PictureRow.height, PictureRow.notice)
        found = KeptPictures()
        for id, width, height, notice in session.execute(
            query.where(PictureRow.id.in_(set(picture_ids)))
        ):
            path = self._files.path(id)
            if path.is_file():
                found[id] = Picture(id, width, height, path, notice)
        return found

    def used_in(self, session: Session, conversation_id: str) -> set[str]:
        """Ids of the pictures in any version of the conversation."""
        return set(
            session.scalars(
                select(MessagePictureRow.picture_id)
                .join(MessageRow, MessageRow.id == MessagePictureRow.message_id)
                .where(MessageRow.conversation_id == conversation_id)
            )
        )

    def sent_by(self, session: Session, owner: str, picture_id: str) -> bool:
        """Whether a message of the owner's brought this picture."""
        query = (
            select(MessagePictureRow.picture_id)
            .join(MessageRow, MessageRow.id == MessagePictureRow.message_id)
            .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
            .where(ConversationRow.owner == owner, MessagePictureRow.picture_id == picture_id)
            .limit(1)
        )
        return session.scalar(query) is not None

    def orphans(self, session: Session) -> list[Path]:
        """Old files without a row: their message was refused, or the program killed meanwhile."""
        known = set(session.scalars(select(PictureRow.id)))
        old = self._files.older_than(UNSENT_PICTURE_AGE)
        return [path for path in old if path.suffix != ".png" or path.stem not in known]

    def remove_unused(self, session: Session, picture_ids: Iterable[str]) -> tuple[str, ...]:
        """Remove those of `picture_ids` that no message or item has, and old ones that none had.

        Returns the ids of what was removed.
        """
        unsent_since = datetime.now(UTC) - UNSENT_PICTURE_AGE
        in_use = union_all(select(MessagePictureRow.picture_id), select(ItemPictureRow.picture_id))
        unused = (
            select(PictureRow.id)
            .where(PictureRow.id.not_in(in_use))
            .where(or_(PictureRow.id.in_(set(picture_ids)), PictureRow.created_at < unsent_since))
            .order_by(PictureRow.id)
            .with_for_update()
        )
        locked = list(session.scalars(unused))
        # Asked again: while it waited for the lock (PostgreSQL) somebody may have sent one.
        still = select(PictureRow.id).where(PictureRow.id.in_(locked), PictureRow.id.not_in(in_use))
        removed = tuple(session.scalars(still))
        session.execute(delete(PictureRow).where(PictureRow.id.in_(removed)))
        for picture_id in removed:
            self._files.remove(picture_id)
        return removed
