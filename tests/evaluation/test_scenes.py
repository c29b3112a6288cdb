"""How well a model answers, with engines of which that is known."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    AdapterChoice,
    ContextUse,
    Done,
    EngineLoad,
    Event,
    Failed,
    GenerationSettings,
    Looking,
    ModelInfo,
    Token,
)
from llava_chat.errors import EngineError
from llava_chat.evaluation.scenes import (
    GOALS,
    Tally,
    evaluate_scenes,
    figures,
    held_out,
    table,
    write_wrong,
)
from llava_chat.training.scenes.dialogue import random_dialogue
from llava_chat.training.scenes.manners import NON_SCENE_REPLY
from llava_chat.training.scenes.world import CORE, FURTHER, World

TURNS, SEED = 4, 5


class Told(Iterator[Event]):
    """A stream of events that are known."""

    def __init__(self, *events: Event) -> None:
        self._events = iter(events)

    def __next__(self) -> Event:
        return next(self._events)

    def cancel(self) -> None:
        """Nothing to stop."""

    close = cancel


class Scripted:
    """A ChatEngine that gives prepared answers, one after another."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = iter(answers)
        self.asked: list[Conversation] = []

    @property
    def model(self) -> ModelInfo:
        return ModelInfo("scripted", "1", "vicuna_v1", 1024, 0, "", "cpu", "float32")

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> Told:
        assert settings.greedy
        self.asked.append(conversation)
        text = next(self.answers)
        looking = Looking(len(conversation.turns[0].images), 9, 0)
        return Told(looking, Token(text, 5), Done(text, (5,), "stop", 9, 0, 0, None, 0.0, 0.0))

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse:
        return ContextUse(9, 1024, 0)

    def adapters(self) -> tuple[AdapterChoice, ...]:
        return ()

    def load(self) -> EngineLoad:
        return EngineLoad(0, 0)

    def close(self, grace_s: float = 10.0) -> None:
        """Nothing to end."""


def evaluated(
    answer: Callable[[str], str], pictures: int = 12, world: World = CORE
) -> tuple[Tally, Scripted]:
    talks = [held_out(number, SEED, TURNS, world).talk for number in range(pictures)]
    engine = Scripted([answer(exchange.answer) for talk in talks for exchange in talk])
    tally = evaluate_scenes(engine, pictures=pictures, turns=TURNS, seed=SEED, world=world)
    return tally, engine


def test_right_answers_are_all_right() -> None:
    tally, _ = evaluated(lambda answer: answer, pictures=60)
    assert tally.share("taken for no scene") == 0 and tally.asked["taken for no scene"] > 100
    kinds = set(tally.asked) - {"taken for no scene"}
    assert kinds >= set(GOALS) - {"taken for no scene", "reading", "box"}
    assert {tally.share(kind) for kind in kinds} == {1}
    assert tally.wrong == []


def test_boxes_count_by_how_much_they_share() -> None:
    tally, _ = evaluated(lambda answer: answer, pictures=60, world=FURTHER)
    assert set(tally.asked) >= set(GOALS)
    # Two digits behind the point take a little of a small box.
    assert 0.85 < tally.share("box") < 1
    assert tally.share("reading") == 1 and tally.wrong == []


def test_wrong_answers_are_all_wrong() -> None:
    tally, engine = evaluated(lambda _: "Bananas.")
    assert not any(tally.right.values())
    assert len(tally.wrong) == len(engine.asked) > 30
    assert {"kind", "shown", "question", "expected", "answer"} < set(tally.wrong[0])


def test_scenes_taken_for_photographs_are_counted() -> None:
    tally, _ = evaluated(lambda _: NON_SCENE_REPLY, pictures=20)
    assert tally.share("taken for no scene") == 1
    assert tally.share("non-scene") == 1
    assert tally.share("colour") == 0


def test_each_question_follows_the_models_own_answers() -> None:
    _, engine = evaluated(lambda answer: f"{answer} Indeed.", pictures=40)
    longest = max(engine.asked, key=lambda conversation: len(conversation.turns))
    assert [turn.role for turn in longest.turns] == ["user", "assistant"] * 3 + ["user"]
    assert all(turn.text.endswith(" Indeed.") for turn in longest.turns[1::2])
    assert all(turn.token_ids == (5,) for turn in longest.turns[1::2])
    assert not any(turn.images for turn in longest.turns[1:])
    shown = [bool(conversation.turns[0].images) for conversation in engine.asked]
    assert True in shown and False in shown


def test_a_failing_engine_says_why() -> None:
    class Failing(Scripted):
        def stream(self, conversation: Conversation, settings: GenerationSettings) -> Told:
            return Told(Failed(EngineError("It broke.")))

    class Silent(Scripted):
        def stream(self, conversation: Conversation, settings: GenerationSettings) -> Told:
            return Told(Looking(0, 9, 0))

    with pytest.raises(EngineError, match=r"It broke\."):
        evaluate_scenes(Failing([]), pictures=1)
    with pytest.raises(EngineError, match="without saying how"):
        evaluate_scenes(Silent([]), pictures=1)


def test_the_held_out_set_is_one_and_the_same() -> None:
    first, again = held_out(7, SEED, TURNS), held_out(7, SEED, TURNS)
    assert (first.talk, first.scene) == (again.talk, again.scene)
    assert first.pixels is not None and again.pixels is not None
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert held_out(7, SEED + 1, TURNS).scene != first.scene


def test_the_held_out_set_is_never_trained_on() -> None:
    held = {held_out(number, 1, 1).scene for number in range(50)} - {None}
    trained = {
        random_dialogue(random.Random(f"{seed}:{number}"), 1, drawn=False).scene
        for seed in (1, 101, 2024)
        for number in range(50)
    }
    assert len(held) > 30 and held.isdisjoint(trained)


def test_the_table_holds_what_was_asked() -> None:
    tally = Tally()
    for right in (True, True, False):
        tally.add("colour", right)
    tally.add("small talk", True)
    tally.add("taken for no scene", False)
    assert table(tally).splitlines() == [
        "| kind of question | asked | right | goal |",
        "|---|---:|---:|---:|",
        "| colour | 3 | 66.7% | 97% |",
        "| taken for no scene | 1 | 0.0% | < 1% |",
        "| small talk | 1 | 100.0% |  |",
    ]
    told = json.loads(json.dumps(figures(tally)))
    assert told["kinds"]["colour"] == {"asked": 3, "right": 2, "share": pytest.approx(2 / 3)}
    assert told["goals"] == GOALS


def test_wrong_answers_are_written_as_json_lines(tmp_path: Path) -> None:
    rows = [{"question": "What?\nWhere?", "answer": "\u201cred\u201d"}, {"question": "b"}]
    write_wrong(rows, tmp_path / "wrong.jsonl")
    lines = (tmp_path / "wrong.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
