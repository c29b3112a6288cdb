"""What the page shows of stored values, as HTML."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from PIL import Image

from llava_chat.engine.base import ContextUse, Opening
from llava_chat.errors import EngineBusyError
from llava_chat.image import picture_from_image
from llava_chat.progress import Progress as Step
from llava_chat.store.stored import ConversationSummary, Message, StoredConversation
from llava_chat.web.allowances import Left
from llava_chat.web.chat import sidebar, status, thread
from llava_chat.web.chat.replies import Progress
from llava_chat.web.prose import prose

NOW = datetime(2026, 8, 2, tzinfo=UTC)
HALF = Opening("tiny", Step("reading", 1, 2, "files"))
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


def message(role: str, text: str, **more: object) -> Message:
    plain = Message(role[0] * 32, "c" * 32, None, "user", text, NOW, sibling_ids=(role[0] * 32,))
    return replace(plain, role=role, **more)  # type: ignore[arg-type]


def conversation(*path: Message) -> StoredConversation:
    return StoredConversation("c" * 32, HOSTILE, NOW, NOW, path=path)


def test_whatever_is_said_stays_text() -> None:
    said, reply = message("user", HOSTILE), message("assistant", HOSTILE)
    html = thread.thread(conversation(said, reply), {}, replying=False)
    summary = ConversationSummary("c" * 32, HOSTILE, NOW, 2)
    html += sidebar.conversations([summary], None, HOSTILE)
    html += sidebar.conversations([], None, HOSTILE)
    html += status.live_reply(Progress("writing", text=HOSTILE))
    assert "<script" not in html
    assert "<img" not in html


@pytest.mark.parametrize(
    "reply",
    [
        "![x](http://evil.test/a.png)",
        "![x][1]\n\n[1]: http://evil.test/a.png",
        '<img src="http://evil.test/a.png">',
        "<svg/onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](  JaVaScRiPt:alert(1))",
        "[x](data:text/html,x)",
        "[x](/logout)",
        "<a href='javascript:alert(1)'>x</a>",
        "<iframe src=//evil.test></iframe>",
        "`` <style>@import '//evil.test'</style>",
    ],
)
def test_a_reply_can_neither_load_nor_act(reply: str) -> None:
    html = prose(reply).lower()
    for forbidden in (
        "<img",
        "<svg",
        "<iframe",
        "<style",
        'href="javascript',
        'href="data',
        'href="/',
    ):
        assert forbidden not in html


def test_the_last_message_without_a_reply_can_be_tried_again() -> None:
    open_end = conversation(message("user", "Hello"))
    assert "Try again" in thread.thread(open_end, {}, replying=False)
    assert "Try again" not in thread.thread(open_end, {}, replying=True)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (
            Progress("opening", opening=HALF),
            "Waiting for tiny",
        ),
        (Progress("opening", opening=HALF), "50 %"),
        (Progress("opening", opening=Opening("tiny", waiting_for=1)), "after 1 reply"),
        (Progress("waiting", place=2), "Waiting: place 2<"),
        (Progress("waiting", place=3, wait_s=19.6), "Waiting: place 3,<"),
        (Progress("waiting", place=3, wait_s=19.6), "about 20 s"),
        (Progress("looking", pictures=1), "Looking"),
        (Progress("looking", pictures=0), "Reading"),
        (Progress("writing", text="A", tokens=9, tokens_per_s=12.4), "12 tokens/s"),
    ],
)
def test_the_state_is_told_in_words(progress: Progress, words: str) -> None:
    assert words in status.live_reply(progress)


def test_a_note_about_a_picture_is_told_with_it_and_a_lost_one_is_passed_over() -> None:
    moving, lost = picture_from_image(Image.new("RGB", (8, 8), "red")), "f" * 64
    told = replace(moving, notice="Only the first frame is used.")
    said = message("user", "Look", picture_ids=(told.id, lost))
    html = thread.thread(conversation(said), {told.id: told}, replying=False)
    assert "Only the first frame is used." in html
    assert "Look" in html and f"pictures/{lost}" in html


def test_what_is_left_is_told_only_where_it_is_little() -> None:
    plenty, little = Left("messages", 12, 20, 9.0), Left("tokens", 4180, 200_000, 9000.0)
    assert status.allowances([plenty]) == status.allowances([]) == ""
    shown = status.allowances([plenty, little, Left("pictures", 1, 120, 8.6)])
    assert "messages" not in shown
    assert "about 4,200 of 200,000 tokens left today" in shown
    assert '"--free-in:9s">1 of 120 pictures left this hour' in shown


def test_a_full_queue_is_told_with_how_long_it_will_be() -> None:
    assert status.refusal(EngineBusyError("32 wait.", 130.0)).endswith("in about 2 min.")
    assert status.refusal(EngineBusyError("32 wait.")) == "32 wait."


def test_the_meter_tells_what_was_left_out() -> None:
    shown = status.meter(ContextUse(2000, 2048, 4, dropped_pictures=1))
    assert "98 % of context" in shown
    assert "4 oldest messages and 1 picture left out" in shown
    assert "left out" not in status.meter(ContextUse(20, 2048, 0))
