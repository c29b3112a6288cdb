"""Conversations about a scene: questions in many wordings, each with its one right answer.

Every exchange carries what a right answer must mean, so that replies are judged by their meaning
and not by their wording (see `evaluation/scenes.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.world import (
    COLOURS,
    DIRECTIONS,
    PLACES,
    SHAPES,
    SIZES,
    Direction,
    Scene,
    SceneObject,
    random_scene,
)

Described = tuple[str, ...]
"""Words of one object that an answer must name, such as ('large', 'red', 'circle')."""


@dataclass(frozen=True)
class Meaning:
    """What a right answer says. A field that is None is not asked for.

    words: the words of one vocabulary class that must be named, no others of that class.
    objects: every object with the words that must stand together, () for none at all. yes: the
    answer to yes or no. count: a number. denied: that there is no such thing. topic: what was
    asked about. says: words that must all occur.
    """

    words: tuple[str, tuple[str, ...]] | None = None
    objects: tuple[Described, ...] | None = None
    yes: bool | None = None
    count: int | None = None
    denied: bool = False
    topic: str | None = None
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """A question, the answer that is learned, what it means, and the kind for the table."""

    kind: str
    question: str
    answer: str
    meaning: Meaning


@dataclass
class Memory:
    """What was spoken about: the object that "it" means, and the last question's topic."""

    item: SceneObject | None = None
    topic: str | None = None
    asked: set[str] = field(default_factory=set)


Maker = Callable[[Scene, random.Random, Memory], Exchange | None]


def plural(word: str) -> str:
    """The word for several.

    >>> plural("cross"), plural("hexagon")
    ('crosses', 'hexagons')
    """
    return word + ("es" if word.endswith(("s", "x")) else "s")


def with_article(words: str) -> str:
    """
    >>> with_article("orange oval"), with_article("red star")
    ('an orange oval', 'a red star')
    """
    return ("an " if words[0] in "aeiou" else "a ") + words


