"""Keeps what people say of replies: ratings, corrections, rankings, and their consent to it.

Every change stands in one transaction with the checks it hangs on: that the conversation is the
owner's and is kept, that the owner agreed, that the message is one that can be judged so. The
conversation is locked first, so that two writers on one rating come one after the other, also in
PostgreSQL. Only `feedback` uses this class; it knows what the words mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.store import opinion_rows, rows
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.said import Consent, Opinion
from llava_chat.store.schema import (
    ConsentRow,
    CorrectionRow,
    MessageRow,
    RankingRow,
    RatingRow,
)

MAX_REPLACED_IDS = 50
"""Votes that may still arrive late; a person who changed their mind more often is not retrying."""


class Opinions:
    """What is said of the conversations in a store. Methods may be called from any thread.

    wording: of the consent that counts; an agreement to another one does not. The methods raise
    NotFoundError for what is not there or not the owner's, ConsentError where the owner has not
    agreed, and StoreError for what cannot be judged so, and when the database fails.
    """

    def __init__(self, store: ConversationStore, wording: str) -> None:
        self._database = store.database
        self._wording = wording

    def rate(
        self,
        owner: str,
        conversation_id: str,
        message_id: str,
        *,
        id: str,
        liked: bool,
        reasons: Sequence[str],
        comment: str,
    ) -> None:
        """Keep a vote in place of the owner's earlier one; the same again changes nothing."""
        with self._database.write() as session:
            self._lock(session, owner, conversation_id, message_id, "assistant")
            now = datetime.now(UTC)
            row = session.scalar(select(RatingRow).filter_by(message_id=message_id, owner=owner))
            if row is None:
                _check_unused(session, RatingRow, id)
                row = RatingRow(id=id, message_id=message_id, owner=owner, created_at=now)
                row.replaced_ids = []
                session.add(row)
            elif id in row.replaced_ids:  # sent before the one that took its place
                return
            elif row.id != id:
                _check_unused(session, RatingRow, id)
                row.replaced_ids = [*row.replaced_ids, row.id][-MAX_REPLACED_IDS:]
                row.id = id
            elif (row.liked, row.reasons, row.comment) == (liked, list(reasons), comment):
                return
            row.liked, row.reasons, row.comment = liked, list(reasons), comment
            row.updated_at = now

    def take_back(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Delete the owner's vote on a reply, if there is one."""
        with self._database.write() as session:
            rows.owned(session, owner, conversation_id, to_change=True)
            _role(session, conversation_id, message_id)
            session.execute(delete(RatingRow).filter_by(message_id=message_id, owner=owner))

    def correct(
        self, owner: str, conversation_id: str, message_id: str, *, id: str, text: str
    ) -> None:
        """Keep what the reply should have said, as the newest of the owner's corrections of it."""
        with self._database.write() as session:
            self._lock(session, owner, conversation_id, message_id, "assistant")
            row = session.get(CorrectionRow, id)
            if row is not None and (row.message_id, row.owner, row.text) == (
                message_id,
                owner,
                text,
            ):
                return
            _check_unused(session, CorrectionRow, id)
            session.add(
                CorrectionRow(
                    id=id,
                    message_id=message_id,
                    owner=owner,
                    position=rows.next_position(session, CorrectionRow, owner, message_id),
                    text=text,
                    created_at=datetime.now(UTC),
                )
            )

    def withdraw(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Delete what the owner would have a reply say, the earlier corrections of it too."""
        with self._database.write() as session:
            rows.owned(session, owner, conversation_id, to_change=True)
            _role(session, conversation_id, message_id)
            session.execute(delete(CorrectionRow).filter_by(message_id=message_id, owner=owner))

    def rank(
        self,
        owner: str,
        conversation_id: str,
        message_id: str,
        *,
        id: str,
        reply_ids: Sequence[str],
    ) -> None:
        """Keep an order of replies to the user's message, as the newest of the owner's."""
        with self._database.write() as session:
            self._lock(session, owner, conversation_id, message_id, "user")
            replies = set(session.scalars(select(MessageRow.id).filter_by(parent_id=message_id)))
            if not replies.issuperset(reply_ids):
                raise StoreError("Only replies to this message can be ranked with each other.")
            row = session.get(RankingRow, id)
            said = (message_id, owner, list(reply_ids))
            if row is not None and (row.message_id, row.owner, row.reply_ids) == said:
                return
            _check_unused(session, RankingRow, id)
            session.add(
                RankingRow(
                    id=id,
                    message_id=message_id,
                    owner=owner,
                    position=rows.next_position(session, RankingRow, owner, message_id),
                    reply_ids=list(reply_ids),
                    created_at=datetime.now(UTC),
                )
            )

    def of_conversation(self, owner: str, conversation_id: str) -> Mapping[str, Opinion]:
        """What the owner said of each message of the conversation, by the message's id."""
        with self._database.read() as session:
            rows.owned(session, owner, conversation_id)
            found = opinion_rows.opinions(session, [conversation_id])
            return found.get((conversation_id, owner), {})

    def consent(self, owner: str) -> Consent | None:
        """What the owner decided last, to whichever wording."""
        with self._database.read() as session:
            row = session.get(ConsentRow, owner)
            return None if row is None else Consent(row.keep, row.decided_at, row.wording)

    def decide(self, owner: str, keep: bool) -> None:
        """Keep the owner's decision, to the wording that counts now."""
        with self._database.write() as session:
            decided = ConsentRow(
                owner=owner, keep=keep, decided_at=datetime.now(UTC), wording=self._wording
            )
            known = select(ConsentRow).filter_by(owner=owner).with_for_update()
            row = session.scalar(known)
            if row is None and rows.added_first(session, decided):
                return
            row = row or session.scalars(known).one()
            row.keep, row.decided_at = keep, max(decided.decided_at, row.decided_at)
            row.wording = self._wording

    def _lock(
        self, session: Session, owner: str, conversation_id: str, message_id: str, role: str
    ) -> None:
        """Hold the conversation until the transaction ends, and refuse what may not be judged."""
        conversation = rows.owned(session, owner, conversation_id, to_change=True)
        if not conversation.kept:
            raise StoreError(
                "This chat is not kept, and neither is what is said of it. Begin another chat to "
                "rate its replies."
            )
        rows.check_consent(session, owner, self._wording)
        if _role(session, conversation_id, message_id) != role:
            raise StoreError(
                "Only a reply can be rated or corrected."
                if role == "assistant"
                else "Only the replies to a message of yours can be ranked."
            )


def _role(session: Session, conversation_id: str, message_id: str) -> str:
    wanted = {"id": rows.storable(message_id), "conversation_id": conversation_id}
    role = session.scalar(select(MessageRow.role).filter_by(**wanted))
    if role is None:
        raise NotFoundError("There is no such message in this conversation.")
    return role


def _check_unused(
    session: Session, table: type[RatingRow | CorrectionRow | RankingRow], id: str
) -> None:
    if session.get(table, id) is not None:
        raise StoreError("Something else has this id already, so nothing was saved: make a new id.")
