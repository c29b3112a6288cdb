"""Keeps comparisons: two conversations side by side, what answers in each, and the votes.

As with opinions every change stands in one transaction with the checks it hangs on, and the
conversations are locked first. Only `feedback` uses this module; it knows what the words mean.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from llava_chat.errors import FeedbackError, NotFoundError, StoreError
from llava_chat.store import rows
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.opinion_rows import BATCH_CONVERSATIONS, judged_conversations
from llava_chat.store.said import Comparison, JudgedComparison, KeptVote
from llava_chat.store.schema import (
    ComparisonRow,
    ComparisonVoteRow,
    ConsentRow,
    ConversationRow,
)


class KeptComparisons:
    """The comparisons in a store. Methods may be called from any thread.

    wording: of the consent that counts for a vote. The methods raise NotFoundError for what is not
    there or not the owner's, and StoreError when the database fails.
    """

    def __init__(self, store: ConversationStore, wording: str) -> None:
        self._store = store
        self._sides = store.sides()
        self._database = store.database
        self._wording = wording

    def begin(self, owner: str, left_name: str, right_name: str) -> Comparison:
        """Two empty conversations, and what answers in each."""
        with self._database.write() as session:
            left, right = (rows.begin(session, owner, purpose=rows.COMPARISON) for _ in range(2))
            row = ComparisonRow(
                id=uuid.uuid4().hex,
                owner=owner,
                left_id=left.id,
                right_id=right.id,
                left_name=rows.storable(left_name),
                right_name=rows.storable(right_name),
                created_at=left.created_at,
            )
            session.add(row)
            session.flush()
            return _comparison(row, ())

    def load(self, owner: str, comparison_id: str) -> Comparison:
        """The comparison with its votes."""
        with self._database.read() as session:
            row = _owned(session, owner, comparison_id)
            return _comparison(row, _votes(session, [row.id])[row.id])

    def delete(self, owner: str, comparison_id: str) -> tuple[str, ...]:
        """Delete both conversations and the votes; the ids of pictures that are kept no longer."""
        comparison = self.load(owner, comparison_id)
        gone: tuple[str, ...] = ()
        for side in (comparison.left_id, comparison.right_id):
            gone += self._sides.delete(owner, side)
        return gone

    def vote(
        self,
        owner: str,
        comparison_id: str,
        *,
        id: str,
        turn: int,
        choice: str,
        lead_time_s: float | None,
    ) -> Comparison:
        """Keep which side was better in the newest turn; the same again changes nothing.

        A choice stays what it is: whoever votes learns the names by it. Raises ConsentError where
        the owner has not agreed, and FeedbackError for another turn, without a reply on each side,
        or for a second vote on the turn.
        """
        with self._database.write() as session:
            row = _owned(session, owner, comparison_id, to_change=True)
            rows.check_consent(session, owner, self._wording)
            kept = _votes(session, [row.id])[row.id]
            said = (id, turn, choice)
            if said in [(vote.id, vote.turn, vote.choice) for vote in kept]:
                return _comparison(row, kept)
            if turn in [vote.turn for vote in kept]:
                raise FeedbackError("turn: there is a vote on this turn already, and it stays.")
            if turn < 1 or any(
                _turns(session, side) != (turn, turn) for side in (row.left_id, row.right_id)
            ):
                raise FeedbackError(
                    "turn: only the newest message can be voted on, once both sides have a reply."
                )
            if session.get(ComparisonVoteRow, id) is not None:
                raise StoreError(
                    "Something else has this id already, so nothing was saved: make a new id."
                )
            vote = ComparisonVoteRow(
                id=id,
                comparison_id=row.id,
                turn=turn,
                choice=choice,
                blind=not kept,
                reasons=[],
                comment="",
                lead_time_s=lead_time_s,
                created_at=datetime.now(UTC),
            )
            session.add(vote)
            session.flush()
            return _comparison(row, _votes(session, [row.id])[row.id])

    def explain(
        self, owner: str, comparison_id: str, *, id: str, reasons: Sequence[str], comment: str
    ) -> None:
        """Keep why, in place of what was said of this vote before. Raises ConsentError."""
        with self._database.write() as session:
            row = _owned(session, owner, comparison_id, to_change=True)
            rows.check_consent(session, owner, self._wording)
            vote = session.scalar(
                select(ComparisonVoteRow).filter_by(id=rows.storable(id), comparison_id=row.id)
            )
            if vote is None:
                raise NotFoundError("There is no such vote on this comparison.")
            vote.reasons, vote.comment = list(reasons), comment


def compared(
    store: ConversationStore, comparison_id: str | None = None
) -> Iterator[JudgedComparison]:
    """Every comparison with a vote whose owner agrees that it is kept, oldest first, or one.

    All come from one state of the database, held until the iterator ends or is closed.
    """
    with store.database.read() as session:
        voted = select(ComparisonVoteRow.comparison_id)
        wanted = (
            select(ComparisonRow)
            .join(ConsentRow, ConsentRow.owner == ComparisonRow.owner)
            .where(ConsentRow.keep, ComparisonRow.id.in_(voted))
            .order_by(ComparisonRow.created_at, ComparisonRow.id)
        )
        if comparison_id is not None:
            wanted = wanted.where(ComparisonRow.id == rows.storable(comparison_id))
        found = list(session.scalars(wanted))
        for start in range(0, len(found), BATCH_CONVERSATIONS // 2):
            yield from _judged(session, found[start : start + BATCH_CONVERSATIONS // 2])


def _judged(session: Session, found: Sequence[ComparisonRow]) -> Iterator[JudgedComparison]:
    votes = _votes(session, [row.id for row in found])
    told = [(row.owner, _comparison(row, votes[row.id])) for row in found]
    sides = judged_conversations(
        session, [id for row in found for id in (row.left_id, row.right_id)]
    )
    for owner, comparison in told:
        yield JudgedComparison(owner, comparison, next(sides), next(sides))
    next(sides, None)  # its end lets go of what was read


def vote_row(vote: KeptVote, comparison_id: str) -> ComparisonVoteRow:
    """A vote that was kept elsewhere, as a row."""
    columns = {**vars(vote), "reasons": list(vote.reasons)}
    return ComparisonVoteRow(comparison_id=comparison_id, **columns)


def _owned(
    session: Session, owner: str, comparison_id: str, *, to_change: bool = False
) -> ComparisonRow:
    query = select(ComparisonRow).filter_by(id=rows.storable(comparison_id), owner=owner)
    row = session.scalar(query)
    if row is not None and to_change:
        # In the order of whoever deletes a person: two in another one could wait for each other.
        sides = select(ConversationRow.id).where(
            ConversationRow.id.in_((row.left_id, row.right_id))
        )
        session.scalars(sides.order_by(ConversationRow.id).with_for_update()).all()
        row = session.scalar(query)
    if row is None:
        raise NotFoundError("There is no such comparison: it may have been deleted.")
    return row


def _votes(session: Session, comparison_ids: Sequence[str]) -> dict[str, list[KeptVote]]:
    """The votes on these comparisons by comparison, the first turn first."""
    found: dict[str, list[KeptVote]] = {id: [] for id in comparison_ids}
    query = select(ComparisonVoteRow).where(ComparisonVoteRow.comparison_id.in_(comparison_ids))
    for row in session.scalars(query.order_by(ComparisonVoteRow.turn)):
        reasons, lead_time_s = tuple(row.reasons), row.lead_time_s
        vote = KeptVote(
            row.id, row.turn, row.choice, row.blind, reasons, row.comment, lead_time_s,
            row.created_at,
        )  # fmt: skip
        found[row.comparison_id].append(vote)
    return found


def _comparison(row: ComparisonRow, votes: Sequence[KeptVote]) -> Comparison:
    names = (row.left_name, row.right_name)
    return Comparison(row.id, row.left_id, row.right_id, *names, row.created_at, tuple(votes))


def _turns(session: Session, conversation_id: str) -> tuple[int, int]:
    """How many messages of the person's the shown path has, and how many replies."""
    messages, _ = rows.messages_from(session, conversation_id, 0)
    row = session.get(ConversationRow, conversation_id)
    path = rows.path_to(None if row is None else row.head_id, messages)
    asked = sum(message.role == "user" for message in path)
    return asked, len(path) - asked
