"""Whole conversations: about a scene, about another kind of picture, and without one."""

from __future__ import annotations

import random
from collections.abc import Sequence

from llava_chat.training.scenes import manners
from llava_chat.training.scenes.exchange import Exchange, Maker, Meaning, Memory
from llava_chat.training.scenes.questions import ask, only
from llava_chat.training.scenes.wording import reword
from llava_chat.training.scenes.world import CORE, Scene, World, random_scene


def small_talk(rng: random.Random, seeing: bool) -> Exchange:
    """Greetings, thanks, who are you, what can you do, and things outside the world."""
    kind = rng.choices(("greeting", "thanks", "who", "ability", "outside"), (2, 2, 2, 2, 6))[0]
    greeting = manners.GREETING_REPLY_SEEING if seeing else manners.GREETING_REPLY
    questions, answer, words = {
        "greeting": (manners.GREETINGS, greeting, ("hello",)),
        "thanks": (manners.THANKS, manners.THANKS_REPLY, ("welcome",)),
        "who": (manners.WHO_QUESTIONS, manners.WHO_REPLY, ("llava_chat",)),
        "ability": (manners.ABILITY_QUESTIONS, manners.ABILITY_REPLY, ("i can", "shapes")),
        "outside": ((outside_question(rng),), manners.OUTSIDE_REPLY, ("cannot answer",)),
    }[kind]
    name = "outside" if kind == "outside" else "small talk"
    return Exchange(name, reword(rng.choice(questions), rng), answer, Meaning(says=words))


def outside_question(rng: random.Random) -> str:
    """Something that the scenes world knows nothing of."""
    question = rng.choice(manners.OUTSIDE_FRAMES)
    for slot, fillers in manners.OUTSIDE_FILLERS.items():
        while f"{{{slot}}}" in question:
            question = question.replace(f"{{{slot}}}", rng.choice(fillers), 1)
    return question


def scene_talk(
    scene: Scene,
    rng: random.Random,
    turns: int,
    world: World = CORE,
    more: Sequence[tuple[float, Maker]] = (),
) -> list[Exchange]:
    """A conversation of `turns` exchanges about a picture that shows `scene`; more: as in `ask`."""
    # Where there is only one thing, people say "it" from the first question on.
    memory = Memory(item=only(scene.objects))
    talk = []
    for _ in range(turns):
        if rng.random() < 0.06:
            talk.append(small_talk(rng, seeing=True))
            # "How old is the dog?" "Where is it?" would be about the dog.
            memory.item = memory.topic = None
        else:
            talk.append(ask(scene, rng, memory, world, more))
    return talk


def blind_talk(rng: random.Random, turns: int, world: World = CORE) -> list[Exchange]:
    """A conversation without a picture: small talk, and questions about a picture not there."""
    memory, imagined = Memory(), random_scene(rng, world)
    talk = []
    for _ in range(turns):
        if rng.random() < 0.55:
            talk.append(small_talk(rng, seeing=False))
        else:
            memory.topic = None  # what was asked last needs no picture, and is not asked here
            question = ask(imagined, rng, memory, world).question
            meaning = Meaning(says=("picture", "not see"))
            talk.append(Exchange("no picture", question, manners.NO_PICTURE_REPLY, meaning))
    return talk


def non_scene_talk(rng: random.Random, turns: int, world: World = CORE) -> list[Exchange]:
    """A conversation about a picture that is no scene."""
    memory, imagined = Memory(), random_scene(rng, world)
    talk = []
    for _ in range(turns):
        if rng.random() < 0.1:
            talk.append(small_talk(rng, seeing=True))
        else:
            memory.topic = None  # what was asked last needs no picture, and is not asked here
            question = ask(imagined, rng, memory, world).question
            meaning = Meaning(says=("does not look like", "--model"))
            talk.append(Exchange("non-scene", question, manners.NON_SCENE_REPLY, meaning))
    return talk
