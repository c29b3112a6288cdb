"""Questions about a scene in many wordings, each with its one right answer.

A maker returns None where the scene does not allow its question, or allows it in two senses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.exchange import Exchange, Maker, Meaning, Memory
from llava_chat.training.scenes.naming import asked_item
from llava_chat.training.scenes.relations import (
    bigger,
    next_to,
    relation,
    relation_answer,
    relation_check,
    same_colour,
)
from llava_chat.training.scenes.wording import (
    brief_description,
    capital,
    full_description,
    plural,
    reword,
    short_name,
    text_says,
    there_are,
    with_article,
)
from llava_chat.training.scenes.world import (
    COLOURS,
    CORE,
    DIRECTIONS,
    SHAPES,
    Direction,
    Scene,
    SceneObject,
    World,
)


def _attribute(kind: str, questions: Sequence[str], topic: str) -> Maker:
    def make(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
        found = asked_item(scene, rng, kind)
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
    memory.item, memory.topic = only(scene.objects), "the number of objects"
    count = len(scene.objects)
    return Exchange(
        "count",
        rng.choice(say.COUNT_ALL_QUESTIONS),
        there_are(count, "object"),
        Meaning(count=count),
    )


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


def count_some(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    """How many there are of a colour, of a shape or of both."""
    colour, shape = _class_of_objects(scene, rng, present=0.75)
    noun = " ".join(filter(None, (colour, shape or "object")))
    found = _members(scene, colour, shape)
    memory.item, memory.topic = only(found), f"the number of {plural(noun)}"
    question = rng.choice(say.COUNT_QUESTIONS).format(what=plural(noun))
    answer = there_are(len(found), noun)
    return Exchange("count", question, answer, Meaning(count=len(found)))


def _existence(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    colour, shape = _class_of_objects(scene, rng, present=0.45)
    noun = " ".join(filter(None, (colour, shape or "object")))
    found = _members(scene, colour, shape)
    memory.item, memory.topic = only(found), with_article(noun)
    question = rng.choice(say.EXISTENCE_QUESTIONS)
    question = question.format(one=with_article(noun), what=plural(noun))
    if not found:
        answer = f"No, there is no {noun}."
    elif len(found) == 1:
        answer = f"Yes, there is {with_article(noun)}."
    else:
        answer = f"Yes, there are {say.NUMBERS[len(found)]} {plural(noun)}."
    return Exchange("existence", question, answer, Meaning(yes=bool(found)))


def _list(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    memory.topic, memory.item = "what is in the picture", only(scene.objects)
    objects = tuple((o.colour, o.shape) for o in scene.objects)
    question = rng.choice(say.LIST_QUESTIONS)
    return Exchange("list", question, brief_description(scene), Meaning(objects=objects))


def detail(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    """Everything that is in the picture, with sizes and places."""
    memory.topic, memory.item = "everything in the picture", only(scene.objects)
    objects = tuple((o.size, o.colour, o.shape, scene.place(o)) for o in scene.objects)
    question = rng.choice(say.DETAIL_QUESTIONS)
    return Exchange("describe", question, full_description(scene), Meaning(objects=objects))


def read(scene: Scene, rng: random.Random, memory: Memory) -> Exchange:
    """What is printed in the picture, if anything."""
    memory.topic, memory.item = "the text", None
    question, printed = rng.choice(say.READING_QUESTIONS), scene.printed
    if printed is None:
        return Exchange("no text", question, text_says(printed), Meaning(denied=True))
    return Exchange("reading", question, text_says(printed), Meaning(reads=printed.text))


def box_of(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """The box of an object, in hundredths of the picture's sides."""
    found = asked_item(scene, rng, "")
    if found is None:
        return None
    item, name = found
    memory.item, memory.topic = item, f"the box of {name}"
    box = scene.box_shares(item)
    answer = f"[{', '.join(f'{edge:.2f}' for edge in box)}]"
    question = rng.choice(say.BOX_QUESTIONS).format(a=name)
    return Exchange("box", question, answer, Meaning(box=box))


def only(objects: Sequence[SceneObject]) -> SceneObject | None:
    """What "it" means after these were spoken about: one thing, or nothing in particular."""
    return objects[0] if len(objects) == 1 else None


def back(scene: Scene, rng: random.Random, memory: Memory) -> Exchange | None:
    """Something about the object that was spoken of last, called "it"."""
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
    made = relation_answer(scene, item, direction, "it", memory)
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
    (8, count_some),
    (10, _existence),
    (10, relation),
    (5, relation_check),
    (5, next_to),
    (4, bigger),
    (4, same_colour),
    (6, _list),
    (7, detail),
    (17, back),
    (3, _recall),
    (6, _false_premise),
)


def makers_of(world: World) -> tuple[tuple[float, Maker], ...]:
    """What is asked about a picture of that world, with how often."""
    reading: tuple[tuple[float, Maker], ...] = ((12, read),) if world.printed else ()
    boxes: tuple[tuple[float, Maker], ...] = ((8, box_of),) if world.boxes else ()
    return MAKERS + reading + boxes


def ask(
    scene: Scene,
    rng: random.Random,
    memory: Memory,
    world: World = CORE,
    more: Sequence[tuple[float, Maker]] = (),
) -> Exchange:
    """One more exchange about the scene; `memory` goes along from exchange to exchange.

    more: makers, with how often, beside those of the world.
    """
    makers = (*makers_of(world), *more)
    weights = [weight for weight, _ in makers]
    while True:
        maker = rng.choices(makers, weights=weights)[0][1]
        before = (memory.item, memory.topic)
        made = maker(scene, rng, memory)
        if made is not None and made.question not in memory.asked:
            memory.asked.add(made.question)
            return Exchange(made.kind, reword(made.question, rng), made.answer, made.meaning)
        memory.item, memory.topic = before
