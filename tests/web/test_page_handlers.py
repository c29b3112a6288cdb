"""What one page shows when several things happen at once: real engine, store, turns, components."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llava_chat.engine.generation import MAX_NEW_TOKENS_LIMIT, MAX_TOP_K, GenerationSettings
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat import layout
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.people import Person
from tests.web.conftest import run
from tests.web.tabs import ME, OPTIONS, SOMEBODY, Tab, asked, rest, until


def test_a_strangers_conversation_is_never_what_the_page_shows(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = new_tab(), new_tab(SOMEBODY)
    secret = asked(theirs, "A secret")
    shown_while_asked = []
    load = mine.turns.store.load

    def watched(owner: str, conversation_id: str) -> Any:
        shown_while_asked.append(mine.view.conversation_id)
        return load(owner, conversation_id)

    monkeypatch.setattr(mine.turns.store, "load", watched)
    steps = run(rest(mine.act("open", conversation=secret)))
    assert shown_while_asked and secret not in shown_while_asked
    assert mine.view.conversation_id is None
    assert "no such conversation" in mine.sentence(steps)
    assert "A secret" not in str(steps)


def test_after_a_restart_the_address_tells_what_the_page_shows(new_tab: Callable[..., Tab]) -> None:
    conversation_id = asked(new_tab(), "Before")
    page = new_tab(c=conversation_id)
    run(rest(page.send("After", max_new_tokens=4)))
    path = page.turns.store.load(ME, conversation_id).path
    assert [message.text for message in path if message.role == "user"] == ["Before", "After"]


@pytest.mark.parametrize("unknown", ["0" * 32, "x", ""])
def test_an_address_that_names_nothing_of_ones_own_begins_anew(
    new_tab: Callable[..., Tab], unknown: str
) -> None:
    theirs = asked(new_tab(SOMEBODY), "Theirs")
    for name in (unknown, theirs):
        page = new_tab(c=name)
        run(rest(page.send("Mine", max_new_tokens=4)))
        assert page.view.conversation_id not in (None, name)
    assert len(page.turns.store.load(SOMEBODY, theirs).path) == 2


def test_a_lost_picture_hides_no_word_of_its_conversation(
    new_tab: Callable[..., Tab], draw: Callable[[str], Path]
) -> None:
    tab = new_tab()
    live = tab.turns.ask(ME, None, "Look at that", [draw("navy")], OPTIONS)
    live.stop()
    run(until(lambda: live.ended))
    (picture_id,) = tab.turns.store.load(ME, live.conversation_id).path[0].picture_ids
    file = tab.turns.store.picture(picture_id).source
    assert isinstance(file, Path)
    file.unlink()
    steps = run(rest(tab.act("open", conversation=live.conversation_id)))
    assert "Look at that" in str(steps[-1][tab.handlers.parts.thread])
    assert tab.view.conversation_id == live.conversation_id


def test_a_new_chat_begun_before_the_first_word_is_not_left_again(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()

    async def go() -> list[dict[Any, Any]]:
        sending = tab.send("A question", max_new_tokens=4)
        await anext(sending)
        await rest(tab.act("new"))
        return await rest(sending)

    steps = run(go())
    assert tab.view.conversation_id is None
    assert not any(tab.handlers.parts.thread in step for step in steps)
    assert "A question" in str(steps[-1][tab.handlers.parts.conversations])


def test_a_stop_before_the_first_word_counts(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()

    async def go() -> None:
        sending = tab.send("A question")
        await anext(sending)
        await tab.handlers.stop({tab.handlers.view: tab.view}, tab.request())
        await rest(sending)

    run(go())
    path = tab.turns.store.load(ME, str(tab.view.conversation_id)).path
    assert len(path) == 1 or path[1].finish == "cancelled"


def test_a_stop_of_what_has_ended_gives_the_button_back(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    composer = tab.handlers.parts.composer

    async def stop() -> dict[Any, Any]:
        return await tab.handlers.stop({tab.handlers.view: tab.view}, tab.request())

    async def go() -> tuple[dict[Any, Any], dict[Any, Any]]:
        sending = tab.send("A question", max_new_tokens=900)
        await anext(sending)
        during = await stop()
        await rest(sending)
        return during, await stop()

    during, after = run(go())
    assert composer not in during
    assert after[composer].submit_btn and not after[composer].stop_btn


def test_what_is_refused_comes_back_into_the_composer(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    emptied, back, told = run(rest(tab.send("x" * 5001)))
    composer = tab.handlers.parts.composer
    assert emptied[composer].value == {"text": "", "files": []}
    assert back[composer].value["text"] == "x" * 5001
    assert "5,001 characters" in tab.sentence([told])


def test_who_has_sent_enough_keeps_their_words_and_the_conversation(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()
    tab.turns.allowances = Allowances(messages_per_minute=2)
    left = tab.handlers.parts.allowances

    def last_left(steps: list[dict[Any, Any]]) -> str:
        return [str(step[left]) for step in steps if left in step][-1]

    assert "1 of 2 messages" in last_left(run(rest(tab.send("One", max_new_tokens=4))))
    path = tab.turns.store.load(ME, str(tab.view.conversation_id)).path
    assert "0 of 2 messages" in last_left(run(rest(tab.act("regenerate"))))
    for steps in (tab.act("edit", message=path[0].id, text="Other"), tab.act("regenerate")):
        assert "You have sent 2 messages" in tab.sentence(run(rest(steps)))
    refused = run(rest(tab.send("Two")))
    assert "You have sent 2 messages" in tab.sentence(refused)
    assert refused[1][tab.handlers.parts.composer].value["text"] == "Two"
    after = tab.turns.store.load(ME, str(tab.view.conversation_id)).path
    assert after[0].text == "One" and len(after) == len(path)
    assert tab.turns.replies.running(tab.view.conversation_id) is None


def test_replies_at_once_are_given_back_with_their_tokens(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.turns.allowances = Allowances(replies_at_once=1, tokens_per_day=100)
    for _ in range(3):
        run(rest(tab.send("One", max_new_tokens=4)))
    run(rest(tab.send("x" * 5001)))  # refused for another reason, its place is free again
    run(rest(tab.send("One", max_new_tokens=4)))
    (tokens,) = tab.turns.allowances.left(Person(ME))
    written = sum(
        one.record.generated_tokens
        for one in tab.turns.store.load(ME, str(tab.view.conversation_id)).path
        if one.record is not None
    )
    assert tokens.left == 100 - written


def test_the_end_of_a_reply_does_not_bring_back_what_was_left(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = new_tab()
    ended = tab.handlers.following.ended

    def ended_late(*arguments: Any) -> Any:
        updates = ended(*arguments)
        tab.view.leave()  # a click on another conversation comes in just now
        tab.view.conversation_id = None
        return updates

    monkeypatch.setattr(tab.handlers.following, "ended", ended_late)
    steps = run(rest(tab.send("A question", max_new_tokens=4)))
    assert steps[-1] == {tab.handlers.parts.live: ""}


def test_a_reply_goes_on_until_the_last_page_that_shows_it_is_gone(
    new_tab: Callable[..., Tab],
) -> None:
    first = new_tab()

    async def go() -> LiveReply:
        sending = first.send("A long one")
        while first.view.conversation_id is None:
            await anext(sending)
        live = first.running()
        second = new_tab(c=live.conversation_id)
        opening = second.handlers.open_page(second.values(), second.request())
        for steps in (sending, opening, opening):
            await anext(steps)
        await opening.aclose()
        words = live.progress.tokens
        await until(lambda: live.progress.tokens > words + 4)
        await sending.aclose()
        await until(lambda: live.ended)
        return live

    live = run(go())
    reply = first.turns.store.load(ME, live.conversation_id).path[1]
    assert reply.finish == "cancelled"


def test_a_frame_is_rendered_beside_the_event_loop(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = new_tab()
    rendered, progress = [], tab.handlers.showing.progress

    def watched(*arguments: Any) -> Any:
        rendered.append((threading.current_thread(), arguments[0].text))
        return progress(*arguments)

    monkeypatch.setattr(tab.handlers.showing, "progress", watched)
    loop: set[threading.Thread] = set()

    async def go() -> None:
        loop.add(threading.current_thread())
        await rest(tab.send("A question"))

    run(go())
    threads = [thread for thread, text in rendered if text]
    assert threads and not loop.intersection(threads)


def test_half_a_character_is_searched_for_and_not_found(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    (step,) = run(rest(tab.act("search", text="a\udc00b")))
    assert str(step[tab.handlers.parts.conversations]).encode()


@pytest.mark.parametrize(
    "chosen",
    [
        GenerationSettings(
            temperature=2, top_p=0.001, repetition_penalty=2, seed=0, top_k=MAX_TOP_K
        ),
        GenerationSettings(temperature=0, top_p=1, max_new_tokens=MAX_NEW_TOKENS_LIMIT),
    ],
)
def test_gradio_refuses_no_setting_that_may_be_the_default(chosen: GenerationSettings) -> None:
    options = Options(None, None, chosen)
    with gr.Blocks():
        parts = layout.build(options, (), (), 5000)
    values = {field: field.preprocess(field.value) for field in parts.settings.fields}
    read = parts.settings.options(values, chosen.deadline_s)
    assert read.generation == chosen


@pytest.mark.parametrize(("written", "top_k"), [(7, 7), (0, 0), (None, 0)])
def test_top_k_goes_with_the_conversation(
    new_tab: Callable[..., Tab], written: int | None, top_k: int
) -> None:
    tab = new_tab()
    run(rest(tab.send("A question", max_new_tokens=4, top_k=written)))
    other = new_tab(c=tab.view.conversation_id)
    steps = run(rest(other.handlers.open_page(other.values(), other.request())))
    field = other.handlers.parts.settings.top_k
    assert [step[field] for step in steps if field in step][-1] == top_k


def test_a_wrong_top_k_is_named(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    steps = run(rest(tab.send("A question", top_k=-1)))
    assert "top_k must be between 0 and" in tab.sentence(steps)


def test_a_page_is_told_which_model_there_is_when_it_shows_another(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()
    model = tab.handlers.parts.model
    first, second = (run(rest(tab.act("search", text="x"))) for _ in range(2))
    assert "tiny" in first[0][model]
    assert model not in second[0]
    (looked,) = run(rest(tab.act("look")))
    assert "tiny" in looked[model]


def test_a_model_that_is_not_offered_is_refused(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    steps = run(rest(tab.act("switch", value="/models/of/the/host")))
    assert "not offered" in tab.sentence(steps)
    assert tab.turns.engine.model.id == "tiny"


def test_the_watch_ends_when_the_model_is_there(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    asked_id = asked(tab, "Hello")
    tab.view.conversation_id = asked_id
    tab.view.known = True
    parts = tab.handlers.parts
    shown = run(tab.handlers.watch({tab.handlers.view: tab.view}, tab.request()))
    assert shown[parts.watch].active is False
    assert "% of context" in shown[parts.meter]
    assert "vicuna_v1" in shown[parts.settings.own_template]
