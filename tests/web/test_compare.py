"""The Compare tab without a browser: both answer, nobody is told who, a failing side says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat import ASSETS
from llava_chat.assembly import OfferedModel, check_engine, compared_models
from llava_chat.engine.base import Opening
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import CheckpointError, InputError, SettingError
from llava_chat.feedback import Feedback, Vote, votes
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.progress import Report
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.training.adapter.lora import Lora, put_on, save_adapter
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.replies import Progress
from llava_chat.web.compare.beside import engines_beside
from llava_chat.web.compare.contestants import ANY
from llava_chat.web.compare.rounds import live_side
from tests.web.compare_tabs import CompareTab, compare_tabs
from tests.web.conftest import run
from tests.web.tabs import ME, SOMEBODY, rest, until

SCENES = ASSETS / "scenes"
NewTab = Callable[..., CompareTab]


@pytest.fixture(scope="module")
def other(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[SwitchingEngine]:
    """A second model, opened beside the first."""
    checkpoint = replace(random_checkpoint(), id="other")
    engine = SwitchingEngine(lambda name, report: LocalEngine(checkpoint), "other")
    engine.wait()
    yield engine
    engine.close(grace_s=0)


@pytest.fixture
def new_compare(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> NewTab:
    return compare_tabs(engine, store, tmp_path, {"other": other})


@pytest.fixture
def new_long(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> NewTab:
    """Of a server whose replies go on until they are stopped."""
    return compare_tabs(engine, store, tmp_path, {"other": other}, max_new_tokens=900)


@pytest.fixture
def alone(engine: SwitchingEngine, store: ConversationStore, tmp_path: Path) -> NewTab:
    """Of a server with one model."""
    return compare_tabs(engine, store, tmp_path, {})


def vote(tab: CompareTab, turn: int, choice: str) -> None:
    assert tab.view.comparison_id is not None
    given = Vote(f"{tab.view.comparison_id}{turn}", turn, choice)
    tab.pairs.comparisons.vote(tab.owner, tab.view.comparison_id, given)


def everything(steps: list[dict[Any, Any]]) -> str:
    """All that the browser would be told."""
    return json.dumps(
        [{str(key): _plain(value) for key, value in step.items()} for step in steps], default=str
    )


def _plain(value: object) -> object:
    return value.get_config() if hasattr(value, "get_config") else value


def names_of(tab: CompareTab) -> tuple[str, str]:
    assert tab.view.comparison_id is not None
    told = tab.pairs.comparisons.load(tab.owner, tab.view.comparison_id)
    return told.left_name, told.right_name


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


def test_the_order_is_drawn_for_each_comparison(new_compare: NewTab) -> None:
    tab = new_compare()
    choices = tab.pairs.contestants.first_two()
    drawn = {tab.pairs.contestants.pair(choices)[0].settings.model for _ in range(64)}
    assert drawn == {"tiny", "other"}  # one of 2**63 runs sees one order only


def test_one_model_is_compared_with_itself_sampled_otherwise(alone: NewTab) -> None:
    contestants = alone().pairs.contestants
    first, second = contestants.first_two()
    assert first.label == second.label and first != second
    assert len({one.label for one in contestants.pair((first, second))}) == 2
    with pytest.raises(InputError, match="Both contestants are the same"):
        contestants.pair((first, first))


def test_any_two_are_two(new_compare: NewTab) -> None:
    contestants = new_compare().pairs.contestants
    usual = contestants.first_two()[0]
    any_one = replace(usual, label=ANY)
    for choices in ((any_one, any_one), (any_one, usual), (usual, any_one)):
        assert {one.settings.model for one in contestants.pair(choices)} == {"tiny", "other"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": "nobody"}, "not offered here any more"),
        ({"temperature": -1}, "temperature must be between 0 and 2"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"repetition_penalty": 9}, "repetition_penalty must be between 1 and 2"),
    ],
)
def test_a_contestant_that_cannot_be_is_refused_and_nothing_is_kept(
    changes: dict[str, Any], sentence: str, new_compare: NewTab, store: ConversationStore
) -> None:
    tab = new_compare(owner="somebody new")
    first, second = tab.pairs.contestants.first_two()
    steps = run(rest(tab.send("What is it?", (replace(first, **changes), second))))
    assert sentence in tab.sentence(steps)
    part = tab.handlers.parts.composer
    composer = [step[part] for step in steps if part in step][-1]
    assert composer.value["text"] == "What is it?"
    assert tab.view.comparison_id is None and store.sides().list("somebody new") == []


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


def test_a_comparison_does_not_go_on_with_another_model(new_compare: NewTab, alone: NewTab) -> None:
    tab = new_compare()
    run(rest(tab.send("What is it?")))
    later = alone(compare=tab.view.comparison_id or "")
    run(rest(later.handlers.open_page(later.values(), later.request())))
    sentence = later.sentence(run(rest(later.send("And now?"))))
    assert "another model was chosen for this server" in sentence
    sides = later.pairs.load(ME, tab.view.comparison_id or "")
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


def write_adapter(checkpoint: Checkpoint, folder: Path) -> None:
    lora = Lora(4, 8)
    put_on(checkpoint.model, lora, 0)
    for name, weight in checkpoint.model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * 0.1
    save_adapter(checkpoint.model, lora, folder, base="tiny")


def test_an_adapter_is_a_contestant_as_soon_as_it_is_there(
    random_checkpoint: Callable[..., Checkpoint], store: ConversationStore, tmp_path: Path
) -> None:
    shelf = tmp_path / "adapters"
    opened = LocalEngine(random_checkpoint(), adapters=AdapterFolders(shelf))
    engine = SwitchingEngine(lambda name, report: opened, "tiny")
    engine.wait()
    Feedback.of(store).decide("leo", True)
    tab = compare_tabs(engine, store, tmp_path, {})("leo")
    assert [offer.label for offer in tab.pairs.contestants.offered()] == ["tiny"]
    write_adapter(random_checkpoint(), shelf / "crimson")
    labels = [choice.label for choice in tab.pairs.contestants.first_two()]
    assert labels == ["tiny", "tiny + crimson"]
    run(rest(tab.send("What is it?")))
    vote(tab, 1, "right")
    (found,) = [one for one in votes(store) if one.comparison_id == tab.view.comparison_id]
    assert (found.left, found.right) == names_of(tab)
    assert {found.left, found.right} == {"tiny (temperature 0)", "tiny + crimson (temperature 0)"}
    engine.close(grace_s=0)


def test_models_beside_the_first_are_opened_one_after_the_other(
    random_checkpoint: Callable[..., Checkpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    go_on = threading.Event()

    def opens(name: str, report: Report) -> LocalEngine:
        if name == "first":
            assert go_on.wait(60)
        order.append(name)
        return LocalEngine(random_checkpoint())

    first = SwitchingEngine(opens, "first")
    models = [OfferedModel(name, name, "1 GB") for name in ("second", "third")]
    engines = engines_beside(first, models, opens, 4)
    assert order == [] and list(engines) == ["second", "third"]
    go_on.set()
    engines["third"].wait()
    assert order == ["first", "second", "third"]
    assert "Compare has second too, 1 GB." in capsys.readouterr().err
    for engine in (first, *engines.values()):
        engine.close(grace_s=0)


def test_compare_with_names_models_once_and_not_of_a_server(tmp_path: Path) -> None:
    beside = compared_models(Settings(compare_with=("scenes", str(SCENES), str(SCENES))))
    assert [model.label for model in beside] == ["scenes (2)"] and "MB" in beside[0].needs
    assert compared_models(Settings()) == ()
    remote = Settings(engine="remote", engine_url=("http://x/v1",), compare_with=("scenes",))
    with pytest.raises(SettingError, match="--compare-with is for a model in this process"):
        check_engine(remote)
