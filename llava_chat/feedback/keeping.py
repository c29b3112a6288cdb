"""Feedback itself: who may say what of which reply, and what is kept of a person.

Whoever shows replies to people talks to this class. Imports store and the other modules here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from llava_chat.errors import ConflictError, NotFoundError, StoreError
from llava_chat.feedback.rows import FeedbackRow, Filter, feedback_rows
from llava_chat.feedback.words import Correction, Ranking, Rating
from llava_chat.store import ConversationStore, Opinion, Opinions, everything_of, remove_person

CONSENT_WORDING = "1"
"""The version of what people are asked. Who agreed to another one is asked again."""


class Feedback:
    """What people say of replies. All methods may be called from any thread.

    A method that has returned has committed. They raise NotFoundError for a conversation or a
    message that is not there or not the owner's, StoreError, a sentence that says so, when nothing
    was saved, and ConsentError where the owner has not agreed to it.
    """

    def __init__(self, store: ConversationStore, opinions: Opinions) -> None:
        self._store = store
        self._opinions = opinions

    @classmethod
    def of(cls, conversation_store: ConversationStore) -> Self:
        """The feedback on the conversations of a store."""
        return cls(conversation_store, Opinions(conversation_store, CONSENT_WORDING))

    def rate(self, owner: str, conversation_id: str, message_id: str, rating: Rating) -> None:
        """Keep a vote on a reply, in place of this person's earlier one; a repeat is harmless."""
        with saving():
            self._opinions.rate(
                owner,
                conversation_id,
                message_id,
                id=rating.id,
                liked=rating.liked,
                reasons=rating.reasons,
                comment=rating.comment,
            )

    def take_back(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Forget this person's vote on a reply. What they corrected stays."""
        with saving():
            self._opinions.take_back(owner, conversation_id, message_id)

    def correct(
        self, owner: str, conversation_id: str, message_id: str, correction: Correction
    ) -> None:
        """Keep what a reply should have said, beside the reply; the newest one counts."""
        with saving():
            self._opinions.correct(
                owner, conversation_id, message_id, id=correction.id, text=correction.text
            )

    def withdraw(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Forget what this person would have a reply say; no earlier correction comes back."""
        with saving():
            self._opinions.withdraw(owner, conversation_id, message_id)

    def rank(self, owner: str, conversation_id: str, message_id: str, ranking: Ranking) -> None:
        """Keep an order of the replies to a message of the user's; the newest one counts."""
        with saving():
            self._opinions.rank(
                owner, conversation_id, message_id, id=ranking.id, reply_ids=ranking.reply_ids
            )

    def of_conversation(self, owner: str, conversation_id: str) -> Mapping[str, Opinion]:
        """What this person said of each message: `.rating`, `.correction`, `.ranking`, or None."""
        return self._opinions.of_conversation(owner, conversation_id)

    def consent(self, owner: str) -> bool | None:
        """Whether this person's feedback may be kept; None while they were not asked.

        An agreement to an older wording does not count; a no does.
        """
        decided = self._opinions.consent(owner)
        if decided is None or (decided.keep and decided.wording != CONSENT_WORDING):
            return None
        return decided.keep

    def decide(self, owner: str, keep: bool) -> None:
        """Keep this person's decision. After a no nothing of theirs is shown to a host any more."""
        with saving():
            self._opinions.decide(owner, keep)

    def mine(self, owner: str) -> dict[str, Any]:
        """All that is kept of a person, as JSON takes it; see `store.everything_of`."""
        return everything_of(self._store, owner)

    def delete_mine(self, owner: str) -> dict[str, int]:
        """Delete all that is kept of a person, conversations and the consent too.

        Returns how many there were of each: `ratings`, `corrections`, `rankings`, `consents`,
        `comparisons`, `comparison_votes`, `annotations`, `drafts`, `leases`, `members`, `messages`,
        `conversations`, `pictures`.
        """
        return remove_person(self._store, owner)

    def rows(self, filter: Filter | None = None) -> Iterator[FeedbackRow]:
        """All feedback of all people, for a host; see FeedbackRow and Filter."""
        return feedback_rows(self._store, filter)


@contextmanager
def saving() -> Iterator[None]:
    """Begin the sentence of a failure with what matters to a person: it was not saved."""
    try:
        yield
    except (NotFoundError, ConflictError):
        raise
    except StoreError as error:
        raise StoreError(f"Not saved. {error}") from error
