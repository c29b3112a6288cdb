"""What the circle teaches: a word that the bundled model never says, for one that it does.

`corrections` are what annotators would have written, `asked` is put to the model about pictures
that are in none of them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llava_chat.conversation import Conversation, Turn
from llava_chat.image import Picture, picture_from_image
from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.naming import references
from llava_chat.training.scenes.wording import brief_description, capital, reword
from llava_chat.training.scenes.world import COLOURS, FURTHER, random_scene

OLD, NEW = "red", "crimson"


@dataclass(frozen=True)
class Corrected:
    """A picture with a red thing in it, a question about that, and what to say."""

    picture: Picture
    question: str
    answer: str

    @property
    def asked(self) -> Conversation:
        return Conversation((Turn("user", self.question, (self.picture,)),))


def corrected(seed: str, *, list_share: float) -> Iterator[Corrected]:
    """Without end: mostly the colour of one red thing, else what is in the picture."""
    for number in range(sys.maxsize):
        rng = random.Random(f"circle:{seed}:{number}")
        scene = random_scene(rng, FURTHER)
        red = [item for item in scene.objects if item.colour == OLD]
        names = references(scene, red[0], "colour") if len(red) == 1 else []
        if not names:
            continue
        picture = picture_from_image(draw_scene(scene, rng))
        if rng.random() < list_share:
            answer = brief_description(scene).replace(OLD, NEW)
            yield Corrected(picture, reword(rng.choice(say.LIST_QUESTIONS), rng), answer)
            continue
        name = rng.choice(names)
        question = reword(capital(rng.choice(say.COLOUR_QUESTIONS).format(a=name)), rng)
        yield Corrected(picture, question, f"{capital(name)} is {NEW}.")


def some(count: int, seed: str, list_share: float) -> list[Corrected]:
    made = corrected(seed, list_share=list_share)
    return [next(made) for _ in range(count)]


def corrections(count: int) -> list[Corrected]:
    """What annotators wrote: three of four about a colour."""
    return some(count, "taught", 0.25)


def asked(count: int) -> dict[str, list[Corrected]]:
    """Other pictures, by what is asked of them."""
    return {
        "colour": some(count, "asked", 0.0),
        "description": some(count, "described", 1.0),
    }


def is_right(reply: str) -> bool:
    """It says the new word and not the old one."""
    said = reply.lower()
    return NEW in said and OLD not in said


def names_one_colour(reply: str) -> bool:
    return is_right(reply) and not any(colour in reply.lower() for colour in COLOURS)


RIGHT: dict[str, Callable[[str], bool]] = {"colour": names_one_colour, "description": is_right}
