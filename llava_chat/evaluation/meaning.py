"""Does an answer mean what it should? Judged by what it names, not by its wording."""

from __future__ import annotations

import re
from collections import Counter

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.talk import Described, Meaning
from llava_chat.training.scenes.world import COLOURS, SHAPES, SIZES

_SYNONYMS = {
    other: word
    for synonyms in (say.SHAPE_SYNONYMS, say.COLOUR_SYNONYMS, say.SIZE_SYNONYMS)
    for word, other in synonyms.items()
} | {"upper": "top", "lower": "bottom", "center": "middle", "centre": "middle"}
_CLASSES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}
_PLACE_WORDS = ("top", "bottom", "left", "right", "middle")
_OBJECT = re.compile(
    rf"(?:({'|'.join(SIZES)}) )?({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})s?\b"
    r"((?: (?:at|on|in) the (?:top|bottom|left|right|middle)(?: (?:left|right))?)?)"
)
_NEGATIONS = re.compile(r"\b(no|not|nothing|none|isn't|aren't)\b")


def plain(text: str) -> str:
    """Lower case, synonyms put the usual way.

    >>> plain("The Ellipse is grey.")
    'the oval is gray.'
    """
    lowered = text.lower()
    for other, word in _SYNONYMS.items():
        lowered = re.sub(rf"\b{other}(?=s?\b)", word, lowered)
    return lowered


def means(answer: str, meaning: Meaning) -> bool:
    """True when the answer says everything that `meaning` asks for, and nothing against it.

    >>> means("It is a red one.", Meaning(words=("colour", ("red",))))
    True
    >>> means("It is red or blue.", Meaning(words=("colour", ("red",))))
    False
    """
    text = plain(answer)
    checks = (
        meaning.words is None or _named(text, meaning.words[0]) == _wanted(meaning.words),
        meaning.objects is None or _same_objects(text, meaning),
        meaning.yes is None or re.match(r"yes\b" if meaning.yes else r"no\b", text) is not None,
        meaning.count is None or first_number(text) == meaning.count,
        not meaning.denied or _NEGATIONS.search(text) is not None,
        all(plain(words) in text for words in meaning.says),
    )
    return all(checks)


def _wanted(words: tuple[str, tuple[str, ...]]) -> set[str]:
    name, expected = words
    if name == "place":
        return {word for word in _PLACE_WORDS if word in expected[0].split()}
    return set(expected)


def _named(text: str, name: str) -> set[str]:
    words = _PLACE_WORDS if name == "place" else _CLASSES[name]
    return {word for word in words if re.search(rf"\b{word}s?\b", text)}


def _same_objects(text: str, meaning: Meaning) -> bool:
    # What comes after "left of" names the object that was asked about, not an answer.
    for words in meaning.says:
        text = text.split(words)[0]
    wanted: tuple[Described, ...] = meaning.objects or ()
    if not wanted and not meaning.denied:
        return _NEGATIONS.search(text) is not None and not _OBJECT.search(text)
    length = len(wanted[0]) if wanted else 0
    return Counter(_described(text, length)) == Counter(wanted) if wanted else True


def _described(text: str, length: int) -> list[Described]:
    """The objects named in the text: (colour, shape) or (size, colour, shape, place)."""
    found = []
    for size, colour, shape, place in _OBJECT.findall(text):
        found.append((colour, shape) if length == 2 else (size, colour, shape, place.strip()))
    return found


def first_number(text: str) -> int | None:
    """The first number in words or digits; "no" counts as zero.

    >>> first_number("there are three circles"), first_number("there are no stars")
    (3, 0)
    """
    for word in re.findall(r"[a-z]+|\d+", text):
        if word.isdigit():
            return int(word)
        if word in ("no", "none"):
            return 0
        if word in say.NUMBERS:
            return say.NUMBERS.index(word)
    return None
