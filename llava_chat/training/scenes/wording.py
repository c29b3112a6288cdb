"""Objects, lists and numbers in English, and the ways in which people type."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.printed import PrintedText
from llava_chat.training.scenes.world import Scene, SceneObject


def plural(word: str) -> str:
    """The word for several.

    >>> plural("cross"), plural("hexagon")
    ('crosses', 'hexagons')
    """
    return word + ("es" if word.endswith(("s", "x")) else "s")


def with_article(words: str) -> str:
    """The words with their article.

    >>> with_article("orange oval"), with_article("red star")
    ('an orange oval', 'a red star')
    """
    return ("an " if words[0] in "aeiou" else "a ") + words


def listed(parts: Sequence[str]) -> str:
    """The parts with commas and a last "and".

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


def there_are(count: int, noun: str) -> str:
    """How many there are, as a sentence.

    >>> there_are(1, "red star"), there_are(0, "cross")
    ('There is one red star.', 'There are no crosses.')
    """
    if count == 1:
        return f"There is one {noun}."
    return f"There are {say.NUMBERS[count] if count else 'no'} {plural(noun)}."


def brief_description(scene: Scene) -> str:
    """Every object's colour and shape, from left to right."""
    if not scene.objects:
        return _empty(scene)
    names = [with_article(short_name(o)) for o in scene.objects]
    return f"{there_are(len(names), 'object')[:-1]}: {listed(names)}.{_and_text(scene)}"


def full_description(scene: Scene) -> str:
    """Every object's size, colour, shape and place, from left to right."""
    if not scene.objects:
        return _empty(scene)
    names = [f"{with_article(f'{o.size} {short_name(o)}')} {scene.place(o)}" for o in scene.objects]
    order = ", from left to right" if len(names) > 1 else ""
    return f"{there_are(len(names), 'object')[:-1]}{order}: {listed(names)}.{_and_text(scene)}"


def _empty(scene: Scene) -> str:
    if scene.printed is None:
        return "The picture is empty: there are no objects."
    return f"There are no objects.{_and_text(scene)}"


def _and_text(scene: Scene) -> str:
    return "" if scene.printed is None else f" {text_says(scene.printed)}"


def text_says(printed: PrintedText | None) -> str:
    """What is printed, read aloud."""
    return "There is no text in the picture." if printed is None else f"It says {printed.text}."


def reword(question: str, rng: random.Random) -> str:
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
