"""Two replies side by side in a real browser: by mouse, by keyboard alone, on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Chat, NewChat


class Comparing:
    """What a person does in the Compare tab, and what they see."""

    def __init__(self, chat: Chat) -> None:
        self.page: Page = chat.page
        self.url = chat.server.url

    def open(self) -> None:
        self.page.get_by_role("tab", name="Compare").click()
        expect(self.box).to_be_visible()

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Message to both")

    @property
    def sides(self) -> Locator:
        return self.page.locator("#compare-thread .side")

    @property
    def hidden(self) -> Locator:
        return self.page.locator("#compare-thread .who.unknown")

    @property
    def choices(self) -> Locator:
        return self.page.get_by_role("group", name="Which reply is better?").get_by_role("button")

    @property
    def why(self) -> Locator:
        return self.page.get_by_role("region", name="Why")

    def ask(self, text: str, *pictures: Path) -> None:
        if pictures:
            self.page.set_input_files('#compare-composer input[type="file"]', list(pictures))
            expect(self.page.locator("#compare-composer .thumbnail-item")).to_have_count(1)
        self.box.fill(text)
        self.box.press("Enter")
        expect(self.choices).to_have_count(4)

    def agree(self) -> None:
        self.page.get_by_role("button", name="Yes, keep it").click()

    def kept(self) -> Any:
        """The comparisons that are kept of whoever uses this page."""
        return self.page.request.get(f"{self.url}feedback/mine.json").json()["comparisons"]


def comparing(chat: Chat) -> Comparing:
    tab = Comparing(chat)
    tab.open()
    return tab


def test_two_replies_are_compared_over_two_turns_and_found_again(chat: Chat, drawing: Path) -> None:
    tab = comparing(chat)
    tab.ask("What is this?", drawing)
    expect(tab.sides).to_have_count(2)
    expect(tab.hidden).to_have_count(2)
    assert "temperature" not in tab.page.locator("#compare-thread").inner_text()
    tab.page.get_by_role("button", name="B is better").click()
    tab.agree()
    expect(tab.hidden).to_have_count(0)
    expect(tab.page.locator(".side.chosen .side-name strong")).to_have_text("B")
    expect(tab.why).to_contain_text("What was wrong with A?")
    tab.why.get_by_role("button", name="It counts wrongly").click()
    tab.why.get_by_label("Comment").fill("There are <b>two</b>.")
    tab.why.get_by_role("button", name="Done").click()
    expect(tab.why).to_have_count(0)

    tab.ask("And now?")
    expect(tab.sides).to_have_count(4)
    tab.page.get_by_role("button", name="Both are bad").click()
    expect(tab.page.get_by_text("You found both bad. You knew who is who.")).to_be_visible()
    (kept,) = tab.kept()
    first, second = kept["votes"]
    assert (first["choice"], first["blind"], first["reasons"]) == ("right", True, ["wrong_count"])
    assert first["comment"] == "There are <b>two</b>." and 0 < first["lead_time_s"] < 600
    assert (second["choice"], second["blind"]) == ("both_bad", False)

    tab.page.reload()
    expect(tab.page.get_by_text("You found B better.")).to_be_visible()
    tab.page.get_by_role("button", name="Why").first.click()
    expect(tab.why.get_by_label("Comment")).to_have_value("There are <b>two</b>.")
    tab.page.get_by_role("button", name="New comparison").click()
    expect(tab.page.get_by_label("First contestant")).to_be_visible()
    expect(tab.page).not_to_have_url(re.compile("[?&]compare="))
    tab.page.get_by_role("tab", name="Chat").click()
    expect(chat.listed).to_have_count(0)


def test_by_keyboard_alone(chat: Chat) -> None:
    tab, keys = Comparing(chat), chat.page.keyboard
    tab.page.get_by_role("tab", name="Chat").focus()
    for _ in range(6):
        keys.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == "Compare":
            break
    keys.press("Enter")
    expect(tab.box).to_be_visible()
    for _ in range(30):
        keys.press("Tab")
        if tab.page.evaluate("document.activeElement.ariaLabel") == "Message to both":
            break
    keys.type("What is this?")
    keys.press("Enter")
    expect(tab.choices.first).to_be_focused()
    keys.press("3")
    expect(tab.page.get_by_role("button", name="No, save nothing")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    expect(tab.hidden).to_have_count(0)
    expect(tab.why.get_by_role("button", name="It names something")).to_be_focused()
    keys.press("Tab")
    keys.press("Space")
    expect(tab.why.get_by_role("status")).to_have_text("Saved")
    keys.press("Control+Enter")
    expect(tab.why).to_have_count(0)
    expect(tab.box).to_be_focused()
    keys.type("1 more?")  # a digit in a field is no vote
    keys.press("Enter")
    expect(tab.choices.first).to_be_focused()
    keys.press("1")
    expect(tab.page.get_by_text("You found A better. You knew who is who.")).to_be_visible()
    (kept,) = tab.kept()
    assert [(vote["choice"], vote["reasons"]) for vote in kept["votes"]] == [
        ("tie", ["wrong_count"]),
        ("left", []),
    ]


def test_on_a_phone_the_replies_stand_one_above_the_other(new_chat: NewChat) -> None:
    chat = new_chat(viewport={"width": 390, "height": 844}, has_touch=True)
    tab = comparing(chat)
    tab.ask("What is this?")
    first, second = (tab.sides.nth(place).bounding_box() for place in (0, 1))
    assert first is not None and second is not None
    assert first["y"] + first["height"] <= second["y"] and first["x"] == second["x"]
    expect(tab.sides.nth(0)).to_contain_text("A")
    expect(tab.sides.nth(1)).to_contain_text("B")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.get_by_role("button", name="A is better").tap()
    tab.agree()
    expect(tab.hidden).to_have_count(0)


def test_a_vote_that_does_not_arrive_is_tried_again(chat: Chat) -> None:
    tab = comparing(chat)
    tab.ask("What is this?")
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.request.post_data or "")
        route.abort() if len(lost) == 1 else route.continue_()

    tab.page.route("**/feedback/choose", lose)
    tab.page.get_by_role("button", name="Tie").click()
    expect(tab.why.get_by_role("status")).to_have_text("Not saved. The server cannot be reached.")
    expect(tab.hidden).to_have_count(2)
    tab.why.get_by_role("button", name="Try again").click()
    tab.agree()
    expect(tab.hidden).to_have_count(0)
    assert len(set(lost)) == 1 and len(tab.kept()[0]["votes"]) == 1


def test_who_says_no_keeps_nothing_and_learns_no_names(chat: Chat) -> None:
    tab = comparing(chat)
    tab.ask("What is this?")
    expect(tab.choices.first).to_be_focused()  # the keys no longer write
    tab.page.keyboard.press("1")
    tab.page.get_by_role("button", name="No, save nothing").click()
    expect(tab.why.get_by_role("status")).to_contain_text("Not saved")
    expect(tab.hidden).to_have_count(2)
    assert tab.kept()[0]["votes"] == []


@pytest.mark.parametrize("by", ["button", "key"])
def test_versions_are_ranked_and_found_so_again(by: str, chat: Chat) -> None:
    chat.ask("What is this?")
    page = chat.page
    expect(page.get_by_role("button", name="Rank the versions")).to_have_count(0)
    page.get_by_role("button", name="Write another reply").click()
    expect(page.get_by_text("2/2")).to_be_visible()
    chat.idle()
    rank = page.get_by_role("button", name="Rank the versions")
    panel = page.get_by_role("region", name="Rank the versions")
    if by == "button":
        rank.click()
        panel.get_by_role("button", name="Version 2 up").click()
        panel.get_by_role("button", name="Save this order").click()
    else:
        rank.press("Enter")
        expect(panel.get_by_role("listitem").first).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(panel.get_by_role("listitem").nth(1)).to_be_focused()
        page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Yes, keep it").click()
    expect(panel.get_by_role("status")).to_have_text("Saved")
    expect(page.locator(".rank")).to_have_text("ranked 1 of 2")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".rank")).to_have_text("ranked 1 of 2")
    page.get_by_role("button", name="Earlier version").click()
    expect(page.locator(".rank")).to_have_text("ranked 2 of 2")
    rank.click()
    expect(panel.get_by_role("listitem").first).to_contain_text("Version 2")


def test_a_correction_is_withdrawn(chat: Chat) -> None:
    chat.ask("What is this?")
    page = chat.page
    page.get_by_role("button", name="Bad reply").click()
    page.get_by_role("button", name="Yes, keep it").click()
    page.get_by_role("button", name="Correct this reply").click()
    page.get_by_label("What the reply should have said").fill("A red circle.")
    page.get_by_role("button", name="Save correction").click()
    correction = page.get_by_role("group", name="Your correction")
    expect(correction).to_contain_text("A red circle.")
    page.get_by_role("button", name="Remove your correction").click()
    expect(correction).to_have_count(0)
    page.reload()
    expect(page.get_by_role("button", name="Bad reply")).to_have_attribute("aria-pressed", "true")
    expect(correction).to_have_count(0)
