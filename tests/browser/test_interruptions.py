"""Nothing that a person wrote is lost, whatever happens at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Route, expect

from tests.browser.conftest import Chat, NewChat, Server


def edit(chat: Chat, text: str) -> Locator:
    """Begin to edit the first message."""
    chat.messages.first.hover()
    chat.page.get_by_role("button", name="Edit and ask again").first.click()
    field = chat.page.get_by_label("Edit the message")
    field.fill(text)
    return field


def stop(chat: Chat) -> None:
    """Stop the reply and wait for its end."""
    chat.page.locator("#composer .stop-button").click()
    chat.idle()


def test_an_edit_outlives_the_end_of_a_reply_and_a_refusal(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A question")
    chat.writing()
    field = edit(chat, "A better question")
    field.press("Enter")
    expect(chat.page.get_by_role("alert")).to_contain_text("still being written")
    expect(field).to_have_value("A better question")
    field.fill("The best question")
    stop(chat)
    expect(chat.replies).to_have_count(1)
    expect(field).to_have_value("The best question")
    field.press("Enter")
    expect(chat.messages).to_have_text(["The best question"])
    expect(field).to_have_count(0)
    chat.writing()
    stop(chat)
    chat.page.locator("#thread .message.user").hover()
    chat.page.get_by_role("button", name="Earlier version").first.click()
    expect(chat.messages).to_have_text(["A question"])
    expect(field).to_have_count(0)


def test_an_edit_that_was_cancelled_stays_away(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A question")
    chat.writing()
    edit(chat, "Never mind")
    chat.page.get_by_role("button", name="Cancel").click()
    stop(chat)
    expect(chat.replies).to_have_count(1)
    expect(chat.page.get_by_label("Edit the message")).to_have_count(0)
    expect(chat.messages).to_be_visible()


def test_a_new_name_outlives_the_end_of_a_reply(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A question")
    chat.writing()
    chat.listed.first.hover()
    chat.page.get_by_role("button", name="Rename A question").click()
    name = chat.page.get_by_label("New name")
    name.fill("A name")
    stop(chat)
    expect(chat.replies).to_have_count(1)
    expect(name).to_have_value("A name")
    name.press("Enter")
    expect(chat.listed).to_have_text(["A name"])
    expect(name).to_have_count(0)


def test_a_seed_out_of_range_holds_nothing_up(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A question")
    chat.writing()
    chat.page.get_by_role("button", name="Settings", exact=True).click()
    seed = chat.page.get_by_label("Seed")
    seed.fill("-1")
    seed.press("Tab")
    stop(chat)
    chat.page.get_by_role("button", name="New chat").click()
    expect(chat.messages).to_have_count(0)
    chat.say("Another one")
    expect(chat.page.get_by_role("alert")).to_contain_text("seed")
    expect(chat.box).to_have_value("Another one")
    chat.page.get_by_role("button", name="Back to the defaults").click()
    expect(seed).to_have_value("")
    chat.ask("Another one")


@contextmanager
def held_back(chat: Chat) -> Iterator[None]:
    """Let what the page sends to the server wait until the end."""
    chat.ask("Hello")  # what the page sends when it opens is over then
    calls: list[Route] = []
    holding = True

    def hold(call: Route) -> None:
        calls.append(call) if holding else call.continue_()

    chat.page.route("**/queue/join*", hold)
    yield
    holding = False
    for call in calls:
        call.continue_()


@contextmanager
def opening_held_back(new_chat: NewChat, server: Server, query: str = "") -> Iterator[Chat]:
    """A page on a phone, whose own first call to the server waits until the end."""
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    chat = Chat(new_chat(**options).page.context.new_page(), server)
    held: list[Route] = []
    chat.page.route("**/queue/join*", lambda call: held.append(call), times=1)
    with chat.page.expect_request("**/queue/join*"):
        chat.open(query)
    yield chat
    (opening,) = held
    with chat.page.expect_response("**/queue/join*"):
        opening.continue_()


# Gradio's client hands each message on by a timer.
LATE_ENDS = """
const timer = window.setTimeout;
window.setTimeout = (call, wait, told, ...more) =>
  timer(call, told?.msg === "process_completed" ? 300 : wait, told, ...more);
