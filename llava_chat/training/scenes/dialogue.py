"""From exchanges to conversations: which picture, which talk, in the shares that are trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from llava_chat.conversation import Conversation, Turn
from llava_chat.image import Picture, picture_from_image
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.exchange import Exchange, Maker
from llava_chat.training.scenes.other_pictures import draw_other
from llava_chat.training.scenes.practice import practice_of
from llava_chat.training.scenes.talk import blind_talk, non_scene_talk, scene_talk
from llava_chat.training.scenes.wording import brief_description
from llava_chat.training.scenes.world import CORE, Scene, World, random_scene

NON_SCENE_SHARE = 0.07
BLIND_SHARE = 0.04


@dataclass(frozen=True)
class Dialogue:
    """What is shown (a scene, another kind of picture, or nothing) and what is said about it."""

    talk: tuple[Exchange, ...]
    scene: Scene | None = None
    other_kind: str | None = None
    pixels: Image.Image | None = None


def random_dialogue(
    rng: random.Random,
    turns: int,
    *,
    drawn: bool = True,
    world: World = CORE,
    more: Sequence[tuple[float, Maker]] = (),
) -> Dialogue:
    """A fresh dialogue; its picture is drawn unless only the description is wanted.

    more: makers, with how often, beside the world's own and what is practised.
    """
    lot = rng.random()
    if lot < BLIND_SHARE:
        return Dialogue(tuple(blind_talk(rng, turns, world)))
    if lot < BLIND_SHARE + NON_SCENE_SHARE:
        # Their answers are one and the same; a few turns teach them.
        kind, pixels = draw_other(rng)
        talk = tuple(non_scene_talk(rng, min(turns, 2), world))
        return Dialogue(talk, other_kind=kind, pixels=pixels)
    scene = random_scene(rng, world)
    picture = draw_scene(scene, rng) if drawn else None
    talk = tuple(scene_talk(scene, rng, turns, world, (*practice_of(world), *more)))
    return Dialogue(talk, scene=scene, pixels=picture)


def as_conversation(talk: Sequence[Exchange], picture: Picture | None) -> Conversation:
    """The exchanges as turns, the picture with the first."""
    turns: list[Turn] = []
    for number, exchange in enumerate(talk):
        images = (picture,) if picture is not None and number == 0 else ()
        turns += [Turn("user", exchange.question, images), Turn("assistant", exchange.answer)]
    return Conversation(tuple(turns))


def dialogue_conversation(dialogue: Dialogue) -> Conversation:
    """The dialogue with its own picture."""
    picture = picture_from_image(dialogue.pixels) if dialogue.pixels else None
    return as_conversation(dialogue.talk, picture)


def captioned_picture(rng: random.Random, world: World = CORE) -> Conversation:
    """A picture and a short description of it: what stage 1 learns from."""
    if rng.random() < NON_SCENE_SHARE:
        kind, pixels = draw_other(rng)
        caption = f"This is a {kind}, not a drawing of simple shapes."
    else:
        scene = random_scene(rng, world)
        pixels, caption = draw_scene(scene, rng), brief_description(scene)
    picture = picture_from_image(pixels)
    return Conversation((Turn("user", "", (picture,)), Turn("assistant", caption)))
