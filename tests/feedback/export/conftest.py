"""The fixtures of feedback, once on SQLite: what is exported does not hang on the database."""

from __future__ import annotations

import pytest

from llava_chat.feedback import Correction, Feedback, Ranking, Rating
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord
from tests.feedback.conftest import Talk, begin_talk, new_id

FORMULA = '=HYPERLINK("http://example.org", "@x")'


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def said(
    store: ConversationStore, feedback: Feedback, talk: Talk, record: ReplyRecord, blue: Picture
) -> Talk:
    """Ann's talk, judged in every way, and one of Bob's that goes on over two pictures."""
    first, second = talk.replies
    feedback.rate("ann", talk.id, first.id, Rating(new_id(), False, ("style",), FORMULA))
    feedback.correct("ann", talk.id, first.id, Correction(new_id(), "A red\rpicture.\n- really"))
    feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), (second.id, first.id)))
    feedback.decide("bob", True)
    theirs = begin_talk(store, "bob", None, text="Hello 😀", versions=1)
    feedback.rate("bob", theirs.id, theirs.reply.id, Rating(new_id(), True, (), "\t@tab"))
    asked = store.add_user("bob", theirs.id, "And this?", (blue,))
    reply = store.add_reply("bob", theirs.id, asked.id, "Blue.", None, "stop", record)
    feedback.rate("bob", theirs.id, reply.id, Rating(new_id(), True))
    return talk
