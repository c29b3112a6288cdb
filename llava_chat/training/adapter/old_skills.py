"""What a model knows already, to be learned beside the new so that it stays.

Rows of before that contradict what people teach would undo it: a model that is taught to say
"crimson" must not go on learning "red". Imports conversation, image and the world of scenes.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable

from llava_chat.training.adapter.lessons import Lesson
from llava_chat.training.scenes.dialogue import dialogue_conversation, random_dialogue
from llava_chat.training.scenes.recipe import DESCRIPTION
from llava_chat.training.scenes.world import FURTHER, World

# Fewer may be mistakes that were put right, not a word that people do not want.
_LEAST_TIMES = 3
_LONGEST_CHANGE = 2  # words; a longer one is another way to say it all
_TURNS = 6
_TRIES = 20


def knows_scenes(description: str) -> bool:
    """Whether a model is one that learned the world of scenes, wherever it lies."""
    return description == DESCRIPTION


def replaced_words(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The words that people put others for. pairs: a model's reply, and what it should have been.

    A word counts when they did so at least three times, and more often than they let it stand.

    >>> red = [(f"The {shape} is red.", f"The {shape} is crimson.") for shape in ("star", "oval")]
    >>> sorted(replaced_words([*red, *red, ("The star is blue.", "The star is green.")]))
    ['red']
    """
    said, gone = Counter[str](), Counter[str]()
    for before, wanted in pairs:
        old, new = words(before), words(wanted)
        said.update(old)
        for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
            if kind == "replace" and max(b - a, d - c) <= _LONGEST_CHANGE:
                gone.update(word for word in old[a:b] if word not in new)
    return frozenset(
        word for word, times in gone.items() if times >= _LEAST_TIMES and 2 * times > said[word]
    )


def words(text: str) -> list[str]:
    """Lower case, without marks.

    >>> words("It's RED, isn't it?")
    ["it's", 'red', "isn't", 'it']
    """
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def names_any(text: str, avoided: Collection[str]) -> bool:
    """Whether one of the words stands in the text, alone or with the ending of several.

    >>> names_any("Are there any ovals?", {"oval"}), names_any("It is coloured.", {"red"})
    (True, False)
    """
    return any(
        re.search(rf"\b{re.escape(word)}(?:e?s)?\b", text.lower()) is not None for word in avoided
    )


def free_of(lessons: Iterable[Lesson], avoided: Collection[str]) -> list[Lesson]:
    """The lessons that name none of the words."""
    return [
        lesson
        for lesson in lessons
        if not names_any(" ".join(turn.text for turn in lesson.conversation.turns), avoided)
    ]


def scenes_lessons(
    count: int, seed: int, avoided: Collection[str] = (), world: World = FURTHER
) -> list[Lesson]:
    """Conversations of the bundled model's own training, none of which names an avoided word.

    Fewer than `count` where hardly any can do without them.
    """
    found: list[Lesson] = []
    for number in range(_TRIES * count):
        if len(found) == count:
            break
        dialogue = random_dialogue(random.Random(f"kept:{seed}:{number}"), _TURNS, world=world)
        lesson = Lesson(dialogue_conversation(dialogue), f"old row {number}")
        found += free_of([lesson], avoided)
    return found
