"""A question with its right answer, and what a right answer must mean.

Replies are so judged by their meaning and not by their wording (see `evaluation/meaning.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from llava_chat.training.scenes.boxes import Box
from llava_chat.training.scenes.world import Scene, SceneObject

Described = tuple[str, ...]
"""Words of one object that an answer must name, such as ('large', 'red', 'circle')."""


@dataclass(frozen=True)
class Meaning:
    """What a right answer says. A field that is None is not asked for.

    words: the words of one vocabulary class that must be named, no others of that class.
    objects: every object with the words that must stand together, () for none at all. yes: the
    answer to yes or no. count: a number. denied: that there is no such thing. topic: what was
    asked about. says: words that must all occur. reads: what is printed. box: where an object is,
    as shares of the picture's sides.
    """

    words: tuple[str, tuple[str, ...]] | None = None
    objects: tuple[Described, ...] | None = None
    yes: bool | None = None
    count: int | None = None
    denied: bool = False
    topic: str | None = None
    says: tuple[str, ...] = ()
    reads: str | None = None
    box: Box | None = None


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
