"""What a judge is asked: two answers to one question, in both orders, by rules that can be edited.

Imports errors and the modules beside it; no client, so that it works wherever a model runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_chat import ASSETS
from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.llava_bench.files import WILD_PREFIX, BenchQuestion, Contexts

RULES = ASSETS / "evaluation" / "judge"
LEAST, MOST = 1.0, 10.0

_PLACE = re.compile(r"\{(context|question|first|second|rule)\}")
_TWO_NUMBERS = re.compile(r"\W*(\d+(?:\.\d+)?)(?:\s*[,;/|]\s*|\s+)(\d+(?:\.\d+)?)\W*")


@dataclass(frozen=True)
class Rules:
    """system: who the judge is. question: with places to fill. by_category: what to look at."""

    system: str
    question: str
    by_category: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    """One thing to ask the judge. candidate_first: the candidate's answer is the first one.

    category: as the authors' reviews name it, after WILD_PREFIX for questions of In-the-Wild.
    """

    question_id: str
    category: str
    candidate_first: bool
    messages: tuple[Mapping[str, str], ...]

    @property
    def key(self) -> tuple[str, bool]:
        """What no other comparison of a run shares."""
        return self.question_id, self.candidate_first

    @property
    def fingerprint(self) -> str:
        """Of all that the judge reads."""
        return hashlib.sha256(json.dumps(self.messages).encode()).hexdigest()[:16]


def read_rules(folder: Path = RULES) -> Rules:
    """The texts of a folder: system.txt, question.txt, and CATEGORY.txt for each category.

    Raises BenchmarkError where one is missing or question.txt leaves out what has to be judged.
    """
    texts = {file.stem: _text(file) for file in sorted(folder.glob("*.txt"))}
    for name in ("system", "question"):
        if name not in texts:
            raise BenchmarkError(f"{folder}: there is no {name}.txt for the judge")
    missing = {"question", "first", "second"} - set(_PLACE.findall(texts["question"]))
    if missing:
        raise BenchmarkError(f"{folder / 'question.txt'}: it must hold {{{sorted(missing)[0]}}}")
    return Rules(texts.pop("system"), texts.pop("question"), texts)


def check_judgeable(questions: Sequence[BenchQuestion], contexts: Contexts, rules: Rules) -> None:
    """Raise BenchmarkError where the judge would lack a picture's context or a category's rule."""
    for question in questions:
        if question.image not in contexts.by_image:
            raise BenchmarkError(
                f"question {question.id!r}: nothing is said of its picture {question.image!r}; "
                "--context must be of the same questions"
            )
        if question.category not in rules.by_category:
            raise BenchmarkError(
                f"question {question.id!r}: there is no rule for {question.category!r}; put a "
                f"{question.category}.txt beside the others and name their folder with --rules"
            )


def comparisons(
    questions: Sequence[BenchQuestion],
    contexts: Contexts,
    reference: Mapping[str, str],
    candidate: Mapping[str, str],
    rules: Rules,
) -> Iterator[Comparison]:
    """Both orders of every question that has both answers. The questions are checked already."""
    for question in questions:
        if question.id not in reference or question.id not in candidate:
            continue
        answers = (reference[question.id], candidate[question.id])
        for candidate_first in (False, True):
            first, second = reversed(answers) if candidate_first else answers
            places = {
                "context": contexts.by_image[question.image],
                "question": question.text,
                "first": first,
                "second": second,
                "rule": rules.by_category[question.category],
            }
            yield Comparison(
                question.id,
                f"{WILD_PREFIX}{question.category}" if contexts.wild else question.category,
                candidate_first,
                (
                    {"role": "system", "content": rules.system},
                    {"role": "user", "content": filled(rules.question, places)},
                ),
            )


def filled(text: str, places: Mapping[str, str]) -> str:
    """The text with its places filled; what is filled in is not looked at again.

    >>> filled("{first} or {second}?", {"first": "{second}", "second": "b"})
    '{second} or b?'
    """
    return _PLACE.sub(lambda place: places[place[1]], text)


def two_scores(reply: str) -> tuple[float, float] | None:
    r"""The two numbers on the first line, each from 1 to 10; None where they are not there.

    >>> two_scores("8 7.5\nBoth are good."), two_scores("\n(8, 7)"), two_scores("**9 / 10**")
    ((8.0, 7.5), (8.0, 7.0), (9.0, 10.0))
    >>> [two_scores(reply) for reply in ("The first is better.", "8", "8 11", "8/10 7/10", "")]
    [None, None, None, None, None]
    """
    line = next(iter(reply.strip().splitlines()), "")
    found = _TWO_NUMBERS.fullmatch(line)
    if found is None:
        return None
    first, second = float(found[1]), float(found[2])
    return (first, second) if all(LEAST <= x <= MOST for x in (first, second)) else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{file} cannot be read: {error}") from error
