r"""When two short answers are the same: VQA's official normalisation.

It follows GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py (commit a013f00, the
one that also normalises the people's articles and numbers), step by step, with its quirks:

1. Line breaks and tabs become spaces, the ends are stripped.
2. Punctuation. A mark that has a space on one of its sides anywhere in the text is deleted
   everywhere, any other becomes a space; where a comma stands between two digits, all marks are
   deleted. Apostrophes and colons stay.
3. A period is deleted unless a digit follows. What was meant to spare "3." as well is misspelt
   there (`(?!<=\d)` looks for a "<="), and no more than 32 of them are deleted, since the flag
   `re.UNICODE`, which is 32, is handed over as the count.
4. Lower case, words apart at white space. Number words up to ten become digits ("none" becomes 0),
   articles go, contractions get their apostrophe.

Imports the lists beside it only.
"""

from __future__ import annotations

import re

from llava_chat.evaluation.vqa.official_words import (
    ARTICLES,
    CONTRACTIONS,
    NUMBER_WORDS,
    PUNCTUATION,
)

MOST_PERIODS = 32

_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")


def tidy(text: str) -> str:
    r"""Step 1, which the official evaluation takes in any case.

    >>> tidy(" on the\ttable\n")
    'on the table'
    """
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalise(text: str) -> str:
    """All four steps.

    >>> normalise("The dog's on a couch."), normalise("Two"), normalise("1,000")
    ("dog's on couch", '2', '1000')
    >>> normalise("black-and-white"), normalise("red, white"), normalise("don-t, dont")
    ('black and white', 'red white', "don t don't")
    """
    words = (NUMBER_WORDS.get(word, word) for word in without_marks(tidy(text)).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def without_marks(text: str) -> str:
    """Steps 2 and 3.

    >>> [without_marks(text) for text in ("2:30 p.m.", "3.5", "a/b", "a/ b")]
    ['2:30 pm', '3.5', 'a b', 'a b']
    """
    all_go = _COMMA_IN_NUMBER.search(text) is not None
    becomes: dict[str, str | int | None] = {
        mark: "" if all_go or f"{mark} " in text or f" {mark}" in text else " "
        for mark in PUNCTUATION
    }
    return _PERIOD.sub("", text.translate(str.maketrans(becomes)), count=MOST_PERIODS)
