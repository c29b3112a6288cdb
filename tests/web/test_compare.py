"""The Compare tab without a browser: both answer, nobody is told who, a failing side says so."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llava_chat.engine.base import Opening
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import CheckpointError
from llava_chat.feedback import Feedback, votes
from llava_chat.progress import Report
from llava_chat.store import ConversationStore
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.replies import Progress
from llava_chat.web.compare.rounds import live_side
from tests.web.compare_tabs import (
    CompareTab,
    NewTab,
    compare_tabs,
    names_of,
    new_compare,
    new_long,
    other,
    vote,
)
from tests.web.conftest import run
from tests.web.tabs import ME, SOMEBODY, rest, until

__all__ = ["new_compare", "new_long", "other"]  # the fixtures


def everything(steps: list[dict[Any, Any]]) -> str:
    """All that the browser would be told."""
    return json.dumps(
        [{str(key): _plain(value) for key, value in step.items()} for step in steps], default=str
    )


def _plain(value: object) -> object:
    return value.get_config() if hasattr(value, "get_config") else value


def test_both_answer_and_the_names_come_with_the_vote(
    new_compare: NewTab, store: ConversationStore
) -> None:
    Feedback.of(store).decide(ME, True)
    tab = new_compare()
    steps = run(rest(tab.send("What is it?")))
    shown = tab.shown(steps)
    assert shown.count('class="side"') == 2 and shown.count('data-click="choose"') == 4
    assert "hidden until you vote" in shown and "tokens/s" not in shown
    vote(tab, 1, "left")
    shown = tab.shown(run(rest(tab.act("look"))))
    left, right = names_of(tab)
    assert shown.index("side chosen") < shown.index(left) and right in shown
    assert "hidden until you vote" not in shown and "You found A better." in shown
    shown = tab.shown(run(rest(tab.send("And now?"))))
    assert "hidden until" not in shown and shown.count('data-click="choose"') == 4
    vote(tab, 2, "both_bad")
    found = [one for one in votes(store) if one.comparison_id == tab.view.comparison_id]
    assert [(one.blind, one.choice, one.turn) for one in found] == [
        (True, "left", 1),
        (False, "both_bad", 2),
    ]
    assert {found[0].left, found[0].right} == {left, right}


def test_nothing_that_the_browser_is_told_names_a_side(new_compare: NewTab) -> None:
    tab = new_compare()
    steps = run(rest(tab.send("What is it?")))
    steps += run(rest(tab.send("And now?")))
    opened = new_compare(compare=tab.view.comparison_id or "")
    steps += run(rest(opened.handlers.open_page(opened.values(), opened.request())))
    comparison = tab.pairs.comparisons.load(ME, tab.view.comparison_id or "")
    told = everything(steps)
    assert comparison.id in told
    hidden = (*names_of(tab), comparison.left_id, comparison.right_id)
    for word in (*hidden, tab.pairs.turns.engine.model.id, "temperature"):
        assert word not in told


def test_a_comparison_is_shown_to_its_owner_alone(new_compare: NewTab) -> None:
    mine = new_compare()
    run(rest(mine.send("What is it?")))
    theirs = new_compare(SOMEBODY, compare=mine.view.comparison_id or "")
    steps = run(rest(theirs.handlers.open_page(theirs.values(), theirs.request())))
    assert "no such comparison" in theirs.sentence(steps)
    assert "What is it?" not in everything(steps) and theirs.view.comparison_id is None


def test_stop_ends_both_and_keeps_their_words(new_long: NewTab) -> None:
    async def stopped(tab: CompareTab) -> list[dict[Any, Any]]:
        steps = []
        async with aclosing(tab.send("Go on and on")) as sent:
            async for step in sent:
                steps.append(step)
                if tab.view.comparison_id is None:
                    continue
                comparison = tab.pairs.comparisons.load(ME, tab.view.comparison_id)
                writing = tab.pairs.running(comparison).writing
                if len(writing) == 2 and all(live.progress.tokens > 3 for live in writing):
                    await tab.handlers.stop(tab.values(), tab.request())
        return steps

    tab = new_long()
    shown = tab.shown(run(stopped(tab)))
    assert shown.count("Stopped.") == 2 and shown.count('data-click="choose"') == 4


def test_who_leaves_ends_both(new_long: NewTab) -> None:
    async def leave(tab: CompareTab) -> None:
        sent = tab.send("Go on and on")
        async for _ in sent:
            if tab.view.comparison_id is not None:
                break
        comparison = tab.pairs.comparisons.load(ME, tab.view.comparison_id or "")
        lives = tab.pairs.running(comparison).writing
        assert len(lives) == 2
        await sent.aclose()
        await until(lambda: all(live.ended for live in lives))

    run(leave(new_long()))


def test_a_side_without_a_reply_says_so_and_tries_again(new_compare: NewTab) -> None:
    tab = new_compare()
    run(rest(tab.send("What is it?")))
    comparison = tab.pairs.comparisons.load(ME, tab.view.comparison_id or "")
    sides = tab.pairs.turns.store
    for side in (comparison.left_id, comparison.right_id):
        asked = sides.add_user(ME, side, "And now?", ())
        if side == comparison.left_id:
            sides.add_reply(ME, side, asked.id, "left says", None, "stop", None)
    tab.view.failures = {comparison.right_id: "RuntimeError in other"}
    shown = tab.shown(run(rest(tab.act("look"))))
    assert "This reply could not be made. A vote needs both replies." in shown
    assert "RuntimeError" not in shown and 'data-click="choose"' not in shown
    assert "One side has no reply yet" in tab.sentence(run(rest(tab.send("And then?"))))
    shown = tab.shown(run(rest(tab.act("again"))))
    assert "could not be made" not in shown and shown.count('data-click="choose"') == 4
    assert "left says" in shown


def test_no_sentence_of_an_engine_tells_which_side_it_is(
    engine: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> None:
    def missing(name: str, report: Report) -> LocalEngine:
        raise CheckpointError("other is missing")

    broken = SwitchingEngine(missing, "other")
    with pytest.raises(CheckpointError):
        broken.wait()
    tab = compare_tabs(engine, store, tmp_path, {"other": broken})("kim")
    left, right = tab.pairs.contestants.pair(tab.pairs.contestants.first_two())
    comparison = tab.pairs.comparisons.begin("kim", left.label, right.label)
    tab.view.comparison_id = comparison.id
    sides = tab.pairs.turns.store
    for id, one in ((comparison.left_id, left), (comparison.right_id, right)):
        asked = sides.add_user("kim", id, "What is it?", (), options=one.settings.to_keep())
        if one.settings.model == "tiny":
            sides.add_reply("kim", id, asked.id, "says", None, "stop", None)
    steps = run(rest(tab.act("again")))
    assert "This side cannot answer just now." in tab.sentence(steps)
    assert "other" not in everything(steps)


def test_a_comparison_is_deleted_while_both_write(
    new_long: NewTab, store: ConversationStore
) -> None:
    async def deleted(tab: CompareTab) -> None:
        sent = tab.send("Go on and on")
        async for _ in sent:
            if tab.view.comparison_id is not None:
                break
        steps = [step async for step in tab.act("delete")]
        assert "Which one answers better?" in tab.shown(steps)
        assert [step async for step in sent] == []  # nothing more is shown of it

    run(deleted(new_long("lea")))
    assert store.sides().list("lea") == []


def test_both_are_asked_or_neither(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> None:
    limited = Allowances(replies_at_once=1)
    tab = compare_tabs(engine, store, tmp_path, {"other": other}, limited)("eve")
    sentence = tab.sentence(run(rest(tab.send("What is it?"))))
    assert "1 reply is being written for you" in sentence
    assert tab.view.comparison_id is None and store.sides().list("eve") == []


def test_a_refused_message_leaves_both_sides_as_they_were(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> None:
    limited = Allowances(messages_per_minute=3)
    tab = compare_tabs(engine, store, tmp_path, {"other": other}, limited)("eve")
    run(rest(tab.send("What is it?")))
    assert "You have sent 3 messages" in tab.sentence(run(rest(tab.send("And now?"))))
    sides = tab.pairs.load("eve", tab.view.comparison_id or "")
    assert [len(side.path) for side in sides.both] == [2, 2]


def test_another_comparison_begins_with_the_setup(new_compare: NewTab) -> None:
    tab = new_compare()
    run(rest(tab.send("What is it?")))
    steps = run(rest(tab.act("new")))
    assert "Which one answers better?" in tab.shown(steps) and tab.view.comparison_id is None
    with_choices = [step[tab.handlers.parts.contestants[0].who] for step in steps]
    assert [label for label, _ in with_choices[-1].choices][-1] == "Any, drawn by lot"


def test_a_side_that_has_ended_says_so_and_a_blind_one_has_no_speed() -> None:
    ended = Progress(phase="ended", text="A circle.", tokens=9, tokens_per_s=50.0)
    assert "Done. The other one still writes." in live_side(ended, 0, None)
    writing = replace(ended, phase="writing")
    assert "tokens/s" not in live_side(writing, 1, None)
    assert "50 tokens/s" in live_side(writing, 1, "scenes")
    opening = Progress(phase="opening", opening=Opening("scenes"))
    assert "scenes" not in live_side(opening, 0, None)


def test_replies_are_written_at_the_same_time(new_long: NewTab) -> None:
    async def seen_together(tab: CompareTab) -> bool:
        together = False
        async with aclosing(tab.send("Go on and on")) as sent:
            async for step in sent:
                parts = tab.handlers.parts
                left, right = (str(step.get(part, "")) for part in (parts.left, parts.right))
                together |= 'class="text md"' in left and 'class="text md"' in right
                if together:
                    await tab.handlers.stop(tab.values(), tab.request())
        return together

    assert run(seen_together(new_long()))
