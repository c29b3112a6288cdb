"""A conversation as a person has it: asking, stopping, trying again, going back, finding it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Chat, NewChat, Server


def test_a_picture_is_asked_about_and_asked_again(chat: Chat, drawing: Path) -> None:
    expect(chat.page.get_by_role("heading", name="Show me a picture.")).to_be_visible()
    chat.ask("What is in the picture?", drawing)
    expect(chat.messages).to_have_text(["What is in the picture?"])
    expect(chat.replies).not_to_be_empty()
    expect(chat.box).to_have_value("")
    thumbnail = chat.page.locator("#thread .thumb img")
    expect(thumbnail).to_have_attribute("alt", "Your picture")
    assert thumbnail.evaluate("image => image.naturalWidth") == 320

    chat.ask("And its colour?")
    expect(chat.messages).to_have_count(2)
    expect(chat.listed).to_have_text(["What is in the picture?"])
    expect(chat.page.locator("#meter [role=meter]")).to_have_attribute(
        "aria-label", re.compile("of")
    )

    thumbnail.click()
    enlarged = chat.page.locator("dialog.lightbox img")
    expect(enlarged).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(enlarged).to_have_count(0)


def test_stopping_keeps_the_words(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("Tell me everything.")
    chat.writing()
    chat.page.keyboard.press("Escape")
    expect(chat.replies).to_have_count(1)
    expect(chat.replies).not_to_be_empty()
    expect(chat.page.locator("#thread .note")).to_have_text("Stopped.")
    chat.idle()
    words = chat.replies.inner_text()
    chat.reload()
    assert chat.replies.inner_text() == words


def test_earlier_replies_stay_as_versions(chat: Chat) -> None:
    chat.ask("What is this?")
    first = chat.replies.inner_text()
    chat.page.get_by_role("button", name="Write another reply").click()
    versions = chat.page.locator("#thread .message.reply .versions")
    expect(versions).to_have_text("2/2")
    chat.idle()
    chat.page.get_by_role("button", name="Earlier version").click()
    expect(versions).to_have_text("1/2")
    assert chat.replies.inner_text() == first
    chat.page.get_by_role("button", name="Later version").click()
    expect(versions).to_have_text("2/2")


def test_an_earlier_message_is_edited(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    chat.ask("And now?")
    chat.messages.first.hover()
    chat.page.get_by_role("button", name="Edit and ask again").first.click()
    field = chat.page.get_by_label("Edit the message")
    expect(field).to_have_value("What is this?")
    field.fill("What is red here?")
    field.press("Enter")
    expect(chat.messages).to_have_text(["What is red here?"])
    expect(chat.replies).to_have_count(1)
    chat.idle()
    expect(chat.page.locator("#thread .thumb")).to_have_count(1)

    chat.page.locator("#thread .message.user").hover()
    chat.page.get_by_role("button", name="Earlier version").click()
    expect(chat.messages).to_have_text(["What is this?", "And now?"])


def test_undo_gives_the_message_back(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    chat.page.get_by_role("button", name="Take back the last question").click()
    expect(chat.box).to_have_value("What is this?")
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(1)
    expect(chat.messages).to_have_count(0)
    chat.box.press("Enter")
    expect(chat.replies).to_have_count(1)
    expect(chat.page.locator("#thread .thumb")).to_have_count(1)


def test_conversations_are_found_again(chat: Chat) -> None:
    chat.ask("First question")
    chat.page.get_by_role("button", name="New chat").click()
    expect(chat.messages).to_have_count(0)
    chat.ask("Second question")
    expect(chat.listed).to_have_text(["Second question", "First question"])

    chat.listed.nth(1).click()
    expect(chat.messages).to_have_text(["First question"])
    chat.reload()
    expect(chat.messages).to_have_text(["First question"])
    expect(chat.listed).to_have_text(["Second question", "First question"])

    chat.page.get_by_label("Search your conversations").fill("second")
    expect(chat.listed).to_have_text(["Second question"])
    chat.page.get_by_label("Search your conversations").fill("")
    expect(chat.listed).to_have_count(2)

    chat.listed.nth(1).hover()
    chat.page.get_by_role("button", name="Rename First question").click()
    chat.page.get_by_label("New name").fill("About <b>shapes</b>")
    chat.page.get_by_label("New name").press("Enter")
    expect(chat.listed.nth(1)).to_have_text("About <b>shapes</b>")

    chat.listed.nth(1).hover()
    chat.page.get_by_role("button", name="Delete About <b>shapes</b>").click()
    chat.page.get_by_role("button", name="Delete", exact=True).click()
    expect(chat.listed).to_have_text(["Second question"])
    expect(chat.messages).to_have_count(0)


def test_going_elsewhere_while_a_reply_is_written(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A long one")
    chat.writing()
    chat.page.get_by_role("button", name="New chat").click()
    expect(chat.messages).to_have_count(0)
    expect(chat.page.locator("#live .text")).to_have_count(0)
    chat.listed.first.click()
    chat.writing()
    chat.page.keyboard.press("Escape")
    expect(chat.replies).to_have_count(1)
    expect(chat.page.locator("#thread .note")).to_have_text("Stopped.")


def test_a_conversation_is_exported(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    for kind, wanted in (("Markdown", "What is this?"), ("JSON", '"turns"')):
        chat.page.locator("#export summary").click()
        with chat.page.expect_download() as download:
            chat.page.get_by_role("link", name=kind).click()
        assert wanted in download.value.path().read_text(encoding="utf-8")


def test_a_restart_loses_nothing_of_open_pages(new_chat: NewChat, server: Server) -> None:
    idle, chat = new_chat(), new_chat()
    for one in (idle, chat):
        one.ask("Before the restart")
    address = idle.page.url
    chat.allow_long_replies()
    chat.say("Still being answered")
    chat.writing()
    assert server.stop() == 0
    server.start()

    idle.ask("After the restart")
    expect(idle.messages).to_have_text(["Before the restart", "After the restart"])
    assert idle.page.url == address

    chat.open(f"?c={chat.page.url.split('c=')[1]}")
    expect(chat.messages).to_have_text(["Before the restart", "Still being answered"])
    expect(chat.replies).to_have_count(2)
    expect(chat.listed).to_have_text(["Before the restart"])
    chat.say("After the restart")
    chat.writing()
    chat.page.keyboard.press("Escape")
    expect(chat.replies).to_have_count(3)


def test_a_reply_that_cannot_be_saved_is_shown_and_the_chat_goes_on(
    chat: Chat, server: Server
) -> None:
    chat.allow_long_replies()
    chat.say("Tell me everything.")
    chat.writing()
    database = server.folder / "data" / "llava_chat.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        chat.page.keyboard.press("Escape")
        expect(chat.page.get_by_role("alert")).to_contain_text("not saved")
        chat.idle()
    expect(chat.page.locator("#live .unsaved .text")).not_to_be_empty()
    chat.say("Once more")
    expect(chat.messages).to_have_text(["Once more"])
    expect(chat.page.locator("#live .unsaved")).to_have_count(0)
    chat.writing()
    chat.page.keyboard.press("Escape")
    expect(chat.replies).to_have_count(1)


def test_somebody_elses_conversation_is_not_shown(new_chat: NewChat) -> None:
    mine = new_chat()
    mine.ask("My secret")
    theirs = new_chat(f"?c={mine.page.url.split('c=')[1]}")
    expect(theirs.page.get_by_role("alert")).to_be_visible()
    expect(theirs.messages).to_have_count(0)
    expect(theirs.listed).to_have_count(0)
    theirs.ask("My own")
    expect(theirs.listed).to_have_text(["My own"])
