"""Training asks some questions more often; the held-out set does not."""

import random
from collections import Counter

from llava_chat.evaluation.meaning import means
from llava_chat.evaluation.scenes import held_out
from llava_chat.training.scenes.dialogue import random_dialogue
from llava_chat.training.scenes.exchange import Exchange, Memory
from llava_chat.training.scenes.practice import only_if, practice_of
from llava_chat.training.scenes.questions import count_some
from llava_chat.training.scenes.world import CORE, FURTHER, random_scene


def _upright(exchange: Exchange) -> bool:
    return any(word in exchange.question for word in ("above", "below", "higher", "lower", "under"))


def test_a_maker_can_be_held_to_some_of_its_questions() -> None:
    def many(exchange: Exchange) -> bool:
        return (exchange.meaning.count or 0) > 2

    counts = []
    for seed in range(300):
        rng = random.Random(seed)
        made = only_if(count_some, many)(random_scene(rng), rng, Memory())
        if made is not None:
            counts.append(made.meaning.count)
    assert len(counts) > 10 and set(counts) <= {3, 4, 5, 6}


def test_every_practised_question_comes_up_and_its_answer_is_right() -> None:
    for _, maker in practice_of(FURTHER):
        made = []
        for seed in range(120):
            rng = random.Random(seed)
            scene = random_scene(rng, FURTHER)
            made.append(maker(scene, rng, Memory(item=scene.objects[0] if scene.objects else None)))
        asked = [exchange for exchange in made if exchange is not None]
        assert asked, maker
        assert all(means(exchange.answer, exchange.meaning) for exchange in asked)


def test_training_asks_what_is_hard_more_often_than_the_held_out_set() -> None:
    trained, held = (
        Counter(_upright(e) for talk in talks for e in talk)
        for talks in (
            [random_dialogue(random.Random(n), 6, drawn=False).talk for n in range(300)],
            [held_out(n, 1, 6).talk for n in range(300)],
        )
    )
    assert trained[True] / trained.total() > 1.5 * held[True] / held.total()


def test_what_a_world_does_not_have_is_not_practised() -> None:
    kinds = [
        {
            e.kind
            for n in range(150)
            for e in random_dialogue(random.Random(n), 6, drawn=False, world=world).talk
        }
        for world in (CORE, FURTHER)
    ]
    assert kinds[0].isdisjoint({"reading", "box"}) and kinds[1] >= {"reading", "box"}
