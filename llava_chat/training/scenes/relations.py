"""Questions about how the objects of a scene stand to each other, and how two compare."""

from __future__ import annotations

import random

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.exchange import Exchange, Meaning, Memory
from llava_chat.training.scenes.naming import asked_item, two_items
from llava_chat.training.scenes.wording import capital, listed, short_name, with_article
from llava_chat.training.scenes.world import (
    DIRECTIONS,
    SIZES,
    SPOKEN_MARGIN,
    Direction,
    Scene,
    SceneObject,
)

# Boxes of one size that differ by more than this in area do not look the same size.
_ALIKE = 1.4


def relation(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """What lies in a direction of an object."""
    found = asked_item(scene, rng, "")
    if found is None:
        return None
    item, name = found
    direction = rng.choice(DIRECTIONS)
    made = relation_answer(scene, item, direction, name, memory)
    if made is None:
        return None
    memory.topic = f"what is {direction} {name}"
    question = rng.choice(say.RELATION_QUESTIONS[direction]).format(a=name)
    return Exchange("relation", question, *made)


def relation_answer(
    scene: Scene, item: SceneObject, direction: Direction, spoken: str, memory: Memory
) -> tuple[str, Meaning] | None:
    """The answer, naming the object as `spoken`; None where people would differ."""
    related = scene.related(item, direction)
    if related is None or len(related) > 3:
        return None
    memory.item = item
    if not related:
        return f"Nothing is {direction} {spoken}.", Meaning(objects=())
    names = [with_article(short_name(o)) for o in related]
    verb = "is" if len(related) == 1 else "are"
    if len(related) == 1:
        memory.item = related[0]
    answer = capital(f"{listed(names)} {verb} {direction} {spoken}.")
    return answer, Meaning(objects=tuple((o.colour, o.shape) for o in related))


def relation_check(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """Whether one object lies in a direction of another."""
    pair = two_items(scene, rng)
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    direction = rng.choice(DIRECTIONS)
    lead = scene.lead(one, other, direction)
    if abs(lead) < SPOKEN_MARGIN:
        return None
    memory.item, memory.topic = one, f"{name} and {other_name}"
    question = rng.choice(say.RELATION_CHECKS[direction]).format(a=name, b=other_name)
    if lead > 0:
        answer = f"Yes, {name} is {direction} {other_name}."
    else:
        answer = f"No, {name} is not {direction} {other_name}."
    return Exchange("relation", question, answer, Meaning(yes=lead > 0))


def next_to(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """What is nearest to an object."""
    found = asked_item(scene, rng, "")
    if found is None:
        return None
    item, name = found
    nearest = scene.nearest(item)
    if nearest is None:
        return None
    memory.item, memory.topic = nearest, f"what is next to {name}"
    answer = capital(f"{with_article(short_name(nearest))} is next to {name}.")
    meaning = Meaning(objects=((nearest.colour, nearest.shape),))
    return Exchange("relation", rng.choice(say.NEXT_TO_QUESTIONS).format(a=name), answer, meaning)


def bigger(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """Which of two is bigger."""
    pair = two_items(scene, rng, "size")
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    memory.item, memory.topic = None, f"the sizes of {name} and {other_name}"
    question = rng.choice(say.BIGGER_QUESTIONS).format(a=name, b=other_name)
    room, other_room = one.width * one.height, other.width * other.height
    if one.size == other.size:
        if max(room, other_room) > _ALIKE * min(room, other_room):
            return None
        answer = f"They are the same size: both are {one.size}."
        return Exchange("compare", question, answer, Meaning(says=("same",)))
    first_wins = SIZES.index(one.size) > SIZES.index(other.size)
    if not first_wins == (room > other_room) == (one.area > other.area):
        return None  # a large but narrow oval against a medium square: people would differ
    winner, loser = (name, other_name) if first_wins else (other_name, name)
    memory.item = one if first_wins else other
    answer = f"{capital(winner)} is bigger than {loser}."
    return Exchange("compare", question, answer, Meaning(says=(f"{winner} is bigger",)))


def same_colour(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """Whether two have the same colour."""
    pair = two_items(scene, rng, "colour")
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    memory.item, memory.topic = None, f"the colours of {name} and {other_name}"
    question = rng.choice(say.SAME_COLOUR_QUESTIONS).format(a=name, b=other_name)
    same = one.colour == other.colour
    if same:
        answer = f"both are {one.colour}."
    else:
        answer = f"{name} is {one.colour} and {other_name} is {other.colour}."
    words = ("colour", tuple(sorted({one.colour, other.colour})))
    if question.startswith("Compare"):
        return Exchange("compare", question, capital(answer), Meaning(words=words))
    answer = f"{'Yes' if same else 'No'}, {answer}"
    return Exchange("compare", question, answer, Meaning(words=words, yes=same))