def listed(parts: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def capital(text: str) -> str:
    """The text with its first letter upper case."""
    return text[:1].upper() + text[1:]


def short_name(item: SceneObject) -> str:
    """'red circle'."""
    return f"{item.colour} {item.shape}"


def references(scene: Scene, item: SceneObject, hide: str = "") -> list[str]:
    """The ways to name `item` alone, without its `hide` ('colour', 'shape', 'size', 'where')."""
    ways = [("shape",), ("colour", "shape"), ("colour",), ("size", "shape"), ("size", "colour")]
    ways += [("size", "colour", "shape")]
    found = []
    for way in ways:
        if hide in way:
            continue
        alike = [o for o in scene.objects if _words_of(o, way) == _words_of(item, way)]
        if len(alike) == 1:
            noun = item.shape if "shape" in way else "object"
            adjectives = [getattr(item, part) for part in way if part != "shape"]
            found.append(" ".join(["the", *adjectives, noun]))
    if hide != "where":
        found += [f"the object {place}" for place in _places_alone(scene, item)]
    return found


def _words_of(item: SceneObject, way: tuple[str, ...]) -> list[str]:
    return [getattr(item, part) for part in way]


def _places_alone(scene: Scene, item: SceneObject) -> list[str]:
    """The places where people would look for `item` and find nothing else.

    What is at the top left is also at the top, and on the left.
    """
    return [
        phrase
        for row in PLACES
        for phrase in row
        if [o for o in scene.objects if _is_at(scene, o, phrase)] == [item]
    ]


def _is_at(scene: Scene, item: SceneObject, phrase: str) -> bool:
    return set(phrase.split()[2:]) <= set(scene.place(item).split()[2:])


def _reword(question: str, rng: random.Random) -> str:
    """Synonyms, lower case, a missing mark, politeness: as people type."""
    for synonyms in (say.SHAPE_SYNONYMS, say.COLOUR_SYNONYMS, say.SIZE_SYNONYMS):
        for word, other in synonyms.items():
            if word in question and rng.random() < 0.15:
                # Whole words: the "larger" of a comparison stays.
                question = re.sub(rf"\b{plural(word)}\b", plural(other), question)
                question = re.sub(rf"\b{word}\b", other, question)
    if "object" in question and rng.random() < 0.4:
        other = rng.choice(say.OBJECT_WORDS)
        # "Is there a red one?" may ask for a red one of those that were spoken about.
        if other != "one" or re.search(r"\bthe (\w+ ){0,2}object\b", question):
            question = question.replace("object", other, 1)
    style = rng.random()
    if style < 0.1:
        question = f"Please, {question[0].lower()}{question[1:]}"
    elif style < 0.3:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.15:
        question = question.rstrip("?.!")
    return question


def _asked_item(scene: Scene, rng: random.Random, hide: str) -> tuple[SceneObject, str] | None:
    """An object that can be named alone, and its name."""
    for item in rng.sample(scene.objects, len(scene.objects)):
        names = references(scene, item, hide)
        if names:
            return item, rng.choice(names)
    return None


def _attribute(kind: str, questions: Sequence[str], topic: str) -> Maker:
    def make(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
        found = _asked_item(scene, rng, kind)
        if found is None:
            return None
        item, name = found
        memory.item, memory.topic = item, f"the {topic} of {name}"
        question = rng.choice(questions).format(a=name)
        return Exchange(kind, capital(question), *_attribute_answer(scene, item, kind, name))

    return make


def _attribute_answer(
    scene: Scene, item: SceneObject, kind: str, subject: str
) -> tuple[str, Meaning]:
    subject = capital(subject)
    if kind == "colour":
        return f"{subject} is {item.colour}.", Meaning(words=("colour", (item.colour,)))
    if kind == "size":
        return f"{subject} is {item.size}.", Meaning(words=("size", (item.size,)))
    if kind == "shape":
        return (
            f"{subject} is {with_article(item.shape)}.",
            Meaning(words=("shape", (item.shape,))),
        )
    place = scene.place(item)
    return f"{subject} is {place}.", Meaning(words=("place", (place,)))


def _count_all(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    memory.item, memory.topic = _only(scene.objects), "the number of objects"
    count = len(scene.objects)
    return Exchange(
        "count",
        rng.choice(say.COUNT_ALL_QUESTIONS),
        _there_are(count, "object"),
        Meaning(count=count),
    )


def _there_are(count: int, noun: str) -> str:
    """
    >>> _there_are(1, "red star"), _there_are(0, "cross")
    ('There is one red star.', 'There are no crosses.')
    """
    if count == 1:
        return f"There is one {noun}."
    return f"There are {say.NUMBERS[count] if count else 'no'} {plural(noun)}."


def _class_of_objects(scene: Scene, rng: random.Random, present: float) -> tuple[str, str]:
    """A colour, a shape or both ('' for none), of an object that is there or of any."""
    way = rng.choice(("colour", "shape", "shape", "both"))
    if scene.objects and rng.random() < present:
        item = rng.choice(scene.objects)
        colour, shape = item.colour, item.shape
    elif scene.objects and rng.random() < 0.5:
        # Nearly right: the colour of one, the shape of another.
        colour, shape = rng.choice(scene.objects).colour, rng.choice(scene.objects).shape
        if rng.random() < 0.5:
            colour = rng.choice(COLOURS)
        else:
            shape = rng.choice(SHAPES)
    else:
        colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    return ("" if way == "shape" else colour), ("" if way == "colour" else shape)


def _members(scene: Scene, colour: str, shape: str) -> list[SceneObject]:
    return [o for o in scene.objects if colour in ("", o.colour) and shape in ("", o.shape)]


def _count_some(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    colour, shape = _class_of_objects(scene, rng, present=0.75)
    noun = " ".join(filter(None, (colour, shape or "object")))
    found = _members(scene, colour, shape)
    memory.item, memory.topic = _only(found), f"the number of {plural(noun)}"
    question = rng.choice(say.COUNT_QUESTIONS).format(what=plural(noun))
    answer = _there_are(len(found), noun)
    return Exchange("count", question, answer, Meaning(count=len(found)))


def _existence(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    colour, shape = _class_of_objects(scene, rng, present=0.45)
    noun = " ".join(filter(None, (colour, shape or "object")))
    found = _members(scene, colour, shape)
    memory.item, memory.topic = _only(found), with_article(noun)
    question = rng.choice(say.EXISTENCE_QUESTIONS)
    question = question.format(one=with_article(noun), what=plural(noun))
    if not found:
        answer = f"No, there is no {noun}."
    elif len(found) == 1:
        answer = f"Yes, there is {with_article(noun)}."
    else:
        answer = f"Yes, there are {say.NUMBERS[len(found)]} {plural(noun)}."
    return Exchange("existence", question, answer, Meaning(yes=bool(found)))


def _relation(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    found = _asked_item(scene, rng, "")
    if found is None:
        return None
    item, name = found
    direction = rng.choice(DIRECTIONS)
    made = _relation_answer(scene, item, direction, name, memory)
    if made is None:
        return None
    memory.topic = f"what is {direction} {name}"
    question = rng.choice(say.RELATION_QUESTIONS[direction]).format(a=name)
    return Exchange("relation", question, *made)


def _relation_answer(
    scene: Scene, item: SceneObject, direction: Direction, spoken: str, memory: Memory
) -> tuple[str, Meaning] | None:
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


def _relation_check(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    pair = _pair(scene, rng)
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    direction = rng.choice(DIRECTIONS)
    lead = scene.lead(one, other, direction)
    if abs(lead) < 0.06:
        return None
    memory.item, memory.topic = one, f"{name} and {other_name}"
    question = rng.choice(say.RELATION_CHECKS[direction]).format(a=name, b=other_name)
    if lead > 0:
        answer = f"Yes, {name} is {direction} {other_name}."
    else:
        answer = f"No, {name} is not {direction} {other_name}."
    return Exchange("relation", question, answer, Meaning(yes=lead > 0))


def _pair(
    scene: Scene, rng: random.Random, hide: str = ""
) -> tuple[tuple[SceneObject, str], tuple[SceneObject, str]] | None:
    """Two objects, each with a name of its own."""
    if len(scene.objects) < 2:
        return None
    one, other = rng.sample(scene.objects, 2)
    names, other_names = references(scene, one, hide), references(scene, other, hide)
    if not names or not other_names:
        return None
    return (one, rng.choice(names)), (other, rng.choice(other_names))


def _next_to(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    found = _asked_item(scene, rng, "")
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


def _bigger(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    pair = _pair(scene, rng, "size")
    if pair is None:
        return None
    (one, name), (other, other_name) = pair
    memory.item, memory.topic = None, f"the sizes of {name} and {other_name}"
    question = rng.choice(say.BIGGER_QUESTIONS).format(a=name, b=other_name)
    if one.size == other.size:
        answer = f"They are the same size: both are {one.size}."
        return Exchange("compare", question, answer, Meaning(says=("same",)))
    first_wins = SIZES.index(one.size) > SIZES.index(other.size)
    if first_wins != (one.width * one.height > other.width * other.height):
        return None  # a large but narrow oval against a medium square: people would differ
    winner, loser = (name, other_name) if first_wins else (other_name, name)
    memory.item = one if first_wins else other
    answer = f"{capital(winner)} is bigger than {loser}."
    return Exchange("compare", question, answer, Meaning(says=(f"{winner} is bigger",)))


def _same_colour(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    pair = _pair(scene, rng, "colour")
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


def brief_description(scene: Scene) -> str:
    """Every object's colour and shape, from left to right."""
    if not scene.objects:
        return "The picture is empty: there are no objects."
    names = [with_article(short_name(o)) for o in scene.objects]
    return f"{_there_are(len(names), 'object')[:-1]}: {listed(names)}."


def full_description(scene: Scene) -> str:
    """Every object's size, colour, shape and place, from left to right."""
    if not scene.objects:
        return "The picture is empty: there are no objects."
    names = [f"{with_article(f'{o.size} {short_name(o)}')} {scene.place(o)}" for o in scene.objects]
    order = ", from left to right" if len(names) > 1 else ""
    return f"{_there_are(len(names), 'object')[:-1]}{order}: {listed(names)}."


def _list(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    memory.topic, memory.item = "what is in the picture", _only(scene.objects)
    objects = tuple((o.colour, o.shape) for o in scene.objects)
    question = rng.choice(say.LIST_QUESTIONS)
    return Exchange("list", question, brief_description(scene), Meaning(objects=objects))


def _detail(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    memory.topic, memory.item = "everything in the picture", _only(scene.objects)
    objects = tuple((o.size, o.colour, o.shape, scene.place(o)) for o in scene.objects)
    question = rng.choice(say.DETAIL_QUESTIONS)
    return Exchange("describe", question, full_description(scene), Meaning(objects=objects))


def _only(objects: Sequence[SceneObject]) -> SceneObject | None:
    """What "it" means after these were spoken about: one thing, or nothing in particular."""
    return objects[0] if len(objects) == 1 else None


def _back(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    item = memory.item
    if item is None:
        return None
    kind = rng.choice(tuple(say.BACK_QUESTIONS))
    question = rng.choice(say.BACK_QUESTIONS[kind])
    if kind in ("colour", "shape", "size", "where"):
        memory.topic = f"the {'place' if kind == 'where' else kind} of it"
        return Exchange("back-reference", question, *_attribute_answer(scene, item, kind, "it"))
    if kind == "next to":
        nearest = scene.nearest(item)
        if nearest is None:
            return None
        memory.item, memory.topic = nearest, "what is next to it"
        answer = capital(f"{with_article(short_name(nearest))} is next to it.")
        meaning = Meaning(objects=((nearest.colour, nearest.shape),))
        return Exchange("back-reference", question, answer, meaning)
    direction: Direction = kind  # type: ignore[assignment]
    made = _relation_answer(scene, item, direction, "it", memory)
    if made is None:
        return None
    memory.topic = f"what is {direction} it"
    return Exchange("back-reference", question, *made)


def _recall(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    if memory.topic is None:
        return None
    # Asked once more, this very question would be the one that was asked last.
    topic, memory.topic = memory.topic, None
    question = rng.choice(say.RECALL_QUESTIONS)
    return Exchange("back-reference", question, f"You asked about {topic}.", Meaning(topic=topic))


def _false_premise(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    colour, shape = _class_of_objects(scene, rng, present=0.0)
    noun = " ".join(filter(None, (colour, shape or "object")))
    if _members(scene, colour, shape):
        return None
    questions: tuple[str, ...] = (*say.WHERE_QUESTIONS, *say.SIZE_QUESTIONS)
    if not colour:
        questions += say.COLOUR_QUESTIONS
    if not shape:
        questions += say.SHAPE_QUESTIONS
    for direction in DIRECTIONS:
        questions += say.RELATION_QUESTIONS[direction]
    memory.item, memory.topic = None, f"the {noun}"
    question = capital(rng.choice(questions).format(a=f"the {noun}"))
    answer = f"There is no {noun} in the picture."
    return Exchange("false premise", question, answer, Meaning(denied=True))


MAKERS: tuple[tuple[float, Maker], ...] = (
    (9, _attribute("colour", say.COLOUR_QUESTIONS, "colour")),
    (9, _attribute("shape", say.SHAPE_QUESTIONS, "shape")),
    (6, _attribute("size", say.SIZE_QUESTIONS, "size")),
    (7, _attribute("where", say.WHERE_QUESTIONS, "place")),
    (4, _count_all),
    (8, _count_some),
    (10, _existence),
    (10, _relation),
    (5, _relation_check),
    (5, _next_to),
    (4, _bigger),
    (4, _same_colour),
    (6, _list),
    (7, _detail),
    (17, _back),
    (3, _recall),
    (6, _false_premise),
)


def ask(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    """One more exchange about the scene; `memory` goes along from exchange to exchange."""
    weights = [weight for weight, _ in MAKERS]
    while True:
        maker = rng.choices(MAKERS, weights=weights)[0][1]
        before = (memory.item, memory.topic)
        made = maker(scene, rng, memory)
        if made is not None and made.question not in memory.asked:
            memory.asked.add(made.question)
            return Exchange(made.kind, _reword(made.question, rng), made.answer, made.meaning)
        memory.item, memory.topic = before


def small_talk(rng: random.Random, seeing: bool) -> Exchange:
    """Greetings, thanks, who are you, what can you do, and things outside the world."""
    kind = rng.choices(("greeting", "thanks", "who", "ability", "outside"), (2, 2, 2, 2, 6))[0]
    greeting = say.GREETING_REPLY_SEEING if seeing else say.GREETING_REPLY
    questions, answer, words = {
        "greeting": (say.GREETINGS, greeting, ("hello",)),
        "thanks": (say.THANKS, say.THANKS_REPLY, ("welcome",)),
        "who": (say.WHO_QUESTIONS, say.WHO_REPLY, ("llava_chat",)),
        "ability": (say.ABILITY_QUESTIONS, say.ABILITY_REPLY, ("i can", "shapes")),
        "outside": ((outside_question(rng),), say.OUTSIDE_REPLY, ("cannot answer",)),
    }[kind]
    name = "outside" if kind == "outside" else "small talk"
    return Exchange(name, _reword(rng.choice(questions), rng), answer, Meaning(says=words))


def outside_question(rng: random.Random) -> str:
    """Something that the scenes world knows nothing of."""
    question = rng.choice(say.OUTSIDE_FRAMES)
    for slot, fillers in say.OUTSIDE_FILLERS.items():
        while f"{{{slot}}}" in question:
            question = question.replace(f"{{{slot}}}", rng.choice(fillers), 1)
    return question


def scene_talk(scene: Scene, rng: random.Random, turns: int) -> list[Exchange]:
    """A conversation of `turns` exchanges about a picture that shows `scene`."""
    # Where there is only one thing, people say "it" from the first question on.
    memory = Memory(item=_only(scene.objects))
    talk = []
    for _ in range(turns):
        if rng.random() < 0.06:
            talk.append(small_talk(rng, seeing=True))
            # "How old is the dog?" "Where is it?" would be about the dog.
            memory.item = memory.topic = None
        else:
            talk.append(ask(scene, rng, memory))
    return talk


def blind_talk(rng: random.Random, turns: int) -> list[Exchange]:
    """A conversation without a picture: small talk, and questions about a picture not there."""
    memory, imagined = Memory(), random_scene(rng)
    talk = []
    for _ in range(turns):
        if rng.random() < 0.55:
            talk.append(small_talk(rng, seeing=False))
        else:
            memory.topic = None  # what was asked last needs no picture, and is not asked here
            question = ask(imagined, rng, memory).question
            meaning = Meaning(says=("picture", "not see"))
            talk.append(Exchange("no picture", question, say.NO_PICTURE_REPLY, meaning))
    return talk


def non_scene_talk(rng: random.Random, turns: int) -> list[Exchange]:
    """A conversation about a picture that is no scene."""
    memory, imagined = Memory(), random_scene(rng)
    talk = []
    for _ in range(turns):
        if rng.random() < 0.1:
            talk.append(small_talk(rng, seeing=True))
        else:
            memory.topic = None  # what was asked last needs no picture, and is not asked here
            question = ask(imagined, rng, memory).question
            meaning = Meaning(says=("does not look like", "--model"))
            talk.append(Exchange("non-scene", question, say.NON_SCENE_REPLY, meaning))
    return talk
