"""The store: every conversation with all its versions, its pictures, and what made each reply.

Whoever keeps a conversation talks to this class only. Whatever a method has returned from is on the
disk. Every method takes the owner, and somebody else's conversation looks like none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.image import Picture
from llava_chat.store import rows
from llava_chat.store.database import BUSY_TIMEOUT_S, Database
from llava_chat.store.listing import summaries
from llava_chat.store.pictures import KeptPictures, Pictures
from llava_chat.store.remembered import Remembered
from llava_chat.store.schema import ConversationRow, MessagePictureRow, MessageRow
from llava_chat.store.stored import (
    ChatOptions,
    ConversationSummary,
    Message,
    ReplyRecord,
    StoredConversation,
    title_from,
)
from llava_chat.store.tree import Node, Tree

PICTURES_AT_ONCE = 1000  # in one transaction, for which everybody else has to wait
Summaries = list[ConversationSummary]

_log = logging.getLogger(__name__)


class Place(Enum):
    """Where a new message goes when no parent is named."""

    HEAD = "head"


class ConversationStore:
    """Conversations and pictures in a database and a folder.

    All methods may be called from any thread. They raise NotFoundError for what is not there or
    not the owner's, and StoreError, one sentence, when the database or the disk fails; nothing is
    half done then.

    purpose: of the conversations; those of another one are not there for whoever asks here.
    """

    def __init__(self, database: Database, pictures: Pictures, purpose: str = rows.CHAT) -> None:
        self._database = database
        self._pictures = pictures
        self._purpose = purpose
        self._remembered = Remembered()

    def sides(self) -> ConversationStore:
        """The same store for the sides of comparisons, which are no chats."""
        store = ConversationStore(self._database, self._pictures, rows.COMPARISON)
        store._remembered = self._remembered  # what is deleted is forgotten once for both
        return store

    @property
    def database(self) -> Database:
        """For the rest of this package: what is said of replies stands in the same tables."""
        return self._database

    @property
    def kept_pictures(self) -> Pictures:
        """For the rest of this package: the kept pictures."""
        return self._pictures

    @classmethod
    def open(
        cls, database_url: str, data_dir: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> ConversationStore:
        """Open the database, making or migrating its tables; pictures go below `data_dir`.

        Raises SettingError for a URL that cannot be used, StoreError when the database is damaged,
        locked, newer than this program or out of reach.
        """
        database = Database.open(database_url, busy_timeout_s)
        store = cls(database, Pictures(data_dir / "pictures"))
        try:
            store._remove_orphans()
        except StoreError as error:  # they wait for another start
            _log.warning("files of pictures that nobody has could not be removed: %s", error)
        return store

    def _remove_orphans(self) -> None:
        with self._database.read() as session:
            if not self._pictures.orphans(session):
                return
        # Asked again: here nobody else can begin to use one.
        with self._database.write() as session:
            for path in self._pictures.orphans(session):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the database. Further calls raise StoreError."""
        self._database.close()

    def keep_picture(self, picture: Picture) -> None:
        """Keep the pixels as a PNG without metadata; a picture that is there stays as it is."""
        with self._database.told():
            self._pictures.write_file(picture)
        with self._database.write() as session:
            self._pictures.keep(session, picture)

    def picture(self, picture_id: str) -> Picture:
        """A kept picture, its source a path. Ids are hashes of pixels: who has one saw them."""
        with self._database.read() as session:
            return self._pictures.find(session, picture_id)

    def pictures(self, picture_ids: Iterable[str]) -> KeptPictures:
        """Those of these pictures that are kept, by id; one that is not raises NotFoundError."""
        with self._database.read() as session:
            return self._pictures.find_all(session, picture_ids)

    def has_picture(self, owner: str, picture_id: str) -> bool:
        """Whether a message of the owner's, in any version, brought this picture."""
        with self._database.read() as session:
            return self._pictures.sent_by(session, owner, picture_id)

    def create(
        self,
        owner: str,
        *,
        title: str = "",
        system: str | None = None,
        template: str | None = None,
        settings: Mapping[str, Any] | None = None,
        kept: bool = True,
    ) -> StoredConversation:
        """Begin an empty conversation. Without a title its first message gives it one.

        kept: False for one that is its owner's alone and goes when they have left.
        """
        with self._database.write() as session:
            row = rows.begin(session, owner, rows.title(title), kept=kept, purpose=self._purpose)
            rows.set_options(row, ChatOptions(system, template, settings or {}))
            return rows.stored(row, ())

    def list(self, owner: str, search: str = "", limit: int = 200) -> Summaries:
        """The owner's conversations, last changed first.

        search: letters, in any case, that the title or a message of any version contains.
        """
        with self._database.read() as session:
            return summaries(session, owner, search, limit, self._purpose)

    def load(self, owner: str, conversation_id: str) -> StoredConversation:
        """The conversation with its active path."""
        with self._database.read() as session:
            row = self._owned(session, owner, conversation_id)
            messages = self._remembered.read(session, conversation_id)
            return rows.stored(row, rows.path_to(row.head_id, messages))

    def versions(self, owner: str, conversation_id: str, message_id: str) -> tuple[Message, ...]:
        """All versions of a message, oldest first."""
        with self._database.read() as session:
            self._owned(session, owner, conversation_id)
            by_id = {one.id: one for one in self._remembered.read(session, conversation_id)}
            tree = rows.tree_of(by_id.values())
            rows.known(tree, message_id)
            return tuple(by_id[id] for id in tree.siblings(message_id))

    def rename(self, owner: str, conversation_id: str, title: str) -> None:
        """Give the conversation a title, cut to 200 characters."""
        with self._database.write() as session:
            self._to_change(session, owner, conversation_id).title = rows.title(title)

    def keep(self, owner: str, conversation_id: str, kept: bool) -> None:
        """Decide whether the conversation is kept. What was said of its replies goes with a no."""
        with self._database.write() as session:
            self._to_change(session, owner, conversation_id).kept = kept
            if not kept:
                rows.forget_opinions(session, conversation_id)

    def delete(self, owner: str, conversation_id: str) -> tuple[str, ...]:
        """Delete the conversation with every version, and the pictures that nobody else uses.

        Returns the ids of the pictures that are no longer kept. When they cannot be removed they
        go with a later deletion, and all that the conversation had are returned.
        """
        with self._database.write() as session:
            row = self._to_change(session, owner, conversation_id)
            used = self._pictures.used_in(session, conversation_id)
            session.delete(row)
        self.forget((conversation_id,))
        return self.remove_pictures(used)

    def forget(self, conversation_ids: Iterable[str]) -> None:
        """Hold nothing in memory of conversations that were deleted."""
        for conversation_id in conversation_ids:
            self._remembered.forget(conversation_id)

    def remove_pictures(self, picture_ids: Iterable[str]) -> tuple[str, ...]:
        """Remove those that no message has any more, after conversations were deleted.

        Returns the ids of what is gone, or all of them when none can be removed now.
        """
        used = sorted(picture_ids)
        removed: tuple[str, ...] = ()
        try:
            for start in range(0, max(1, len(used)), PICTURES_AT_ONCE):
                some = used[start : start + PICTURES_AT_ONCE]
                with self._database.write() as session:
                    removed += self._pictures.remove_unused(session, some)
            return removed
        except StoreError as error:  # the conversation is gone all the same: nothing to try again
            _log.warning("the pictures of a deleted conversation could not be removed: %s", error)
            return tuple(used)

    def add_user(
        self,
        owner: str,
        conversation_id: str | None,
        text: str,
        pictures: Sequence[Picture],
        *,
        parent_id: str | Place | None = Place.HEAD,
        options: ChatOptions | None = None,
        kept: bool = True,
    ) -> Message:
        """Add what the user said, to a new conversation for None, and make it the head.

        parent_id: the reply it follows, None for a first message; a message's own parent makes an
        edited version of it. Left out: the head, and in place of a last message that got no reply.
        options: take the place of the conversation's. kept: of a new conversation. Raises
        StoreError when the parent is no reply; then, as after every failure, neither options nor a
        new conversation are kept.
        """
        with self._database.told():
            for picture in pictures:
                self._pictures.write_file(picture)  # here: nobody else writes in a transaction
        with self._database.write() as session:
            if conversation_id is None:
                conversation = rows.begin(session, owner, kept=kept, purpose=self._purpose)
            else:
                conversation = self._to_change(session, owner, conversation_id)
            if options is not None:
                rows.set_options(conversation, options)
            tree = self._tree(session, conversation.id)
            if isinstance(parent_id, Place):
                parent_id = _place(tree, conversation.head_id)
            if parent_id is not None and rows.known(tree, parent_id).role != "assistant":
                raise StoreError("A message can only follow a reply.")
            row = rows.new_message(conversation, parent_id, len(tree), text)
            row.role = "user"
            self._pictures.keep_all(session, pictures)
            row.pictures = [
                MessagePictureRow(position=position, picture_id=picture.id)
                for position, picture in enumerate(pictures)
            ]
            conversation.head_id = row.id
            conversation.title = conversation.title or title_from(row.text)
            return _added(session, tree, row)

    def add_reply(
        self,
        owner: str,
        conversation_id: str,
        parent_id: str,
        text: str,
        token_ids: Iterable[int] | None,
        finish: str,
        record: ReplyRecord | None,
    ) -> Message:
        """Add a reply to the user's message `parent_id`, beside any earlier replies to it.

        It becomes the head if the message is still on the active path: whoever went elsewhere
        while it was written stays there. Raises StoreError when the parent is no user's message.
        """
        with self._database.write() as session:
            conversation = self._to_change(session, owner, conversation_id)
            tree = self._tree(session, conversation_id)
            if rows.known(tree, parent_id).role != "user":
                raise StoreError("A reply can only follow a user's message.")
            row = rows.new_message(conversation, parent_id, len(tree), text)
            row.role = "assistant"
            row.token_ids = None if token_ids is None else [int(token) for token in token_ids]
            row.finish = finish
            row.record = None if record is None else rows.record_row(record)
            if parent_id in tree.path(conversation.head_id):
                conversation.head_id = row.id
            return _added(session, tree, row)

    def choose(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Go to a version: the newest message at or below it becomes the head."""
        with self._database.write() as session:
            conversation = self._to_change(session, owner, conversation_id)
            tree = self._tree(session, conversation_id)
            conversation.head_id = tree.newest_leaf(rows.known(tree, message_id).id)

    def undo(self, owner: str, conversation_id: str) -> Message:
        """Take the last user message off the path with all that follows, and return it.

        Nothing is deleted: the message stays a version of what is said in its place.
        Raises NotFoundError when the path is empty.
        """
        with self._database.write() as session:
            conversation = self._to_change(session, owner, conversation_id)
            messages = self._remembered.read(session, conversation_id)
            path = rows.path_to(conversation.head_id, messages)
            asked = [message for message in path if message.role == "user"]
            if not asked:
                raise NotFoundError("There is nothing to undo in this conversation.")
            conversation.head_id = asked[-1].parent_id
            return asked[-1]

    def _owned(self, session: Session, owner: str, conversation_id: str) -> ConversationRow:
        return rows.owned(session, owner, conversation_id, purpose=self._purpose)

    def _to_change(self, session: Session, owner: str, conversation_id: str) -> ConversationRow:
        return rows.owned(session, owner, conversation_id, to_change=True, purpose=self._purpose)

    def _tree(self, session: Session, conversation_id: str) -> Tree:
        return rows.tree_of(self._remembered.read(session, conversation_id))


def _place(tree: Tree, head_id: str | None) -> str | None:
    """The parent of what is said next: the head, or what an unanswered message followed."""
    if head_id is None or tree[head_id].role == "assistant":
        return head_id
    return tree[head_id].parent_id


def _added(session: Session, tree: Tree, row: MessageRow) -> Message:
    session.add(row)
    session.flush()
    tree.add(Node(row.id, row.parent_id, row.role))
    return rows.with_versions(rows.message(row), tree)