"""


def test_a_message_before_the_last_event_is_over_is_not_lost(
    new_chat: NewChat, server: Server
) -> None:
    chat = Chat(new_chat().page.context.new_page(), server)
    chat.page.add_init_script(LATE_ENDS)
    chat.open()
    chat.ask("First")
    chat.ask("Next")
    chat.allow_long_replies()
    chat.say("And now?")
    chat.writing()
    chat.box.fill("Typed meanwhile")
    chat.box.press("Enter")  # which is for after the reply
    stop(chat)
    chat.page.get_by_label("Search your conversations").fill("none like this")
    expect(chat.listed).to_have_count(0)  # all that was sent before is answered by now
    expect(chat.box).to_have_value("Typed meanwhile")
    expect(chat.messages).to_have_text(["First", "Next", "And now?"])


def test_a_message_that_is_quicker_than_the_page_is_not_lost(
    new_chat: NewChat, server: Server
) -> None:
    with opening_held_back(new_chat, server) as chat:
        chat.ask("First")
        chat.box.press_sequentially("Next")
    chat.box.press("Enter")
    expect(chat.messages).to_have_text(["First", "Next"])
    expect(chat.replies).to_have_count(2)
    chat.idle()
    expect(chat.messages).to_have_text(["First", "Next"])
    expect(chat.box).to_have_value("")


def test_a_message_on_its_way_while_the_page_opens_is_not_lost(
    new_chat: NewChat, server: Server
) -> None:
    with opening_held_back(new_chat, server) as chat:
        chat.allow_long_replies()
        chat.say("A long one")
        chat.writing()
    chat.page.keyboard.press("Escape")
    expect(chat.replies).to_have_count(1)
    expect(chat.messages).to_have_text(["A long one"])
    chat.idle()


def test_words_typed_before_the_page_has_opened_stay(new_chat: NewChat, server: Server) -> None:
    with opening_held_back(new_chat, server) as chat:
        chat.box.press_sequentially("Half a question")
    chat.page.get_by_role("button", name="Conversations").click()
    expect(chat.page.locator("#conversations")).to_contain_text("will be here")
    expect(chat.box).to_have_value("Half a question")


def say(chat: Chat, text: str) -> None:
    """Send, and wait until it is on its way."""
    with chat.page.expect_request("**/queue/join*"):
        chat.say(text)


def test_words_typed_while_a_message_is_on_its_way_stay(chat: Chat) -> None:
    with held_back(chat):
        say(chat, "A question")
        chat.box.press_sequentially(" and the next")
    expect(chat.messages).to_have_text(["Hello", "A question"])
    expect(chat.box).to_have_value(" and the next")
    chat.idle()
    expect(chat.box).to_have_value(" and the next")


def test_a_refused_message_comes_back_with_what_was_typed_since(chat: Chat) -> None:
    long = "x" * 100_000
    with held_back(chat):
        say(chat, long)
        chat.box.press_sequentially("More")
    expect(chat.page.get_by_role("alert")).to_contain_text("Shorten it")
    expect(chat.box).to_have_value(f"{long}\nMore")


def test_escape_counts_before_the_first_word(chat: Chat) -> None:
    with held_back(chat):
        chat.allow_long_replies()
        say(chat, "Tell me everything.")
        chat.page.keyboard.press("Escape")
    expect(chat.messages).to_have_text(["Hello", "Tell me everything."])
    chat.idle()


def test_a_double_click_acts_once(chat: Chat) -> None:
    chat.ask("One")
    chat.ask("Two")
    chat.page.get_by_role("button", name="Take back the last question").dblclick()
    expect(chat.box).to_have_value("Two")
    expect(chat.messages).to_have_text(["One"])
    chat.box.fill("")
    chat.page.get_by_role("button", name="New chat").click()
    before = chat.listed.count()
    chat.page.locator(".example").first.dblclick()
    expect(chat.replies).to_have_count(1)
    chat.idle()
    expect(chat.listed).to_have_count(before + 1)


def test_taking_a_question_back_keeps_the_draft(chat: Chat, drawing: Path) -> None:
    chat.ask("What is this?", drawing)
    chat.attach(drawing)
    undo = chat.page.get_by_role("button", name="Take back the last question")
    undo.click()
    expect(chat.page.get_by_role("alert")).to_contain_text("waits to be sent")
    expect(chat.messages).to_have_count(1)
    chat.page.locator("#composer .delete-button").click()
    expect(chat.page.locator("#composer .thumbnail-item")).to_have_count(0)
    chat.box.fill("A draft")
    expect(undo).to_be_enabled()
    undo.click()
    expect(chat.messages).to_have_count(0)
    expect(chat.box).to_have_value("What is this?\nA draft")


def test_a_second_tab_that_closes_stops_nothing(chat: Chat) -> None:
    chat.allow_long_replies()
    chat.say("A long one")
    chat.writing()
    second = Chat(chat.page.context.new_page(), chat.server)
    second.open(f"?c={chat.page.url.split('c=')[1]}")
    second.writing()
    second.page.close()
    live = chat.page.locator("#live")
    # Random words may be blanks for seconds, and the speed beside them still changes.
    expect(live).not_to_have_js_property("innerHTML", live.inner_html())
    expect(live.locator(".state")).to_contain_text("Writing")
    stop(chat)


def test_half_an_emoji_can_be_searched_for(chat: Chat) -> None:
    chat.ask("A question")
    chat.page.get_by_label("Search your conversations").evaluate(
        "e => { e.value = '\\ud83d'; e.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    expect(chat.page.locator("#conversations")).to_contain_text("Nothing found")
    chat.ask("Another one")


def test_a_jfif_is_a_jpeg(chat: Chat, tmp_path: Path) -> None:
    picture = tmp_path / "photo.jfif"
    Image.new("RGB", (64, 48), "red").save(picture, "JPEG")
    chat.ask("What is this?", picture)
    expect(chat.page.locator("#thread .thumb")).to_have_count(1)
