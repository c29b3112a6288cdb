"""Questions whose answer follows from steps that can be said, before the answer or after it.

LLaVA compares the two orders on ScienceQA (arXiv 2304.08485, table 8). The bundled model says only
answers, so that it has no order to compare: these exchanges are for that ablation alone, and no
part of what the bundled model learns from. Imports the scenes world.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.exchange import Exchange, Maker, Meaning, Memory
from llava_chat.training.scenes.naming import two_items
from llava_chat.training.scenes.wording import capital, listed, plural, short_name, with_article
from llava_chat.training.scenes.world import (
    COLOURS,
    DIRECTIONS,
    SHAPES,
    Direction,
    Scene,
    SceneObject,
)

Order = Literal["reasoning first", "answer first"]
ORDERS: tuple[Order, ...] = get_args(Order)
_ALL_SHARE, _PRESENT_SHARE = 0.5, 0.85
_TRIES = 20


@dataclass(frozen=True)
class Reasoned:
    """A question, the steps to its answer as a sentence, and the answer in one word."""

    kind: str
    question: str
    steps: str
    word: str

    def exchange(self, order: Order) -> Exchange:
        """Judged on the one word alone, in the form that LLaVA's answers to ScienceQA have.

        >>> asked = Reasoned("count", "How many stars?", "A red star and a blue star.", "two")
        >>> asked.exchange("answer first").answer
        'The answer is two. A red star and a blue star.'
        """
        final = f"The answer is {self.word}."
        said = (self.steps, final) if order == "reasoning first" else (final, self.steps)
        meaning = Meaning(says=(final.lower(),))
        return Exchange(self.kind, f"{self.question} Explain your answer.", " ".join(said), meaning)


def reasoned_makers(order: Order) -> tuple[tuple[float, Maker], ...]:
    """What is asked beside the usual questions, with how often: about a sixth of all."""

    def maker(ask: Callable[[Scene, random.Random], Reasoned | None]) -> Maker:
        def make(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
            asked = ask(scene, rng)
            memory.item = memory.topic = None
            return None if asked is None else asked.exchange(order)

        return make

    return (24, maker(counted)), (24, maker(compared))


def reasoned_exchange(scene: Scene, rng: random.Random, order: Order) -> Exchange | None:
    """One of these questions about `scene`; None where it allows none. The same in both orders."""
    for _ in range(_TRIES):
        asked = rng.choice((counted, compared))(scene, rng)
        if asked is not None:
            return asked.exchange(order)
    return None


def counted(scene: Scene, rng: random.Random) -> Reasoned:
    """Name each of them, then the number."""
    colour, shape = "", ""
    if rng.random() >= _ALL_SHARE:
        item = rng.choice(scene.objects) if scene.objects else None
        if item is None or rng.random() >= _PRESENT_SHARE:
            colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
        else:
            colour, shape = item.colour, item.shape
        colour, shape = (colour, "") if rng.random() < 0.5 else ("", shape)
    found = [o for o in scene.objects if colour in ("", o.colour) and shape in ("", o.shape)]
    what = plural(" ".join(filter(None, (colour, shape or "object"))))
    names = [with_article(short_name(o)) for o in found]
    steps = f"{capital(listed(names))}." if names else f"There are no {what}."
    question = rng.choice(say.COUNT_QUESTIONS).format(what=what)
    return Reasoned("count", question, steps, say.NUMBERS[len(found)])


def compared(scene: Scene, rng: random.Random) -> Reasoned | None:
    """Where both are, then whether one lies in a direction of the other.

    Asked only of two in different thirds of the picture, for the thirds are what the steps tell.
    """
    pair = two_items(scene, rng, "where")
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    apart = [d for d in DIRECTIONS if _third(scene, one, d) != _third(scene, other, d)]
    if not apart:
        return None
    direction = rng.choice(apart)
    question = rng.choice(say.RELATION_CHECKS[direction]).format(a=name, b=other_name)
    places = f"{name} is {scene.place(one)} and {other_name} is {scene.place(other)}."
    yes = scene.lead(one, other, direction) > 0
    return Reasoned("relation", capital(question), capital(places), "yes" if yes else "no")


def _third(scene: Scene, item: SceneObject, direction: Direction) -> int:
    sideways = direction in ("left of", "right of")
    return int(3 * item.x / scene.width) if sideways else int(3 * item.y / scene.height)
