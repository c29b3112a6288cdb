"""Reasoned answers: the steps lead to the answer, in whichever order they are said."""

import random
import re

from llava_chat.evaluation.meaning import means
from llava_chat.training.scenes.exchange import Memory
from llava_chat.training.scenes.phrases import NUMBERS
from llava_chat.training.scenes.reasoned import (
    ORDERS,
    compared,
    counted,
    reasoned_exchange,
    reasoned_makers,
)
from llava_chat.training.scenes.talk import scene_talk
from llava_chat.training.scenes.world import SHAPES, random_scene


def test_what_is_named_is_what_is_counted() -> None:
    for number in range(200):
        rng = random.Random(number)
        asked = counted(random_scene(rng), rng)
        named = re.findall(rf"\ban? \w+ (?:{'|'.join(SHAPES)})\b", asked.steps.lower())
        assert NUMBERS.index(asked.word) == len(named), asked


def test_the_places_say_what_lies_where() -> None:
    found = 0
    for number in range(300):
        rng = random.Random(number)
        asked = compared(random_scene(rng), rng)
        if asked is None:
            continue
        found += 1
        one, other = (part.split() for part in asked.steps.rstrip(".").split(" and the "))
        before = "top" if re.search("above|higher|below|lower|under", asked.question) else "left"
        after = "bottom" if before == "top" else "right"
        lead = _along(other, before, after) - _along(one, before, after)
        assert lead != 0, asked
        wanted = lead > 0 if re.search("above|higher|left of", asked.question) else lead < 0
        assert asked.word == ("yes" if wanted else "no"), asked
    assert found > 100


def _along(place: list[str], before: str, after: str) -> int:
    return (after in place) - (before in place)


def test_both_orders_ask_and_mean_the_same() -> None:
    for number in range(50):
        first, second = (
            reasoned_exchange(random_scene(rng), rng, order)
            for order, rng in ((order, random.Random(number)) for order in ORDERS)
        )
        if first is None or second is None:
            assert first is second
            continue
        assert (first.question, first.meaning) == (second.question, second.meaning)
        assert sorted(first.answer.split()) == sorted(second.answer.split())
        assert first.answer != second.answer
        assert means(second.answer, first.meaning) and means(first.answer, second.meaning)
        assert not means(first.answer.rpartition("The answer")[0], first.meaning)


def test_they_are_part_of_a_talk_only_where_they_are_asked_for() -> None:
    def explained(**more: object) -> int:
        rng = random.Random(7)
        scenes = [random_scene(rng) for _ in range(60)]
        talks = [scene_talk(scene, rng, 3, **more) for scene in scenes]  # type: ignore[arg-type]
        return sum("explain" in asked.question.lower() for talk in talks for asked in talk)

    assert explained() == 0
    assert 15 < explained(more=reasoned_makers("answer first")) < 90


def test_it_is_nothing_in_particular_afterwards() -> None:
    rng = random.Random(1)
    memory = Memory(topic="the colour of the star")
    for _, maker in reasoned_makers("reasoning first"):
        maker(random_scene(rng), rng, memory)
        assert memory.item is None and memory.topic is None
