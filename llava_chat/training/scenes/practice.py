"""What training asks more often than people do: the questions that take the longest to learn.

They are no part of the held-out set, whose shares stay those of `questions`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from llava_chat.training.scenes.exchange import Exchange, Maker, Memory
from llava_chat.training.scenes.questions import back, box_of, count_some, detail, read
from llava_chat.training.scenes.relations import next_to, relation, relation_check, same_colour
from llava_chat.training.scenes.world import Scene, World


def only_if(maker: Maker, holds: Callable[[Exchange], bool]) -> Maker:
    """The maker, without the questions for which `holds` is false."""

    def make(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
        made = maker(scene, rng, memory)
        return made if made is not None and holds(made) else None

    return make


def _vertical(made: Exchange) -> bool:
    return any(word in made.answer for word in ("above", "below"))


def _many_or_vertical(made: Exchange) -> bool:
    return bool(made.meaning.objects) and (_vertical(made) or len(made.meaning.objects or ()) > 1)


def _several(made: Exchange) -> bool:
    return made.meaning.count is not None and made.meaning.count > 1


def _of_another(made: Exchange) -> bool:
    return made.meaning.objects is not None


def _printed(made: Exchange) -> bool:
    return made.meaning.reads is not None


def _alike(made: Exchange) -> bool:
    return made.meaning.words is not None and len(made.meaning.words[1]) == 1


# Objects are told from left to right, so that left and right come by themselves; above and below
# do not. Two of a kind, and two of one colour, are rare in random scenes.
_PRACTICE: tuple[tuple[float, Maker], ...] = (
    (40, only_if(relation, _many_or_vertical)),
    (18, only_if(relation_check, _vertical)),
    (8, next_to),
    (20, only_if(count_some, _several)),
    (6, only_if(same_colour, _alike)),
    (10, only_if(back, _of_another)),
    (6, detail),
)
# Most pictures have no text to read.
_READING: tuple[tuple[float, Maker], ...] = ((12, only_if(read, _printed)),)
_BOXES: tuple[tuple[float, Maker], ...] = ((8, box_of),)


def practice_of(world: World) -> tuple[tuple[float, Maker], ...]:
    """What is asked beside the questions of that world, with how often."""
    return (
        *_PRACTICE,
        *(_READING if world.printed else ()),
        *(_BOXES if world.boxes else ()),
    )
