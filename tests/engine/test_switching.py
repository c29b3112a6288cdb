"""One engine after the other: real ones around random weights, opened when a test lets them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Event, Failed, GenerationSettings, Opening, Queued
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.states import NotOpened, Ready, State
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import (
    CheckpointError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    EngineOpeningError,
)
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.llava import LlavaModel
from llava_chat.progress import Progress, Report
from tests.engine.local.conftest import Gate, tiny_checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=6)
HELLO = Conversation((Turn("user", "Hello"),))
HALF = Progress("reading the weights", 7_100_000_000, 14_200_000_000, "bytes")


class Openers:
    """Opens tiny models by name, each when its door is opened; `broken` names fail.

    opened: the names in order. alive: how many models lived when each began to be opened.
    """

    def __init__(self, make: Callable[[str], Checkpoint]) -> None:
        self._make = make
        self._models = weakref.WeakSet[LlavaModel]()
        self.doors: dict[str, threading.Event] = {}
        self.began: dict[str, threading.Event] = {}
        self.broken: set[str] = set()
        self.opened: list[str] = []
        self.alive: list[int] = []
        self.engine: SwitchingEngine | None = None

    def hold(self, name: str) -> threading.Event:
        """Keep that model from being opened until the event is set."""
        self.began[name] = threading.Event()
        return self.doors.setdefault(name, threading.Event())

    def __call__(self, name: str, report: Report) -> LocalEngine:
        self.alive.append(len(self._models))
        self.opened.append(name)
        report(HALF)
        if name in self.doors:
            self.began[name].set()
            assert self.doors[name].wait(60)
            report(HALF)
        checkpoint = self._make(name)
        self._models.add(checkpoint.model)
        if name in self.broken:
            raise CheckpointError(f"{name} is broken.") from ValueError("not a number")
        return LocalEngine(checkpoint, slots=1)

    def start(self, first: str = "first", **options: int) -> SwitchingEngine:
        """Begin to open the first one."""
        self.engine = SwitchingEngine(self, first, **options)
        return self.engine


@pytest.fixture
def openers(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[Openers]:
    made = Openers(lambda name: replace(random_checkpoint(), id=name))
    yield made
    for door in made.doors.values():
        door.set()
    if made.engine is not None:
        made.engine.close(grace_s=0)


def state(engine: SwitchingEngine) -> State:
    return engine.state


def last(events: Iterator[Event]) -> Event:
    *_, event = events
    return event


def done(events: Iterator[Event]) -> Done:
    event = last(events)
    assert isinstance(event, Done), event
    return event


def test_it_opens_behind_and_says_how_far_it_is(openers: Openers) -> None:
    door = openers.hold("first")
    engine = openers.start()
    assert openers.began["first"].wait(60)
    assert state(engine) == Opening("first", HALF)
    sentence = r"first is still being loaded \(reading the weights: 7.1 of 14.2 GB\)"
    for needs_a_model in (
        lambda: engine.model,
        lambda: engine.context_use(HELLO),
        lambda: engine.switch("second"),
    ):
        with pytest.raises(EngineOpeningError, match=sentence):
            needs_a_model()
    door.set()
    model = engine.wait()
    assert state(engine) == Ready("first", model)
    assert engine.model == model
    assert engine.context_use(HELLO).context_tokens == model.context_tokens


def held(checkpoint: Checkpoint, gate: Gate) -> Checkpoint:
    """Its replies about pictures wait at the gate."""
    checkpoint.model.tower.register_forward_pre_hook(gate)
    return checkpoint


def test_what_is_asked_meanwhile_is_answered_in_order(
    openers: Openers, random_checkpoint: Callable[..., Checkpoint], pictures: tuple[Picture, ...]
) -> None:
    gate = Gate()
    openers._make = lambda name: held(replace(random_checkpoint(), id=name), gate)
    door = openers.hold("first")
    engine = openers.start()
    look = Conversation((Turn("user", "What is it?", pictures[:1]),))
    streams = [engine.stream(each, GREEDY) for each in (look, HELLO, HELLO)]
    assert openers.began["first"].wait(60)
    assert next(streams[0]) == Opening("first", HALF)
    door.set()
    assert gate.reached.wait(60)
    engine.wait()
    places = [next(event for event in each if isinstance(event, Queued)) for each in streams[1:]]
    assert places == [Queued(1), Queued(2)]
    gate.open.set()
    assert [done(each).model for each in streams] == [engine.model] * 3


def test_time_counts_from_when_there_is_a_model(openers: Openers) -> None:
    door = openers.hold("first")
    engine = openers.start()
    stream = engine.stream(HELLO, GREEDY)
    threading.Event().wait(0.2)
    there_s = time.monotonic()
    door.set()
    reply = done(stream)
    assert reply.total_s <= time.monotonic() - there_s


def test_whoever_stops_waiting_leaves_the_line(openers: Openers) -> None:
    door = openers.hold("first")
    engine = openers.start(max_held=1)
    stream = engine.stream(HELLO, GREEDY)
    with pytest.raises(EngineBusyError, match="waiting for first"):
        engine.stream(HELLO, GREEDY)
    stream.cancel()
    ended = done(stream)
    assert (ended.finish, ended.text, ended.token_ids) == ("cancelled", "", ())
    engine.stream(HELLO, GREEDY).close()
    other = engine.stream(HELLO, GREEDY)
    door.set()
    assert done(other).token_ids


def test_a_switch_lets_replies_end_and_the_old_model_go(
    openers: Openers, random_checkpoint: Callable[..., Checkpoint], pictures: tuple[Picture, ...]
) -> None:
    gate = Gate()
    openers._make = lambda name: held(replace(random_checkpoint(), id=name), gate)
    engine = openers.start()
    engine.wait()
    look = Conversation((Turn("user", "What is it?", pictures[:1]),))
    running, waiting = engine.stream(look, GREEDY), engine.stream(HELLO, GREEDY)
    assert gate.reached.wait(60)
    engine.switch("second")
    assert engine.state == Opening("second", waiting_for=2)
    later = engine.stream(HELLO, GREEDY)
    assert openers.opened == ["first"]
    gate.open.set()
    ids = [reply.model.id for each in (running, waiting, later) if (reply := done(each)).model]
    assert ids == ["first", "first", "second"]
    assert engine.wait().id == "second"
    assert openers.alive == [0, 0]


def test_switching_to_what_is_there_does_nothing(openers: Openers) -> None:
    engine = openers.start()
    ready = engine.wait()
    engine.switch("first")
    assert engine.state == Ready("first", ready)
    assert openers.opened == ["first"]


def test_what_cannot_be_opened_brings_the_old_one_back(openers: Openers) -> None:
    openers.broken.add("second")
    engine = openers.start()
    engine.wait()
    engine.switch("second")
    later = engine.stream(HELLO, GREEDY)
    model = engine.wait()
    problem = "second is broken. first answers again."
    assert engine.state == Ready("first", model, problem)
    assert done(later).model == model
    assert openers.opened == ["first", "second", "first"]
    assert openers.alive == [0, 0, 0]
    engine.switch("third")
    assert engine.wait().id == "third"
    assert engine.state == Ready("third", engine.model)


def test_when_neither_opens_another_may(openers: Openers) -> None:
    engine = openers.start()
    engine.wait()
    openers.broken |= {"first", "second"}
    engine.switch("second")
    held = engine.stream(HELLO, GREEDY)
    with pytest.raises(CheckpointError, match="first is broken"):
        engine.wait()
    assert isinstance(last(held), Failed)
    with pytest.raises(EngineError, match="first is broken"):
        engine.stream(HELLO, GREEDY)
    engine.switch("third")
    assert engine.wait().id == "third"


def test_the_first_one_that_cannot_be_opened_is_told_as_it_is(openers: Openers) -> None:
    openers.broken.add("first")
    door = openers.hold("first")
    engine = openers.start()
    held = engine.stream(HELLO, GREEDY)
    door.set()
    with pytest.raises(CheckpointError, match="first is broken") as told:
        engine.wait()
    assert isinstance(told.value.__cause__, ValueError)
    assert isinstance(engine.state, NotOpened)
    failed = last(held)
    assert isinstance(failed, Failed) and "first is broken" in str(failed.error)


def test_closing_gives_up_what_is_being_opened(openers: Openers) -> None:
    door = openers.hold("first")
    engine = openers.start()
    held = engine.stream(HELLO, GREEDY)
    assert openers.began["first"].wait(60)
    closing = threading.Thread(target=engine.close, args=(60,))
    closing.start()
    failed = last(held)
    assert isinstance(failed, Failed) and isinstance(failed.error, EngineClosedError)
    door.set()
    closing.join(60)
    assert not engine.still_opening
    for refused in (lambda: engine.stream(HELLO, GREEDY), engine.wait, lambda: engine.switch("x")):
        with pytest.raises(EngineClosedError):
            refused()
    gc.collect()
    assert len(openers._models) == 0


def test_a_conversation_goes_on_in_the_words_of_the_next_model(
    openers: Openers,
    random_checkpoint: Callable[..., Checkpoint],
    byte_level: PreTrainedTokenizerFast,
) -> None:
    other = replace(tiny_checkpoint(byte_level), id="second", template="qwen_1_5")
    openers._make = lambda name: random_checkpoint() if name == "first" else other
    engine = openers.start()
    engine.wait()
    first = done(engine.stream(HELLO, GREEDY))
    engine.switch("second")
    assert engine.wait().template == "qwen_1_5"
    told = Turn("assistant", first.text, token_ids=first.token_ids)
    asked = Conversation((*HELLO.turns, told, Turn("user", "And now?")))
    reply = done(engine.stream(asked, GREEDY))
    by_words = replace(asked, turns=(HELLO.turns[0], replace(told, token_ids=None), asked.turns[2]))
    assert reply.prompt_tokens == engine.context_use(by_words).prompt_tokens
    chosen = replace(by_words, template="llava_v1")
    assert reply.prompt_tokens != engine.context_use(chosen).prompt_tokens
