"""What a person says of replies, by mouse, by keyboard, on a phone, and taken back."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.conftest import Chat, NewChat, Server


def good(chat: Chat) -> Locator:
    return chat.page.get_by_role("button", name="Good reply")


def bad(chat: Chat) -> Locator:
    return chat.page.get_by_role("button", name="Bad reply")


def panel(chat: Chat) -> Locator:
    return chat.page.get_by_role("region", name="Your feedback on this reply")


def told(chat: Chat) -> Locator:
    return panel(chat).get_by_role("status")


def agree(chat: Chat) -> None:
    chat.page.get_by_role("button", name="Yes, keep it").click()
    expect(told(chat)).to_have_text("Saved")


def kept(chat: Chat) -> Any:
    """All that is kept of whoever uses this page."""
    return chat.page.request.get(f"{chat.server.url}feedback/mine.json").json()


def open_mine(chat: Chat) -> None:
    chat.page.get_by_role("button", name="Settings", exact=True).click()
    chat.page.get_by_role("button", name="Your feedback and data").click()


def test_a_reply_is_judged_corrected_and_found_so_again(chat: Chat) -> None:
    chat.ask("What is this?")
    words = chat.replies.inner_text()
    bad(chat).click()
    expect(chat.page.get_by_role("dialog")).to_contain_text("with its pictures")
    expect(told(chat)).not_to_have_text("Saved")
    agree(chat)
    chip = panel(chat).get_by_role("button", name="It counts wrongly")
    chip.click()
    panel(chat).get_by_role("button", name="Something else").click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    panel(chat).get_by_label("Comment").fill("There are <b>two</b>.")
    panel(chat).get_by_role("button", name="Correct this reply").click()
    field = panel(chat).get_by_label("What the reply should have said")
    expect(field).to_have_value(words)
    field.fill("Two <b>circles</b>.")
    panel(chat).get_by_role("button", name="Save correction").click()
    correction = chat.page.get_by_role("group", name="Your correction")
    expect(correction).to_contain_text("Two <b>circles</b>.")
    expect(told(chat)).to_have_text("Saved")
    (rating,) = kept(chat)["ratings"]
    assert (rating["liked"], rating["reasons"]) == (False, ["wrong_count", "other"])
    assert rating["comment"] == "There are <b>two</b>."

    chat.reload()
    expect(correction).to_contain_text("Two <b>circles</b>.")
    expect(bad(chat)).to_have_attribute("aria-pressed", "true")
    assert chat.replies.inner_text() == words
    chat.page.get_by_role("button", name="Your feedback on this reply").click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(panel(chat).get_by_label("Comment")).to_have_value("There are <b>two</b>.")

    bad(chat).click()
    expect(bad(chat)).to_have_attribute("aria-pressed", "false")
    expect(panel(chat)).to_have_count(0)
    chat.page.wait_for_function(
        "fetch('feedback/mine.json').then(a => a.json()).then(mine => mine.ratings.length === 0)"
    )
    chat.reload()
    expect(bad(chat)).to_have_attribute("aria-pressed", "false")
    expect(correction).to_be_visible()


def test_what_is_half_written_outlives_the_next_reply(chat: Chat) -> None:
    chat.ask("One")
    good(chat).click()
    agree(chat)
    panel(chat).get_by_role("button", name="Correct this reply").click()
    field = panel(chat).get_by_label("What the reply should have said")
    field.fill("Half a correc")
    chat.say("Two")
    expect(chat.replies).to_have_count(2)
    chat.idle()
    expect(field).to_have_value("Half a correc")
    expect(good(chat).first).to_have_attribute("aria-pressed", "true")
    expect(good(chat).last).to_have_attribute("aria-pressed", "false")


def test_by_keyboard_alone(chat: Chat) -> None:
    keys = chat.page.keyboard
    chat.ask("What is this?")
    for _ in range(30):
        keys.press("Shift+Tab")
        if chat.page.evaluate("document.activeElement.ariaLabel") == "Bad reply":
            break
    keys.press("Enter")
    expect(chat.page.get_by_role("button", name="No, save nothing")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    expect(told(chat)).to_have_text("Saved")
    expect(bad(chat)).to_be_focused()
    for _ in range(30):
        keys.press("Tab")
        if chat.page.evaluate("document.activeElement.dataset.reason") == "misread_text":
            break
    keys.press("Space")
    comment = panel(chat).get_by_label("Comment")
    while not comment.evaluate("field => field === document.activeElement"):
        keys.press("Tab")
    keys.type("Look again")
    keys.press("Enter")
    expect(told(chat)).to_have_text("Saved")
    keys.press("Tab")
    expect(panel(chat).get_by_role("button", name="Correct this reply")).to_be_focused()
    keys.press("Enter")
    keys.press("Control+a")
    keys.type("It says five")
    keys.press("Enter")
    expect(chat.page.get_by_role("group", name="Your correction")).to_contain_text("five")
    expect(panel(chat).get_by_role("button", name="Correct this reply")).to_be_focused()
    keys.press("Enter")
    keys.press("Escape")
    expect(panel(chat)).to_be_visible()
    keys.press("Escape")
    expect(panel(chat)).to_have_count(0)
    expect(chat.page.get_by_role("button", name="Your feedback on this reply")).to_be_focused()
    (rating,), (correction,) = kept(chat)["ratings"], kept(chat)["corrections"]
    assert (rating["reasons"], rating["comment"]) == (["misread_text"], "Look again")
    assert correction["text"] == "It says five"


def test_who_says_no_is_told_that_nothing_was_saved(chat: Chat) -> None:
    chat.ask("What is this?")
    good(chat).click()
    chat.page.get_by_role("button", name="No, save nothing").click()
    expect(told(chat)).to_contain_text("Not saved")
    expect(good(chat)).to_have_attribute("aria-pressed", "false")
    assert kept(chat)["ratings"] == []
    chat.reload()
    expect(good(chat)).to_have_attribute("aria-pressed", "false")
    good(chat).click()
    expect(told(chat)).to_contain_text("Not saved")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    panel(chat).get_by_role("button", name="Ask me again").click()
    agree(chat)
    expect(good(chat)).to_have_attribute("aria-pressed", "true")
    assert len(kept(chat)["ratings"]) == 1


def test_who_closes_the_question_is_asked_the_next_time(chat: Chat) -> None:
    chat.ask("What is this?")
    bad(chat).click()
    expect(chat.page.get_by_role("dialog")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(told(chat)).to_contain_text("Not saved")
    assert kept(chat)["consent"] is None
    chat.reload()
    bad(chat).click()
    agree(chat)


def test_what_a_restart_may_lose_is_said_where_people_decide(chat: Chat) -> None:
    loss = "What was said in the last 5 minutes may be lost when this Space restarts."

    def on_a_space(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"loss": loss})

    chat.page.route(re.compile("/feedback/(rate|consent)$"), on_a_space)
    chat.ask("What is this?")
    good(chat).click()
    expect(chat.page.get_by_role("dialog").get_by_text(loss)).to_be_visible()
    agree(chat)
    open_mine(chat)
    mine = chat.page.get_by_role("dialog", name="Your feedback and data")
    expect(mine.get_by_text(loss)).to_be_visible()


def test_what_failed_is_tried_again_as_the_same_vote(chat: Chat, server: Server) -> None:
    chat.ask("What is this?")
    good(chat).click()
    agree(chat)
    sent: list[str] = []

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "{}")["id"])
        route.continue_()

    chat.page.route("**/feedback/rate", note)
    with closing(sqlite3.connect(server.folder / "data" / "llava_chat.db")) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON ratings BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        other.commit()
        bad(chat).click()
        expect(told(chat)).to_contain_text("Not saved.")
        other.execute("DROP TRIGGER full")
        other.commit()
    assert kept(chat)["ratings"][0]["liked"]
    panel(chat).get_by_role("button", name="Try again").click()
    expect(told(chat)).to_have_text("Saved")
    assert not kept(chat)["ratings"][0]["liked"]
    assert len(sent) == 2 and len(set(sent)) == 1


def test_a_server_that_is_away_is_told_of(chat: Chat) -> None:
    chat.ask("What is this?")
    good(chat).click()
    agree(chat)
    chat.page.route("**/feedback/correct", lambda route: route.abort())
    panel(chat).get_by_role("button", name="Correct this reply").click()
    panel(chat).get_by_label("What the reply should have said").fill("Better")
    panel(chat).get_by_role("button", name="Save correction").click()
    expect(told(chat)).to_contain_text("cannot be reached")
    expect(panel(chat).get_by_label("What the reply should have said")).to_have_value("Better")
    expect(chat.page.get_by_role("group", name="Your correction")).to_have_count(0)
    chat.page.unroute("**/feedback/correct")
    panel(chat).get_by_role("button", name="Try again").click()
    expect(chat.page.get_by_role("group", name="Your correction")).to_contain_text("Better")
    expect(panel(chat).get_by_label("What the reply should have said")).to_be_hidden()
    assert len(kept(chat)["corrections"]) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(new_chat: NewChat, scheme: str) -> None:
    chat = new_chat(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme)
    chat.ask("What is this?")
    bad(chat).tap()
    agree(chat)
    panel(chat).get_by_role("button", name="A place or a relation is wrong").tap()
    panel(chat).get_by_role("button", name="Correct this reply").tap()
    panel(chat).get_by_label("What the reply should have said").fill("y" * 200)
    panel(chat).get_by_role("button", name="Save correction").tap()
    expect(chat.page.get_by_role("group", name="Your correction")).to_be_visible()
    wide = "(e => e.scrollWidth > e.clientWidth)(document.querySelector('#scroller'))"
    assert not chat.page.evaluate(wide)
    box = panel(chat).bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_a_chat_that_is_not_kept_is_gone_when_its_page_is_left(chat: Chat, server: Server) -> None:
    chat.ask("Keep this one")
    chat.page.get_by_role("button", name="New chat").click()
    switch = chat.page.get_by_label("Do not keep this chat")
    switch.check()
    chat.ask("A secret between us")
    expect(chat.page.get_by_label("Not kept")).to_be_checked()
    expect(chat.page.get_by_label("Not kept")).to_be_disabled()
    expect(chat.page.get_by_text("It is removed when you leave this page")).to_be_visible()
    expect(good(chat)).to_have_count(0)
    expect(chat.listed).to_have_text(["A secret between us", "Keep this one"])
    assert "c=" not in chat.page.url
    chat.reload()
    chat.page.wait_for_function(
        "fetch('feedback/mine.json').then(a => a.text())"
        ".then(mine => !mine.includes('A secret between us'))"
    )
    expect(chat.listed).to_have_text(["Keep this one"])
    expect(switch).not_to_be_checked()
    with closing(sqlite3.connect(server.folder / "data" / "llava_chat.db")) as database:
        said = "SELECT count(*) FROM messages WHERE text LIKE '%secret between us%'"
        assert database.execute(said).fetchone() == (0,)


def test_a_person_sees_takes_and_deletes_what_is_kept(chat: Chat) -> None:
    chat.ask("What is this?")
    open_mine(chat)
    mine = chat.page.get_by_role("dialog", name="Your feedback and data")
    expect(mine).to_contain_text("not been asked")
    mine.get_by_role("button", name="Keep my feedback").click()
    expect(mine).to_contain_text("Your feedback is kept")
    mine.get_by_role("button", name="Close").click()
    good(chat).click()
    expect(told(chat)).to_have_text("Saved")
    chat.page.get_by_role("button", name="Your feedback and data").click()
    with chat.page.expect_download() as download:
        mine.get_by_role("link", name="Download it as JSON").click()
    taken = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert taken["conversations"][0]["title"] == "What is this?"
    assert len(taken["ratings"]) == 1
    mine.get_by_role("button", name="Do not keep it any more").click()
    expect(mine).to_contain_text("given to nobody")

    mine.get_by_role("button", name="Delete all of it").click()
    question = chat.page.locator("dialog.confirm")
    question.get_by_role("button", name="Keep it").click()
    assert len(kept(chat)["conversations"]) == 1
    mine.get_by_role("button", name="Delete all of it").click()
    question.get_by_role("button", name="Delete").click()
    expect(mine).to_contain_text("Deleted: 1 conversation")
    mine.get_by_role("button", name="Close").click()
    expect(chat.messages).to_have_count(0)
    expect(chat.listed).to_have_count(0)
    assert kept(chat)["conversations"] == []
