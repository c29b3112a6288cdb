"""Does an answer mean what it should? Judged by what it names, not by its wording."""

from __future__ import annotations

import re
from collections import Counter

from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.boxes import Box, overlap_share
from llava_chat.training.scenes.exchange import Described, Meaning
from llava_chat.training.scenes.world import COLOURS, SHAPES, SIZES

# What an answer's box must share with the right one to be called right.
BOX_OVERLAP = 0.7
_SYNONYMS = {
    other: word
    for synonyms in (say.SHAPE_SYNONYMS, say.COLOUR_SYNONYMS, say.SIZE_SYNONYMS)
    for word, other in synonyms.items()
} | {
    "upper": "top",
    "lower": "bottom",
    "center": "middle",
    "centre": "middle",
    "color": "colour",
}
_CLASSES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}
_PLACE_WORDS = ("top", "bottom", "left", "right", "middle")
_PLACE = rf"(?:at|on|in|to|near) the (?:(?:{'|'.join(_PLACE_WORDS)})[ -]?)+"
_OBJECT = re.compile(
    rf"(?:({'|'.join(SIZES)}),? )?({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b"
    rf"(?:,? (?:is )?(?:located )?({_PLACE}))?"
)
_RELATION = re.compile(
    r"\b(?:left of|right of|above|below|over|under|beneath|next to|beside|near|nearest|closest)\b"
)
_DENIAL = re.compile(r"\b(?:no|not|isn't|aren't|don't)\b")
_FILLERS = re.compile(
    r"\b(?:you|your|asked|me|about|last|question|was|what|is|are|the|an?|of|its?|in|at|on|to|and)\b"
)
_NOTHING = re.compile(r"\b(?:no|not|nothing|none|empty)\b")


def plain(text: str) -> str:
    """Lower case, the singular, synonyms put the usual way.

    >>> plain("The Ellipses are grey, the plus signs big.")
    'the oval are gray, the cross large.'
    """
    lowered = text.lower().replace("\u2019", "'")
    for other, word in _SYNONYMS.items():
        lowered = re.sub(rf"\b{other}(?:e?s)?\b", word, lowered)
    return re.sub(rf"\b({'|'.join(SHAPES)})e?s\b", r"\1", lowered)


def means(answer: str, meaning: Meaning) -> bool:
    """True when the answer says everything that `meaning` asks for, and nothing against it.

    >>> means("It is a red one.", Meaning(words=("colour", ("red",))))
    True
    >>> means("It is red or blue.", Meaning(words=("colour", ("red",))))
    False
    """
    text = plain(answer)
    checks = (
        meaning.words is None or _same_words(text, *meaning.words),
        meaning.objects is None or _same_objects(text, meaning.objects),
        meaning.yes is None or re.match(r"yes\b" if meaning.yes else r"no\b", text) is not None,
        meaning.count is None or first_number(text) == meaning.count,
        not meaning.denied or _DENIAL.search(text) is not None,
        meaning.topic is None or _content(text) == _content(plain(meaning.topic)),
        all(plain(words) in text for words in meaning.says),
        meaning.reads is None
        or re.search(rf"\b{meaning.reads.lower()}\b", answer.lower()) is not None,
        meaning.box is None or box_overlap(answer, meaning.box) >= BOX_OVERLAP,
    )
    return all(checks)


def box_overlap(answer: str, box: Box) -> float:
    """Intersection over union of the first four numbers of an answer with a box.

    >>> box_overlap("[0.10, 0.20, 0.30, 0.40]", (0.1, 0.2, 0.3, 0.4))
    1.0
    >>> box_overlap("It is red.", (0.1, 0.2, 0.3, 0.4))
    0.0
    """
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", answer)[:4]]
    if len(numbers) < 4:
        return 0.0
    left, top, right, bottom = numbers
    return overlap_share((left, top, right, bottom), box)


def _same_words(text: str, name: str, expected: tuple[str, ...]) -> bool:
    if name == "place":
        return _place_words(text) == _place_words(expected[0])
    wanted = set(expected)
    return {word for word in _CLASSES[name] if re.search(rf"\b{word}\b", text)} == wanted


def _place_words(text: str) -> frozenset[str]:
    """The third of the picture that is spoken about.

    >>> sorted(_place_words("at the top, in the middle")), sorted(_place_words("middle"))
    (['top'], ['middle'])
    """
    named = frozenset(word for word in _PLACE_WORDS if re.search(rf"\b{word}\b", text))
    return named - {"middle"} or named


def _same_objects(text: str, wanted: tuple[Described, ...]) -> bool:
    if not wanted or len(wanted[0]) == 2:
        text = _without_reference(text)
    found = [_comparable(described) for described in _OBJECT.findall(text)]
    if not wanted:
        return _NOTHING.search(text) is not None and not found
    if len(wanted[0]) == 2:
        return Counter(described[1:3] for described in found) == Counter(wanted)
    return Counter(found) == Counter(_comparable(described) for described in wanted)


def _without_reference(text: str) -> str:
    """The part of an answer that answers, without the object that was asked about.

    >>> _without_reference("a red star is left of the blue circle")
    'a red star is '
    >>> _without_reference("to the left of the blue circle is a red star")
    ' a red star'
    """
    relation = _RELATION.search(text)
    if relation is None:
        return text
    before, after = text[: relation.start()], text[relation.end() :]
    if _OBJECT.search(before) or _NOTHING.search(before):
        return before
    return re.split(r"\b(?:is|are)\b|$", after, maxsplit=1)[1]


def _comparable(described: Described) -> tuple[str, str, str, frozenset[str]]:
    size, colour, shape, place = described
    return size, colour, shape, _place_words(place)


def _content(text: str) -> Counter[str]:
    """The words that carry a topic.

    >>> _content("you asked about its colour.") == _content("the colour of it")
    True
    """
    words = _FILLERS.sub("", text.replace("'s", ""))
    return Counter(word.rstrip("s") for word in re.findall("[a-z]+", words))


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
