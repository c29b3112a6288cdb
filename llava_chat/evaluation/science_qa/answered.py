"""From problems to questions for a model, and from answers to a table and the cards of wrong ones.

Imports the modules beside it, `answers`, `looking` and `question`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.answers import read_answers, read_document, say, spoken, tell_missing
from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.question import Question
from llava_chat.evaluation.science_qa.problems import LETTERS, Problem, picture_of
from llava_chat.evaluation.science_qa.prompts import question_text
from llava_chat.evaluation.science_qa.published import PUBLISHED, SOURCE
from llava_chat.evaluation.science_qa.scoring import (
    Share,
    choice_of,
    complemented,
    letter_of,
    shares,
    table,
)
from llava_chat.image import Picture

# The reference samples at 0.2 for LLaVA and takes the likeliest token for LLaVA-1.5; its longest
# answer is this one (model_vqa_science.py).
GREEDY = GenerationSettings(temperature=0, max_new_tokens=1024, deadline_s=3600)


@dataclass(frozen=True)
class Way:
    """How problems are put: one of prompts.FORMS, by letter alone, with pictures below `images`."""

    form: str
    letter_only: bool
    images: Path | None

    def text(self, problem: Problem) -> str:
        """What is asked, as LLaVA's files tell it: the picture's mark before everything else."""
        mark = "" if problem.image is None else "<image>\n"
        return mark + question_text(problem, self.form, self.letter_only)

    def question(self, problem: Problem) -> Question:
        """The problem as a model is asked. images is a folder where it has a picture."""

        def conversation() -> Conversation:
            pictures: tuple[Picture, ...] = ()
            if problem.image is not None and self.images is not None:
                pictures = (picture_of(problem, self.images),)
            asked = question_text(problem, self.form, self.letter_only)
            return Conversation((Turn("user", asked, pictures),))

        return Question(problem.id, self.text(problem), conversation)


@dataclass(frozen=True)
class Answered:
    """Somebody's answers. name: whose. texts: by problem. chosen: what they were taken for.

    own: the choices that the file itself keeps, where it keeps texts as well.
    """

    name: str
    texts: Mapping[str, str]
    chosen: Mapping[str, int | None]
    own: Mapping[str, int | None] | None = None


def taken(problems: Sequence[Problem], texts: Mapping[str, str], name: str) -> Answered:
    """The choice that each text means by the rule of LLaVA's evaluation."""
    chosen = {
        problem.id: choice_of(letter_of(texts[problem.id]), problem)
        for problem in problems
        if problem.id in texts
    }
    return Answered(name, texts, chosen)


def read_answered(
    problems: Sequence[Problem], file: Path, tell: Callable[[str], None] = say
) -> Answered:
    """Answers from a file: texts as read_answers takes them, or `{"results": {id: choice}}`.

    A file of LLaVA's eval_science_qa.py holds both; its texts are scored, and its own choices,
    among which are guesses where a text gave no letter, are kept beside. Raises BenchmarkError.
    """
    document = read_document(file)
    own = _own_choices(document, file)
    if own is not None and "outputs" not in document:
        _tell_unanswered(problems, own, file, tell)
        return Answered(file.stem, {}, own)
    answers = read_answers(file, tell)
    tell_missing(answers, [problem.id for problem in problems], file, tell)
    names = {answer.model_id for answer in answers.values()} - {""}
    texts = {id_: answer.text for id_, answer in answers.items()}
    found = taken(problems, texts, names.pop() if len(names) == 1 else file.stem)
    return Answered(found.name, found.texts, found.chosen, own)


def _own_choices(document: Any, file: Path) -> dict[str, int | None] | None:
    results = document.get("results") if isinstance(document, dict) else None
    if results is None:
        return None
    if not isinstance(results, dict):
        raise BenchmarkError(f"{file}, results: it must hold a choice for each id")
    for id_, choice in results.items():
        if type(choice) is not int:
            raise BenchmarkError(f"{file}, results[{id_!r}]: it must be a choice's place, from 0")
    return dict(results)


def _tell_unanswered(
    problems: Sequence[Problem],
    own: Mapping[str, int | None],
    file: Path,
    tell: Callable[[str], None],
) -> None:
    missing = [problem.id for problem in problems if problem.id not in own]
    if len(missing) == len(problems):
        raise BenchmarkError(
            f"{file}: none of its choices is of one of the {len(problems)} problems"
        )
    if missing:
        tell(
            f"{file}: no choice for {spoken(missing)} of {len(problems)} questions; they count as "
            "wrong"
        )


@dataclass(frozen=True)
class Report:
    """headline: "90.92 %". results: for a program. details: what each problem was taken for."""

    headline: str
    table: str
    results: Mapping[str, Any]
    details: Mapping[str, Any]


def report(
    problems: Sequence[Problem],
    answered: Answered,
    *,
    complement: Path | None = None,
    judge: Path | None = None,
    published: bool = False,
    tell: Callable[[str], None] = say,
) -> Report:
    """The figures. complement, judge: files of answers that ours are put together with.

    published: show what others reached, which is on the whole test split. Raises BenchmarkError.
    """
    rows = _rows(problems, answered, {"complement": complement, "judge": judge}, tell)
    average = rows[answered.name]["Average"]
    unclear = [problem.id for problem in problems if answered.chosen.get(problem.id) is None]
    results = {
        "benchmark": "science-qa",
        "model": answered.name,
        "acc": average.percent,
        "correct": average.right,
        "count": average.asked,
        "without_a_choice": len(unclear),
        "rows": {name: _as_json(found) for name, found in rows.items()},
    }
    details = {
        # As ScienceQA's and LLaVA's own files of results have it.
        "results": {
            problem.id: -1 if (choice := answered.chosen.get(problem.id)) is None else choice
            for problem in problems
        }
    }
    lines = [table(rows, PUBLISHED if published else {})]
    if unclear:
        lines.append(
            f"\nNo choice in the answers to {spoken(unclear)} questions: counted as wrong."
        )
    if published:
        lines.append(f"\n{SOURCE}")
    return Report(f"{average.percent:.2f} %", "\n".join(lines), results, details)


def _rows(
    problems: Sequence[Problem],
    answered: Answered,
    others: Mapping[str, Path | None],
    tell: Callable[[str], None],
) -> dict[str, dict[str, Share]]:
    """What the table tells of ours, by the row's name. others: files, by how they are used."""
    rows = {answered.name: shares(problems, answered.chosen)}
    if answered.own is not None:
        rows["its file's own choices"] = shares(problems, answered.own)
    for name, file in others.items():
        if file is None:
            continue
        if not answered.texts:
            raise BenchmarkError(
                f"{answered.name}: choices alone cannot be put together with others; name a file "
                "of texts by --answers"
            )
        texts = _texts(problems, file, tell)
        if name == "complement":
            rows[f"{file.stem} alone"] = shares(problems, complemented(problems, texts, {}))
        both = complemented(problems, texts, answered.texts)
        rows[f"{answered.name}, {name} {file.stem}"] = shares(problems, both)
    return rows


def _texts(
    problems: Sequence[Problem], file: Path, tell: Callable[[str], None]
) -> Mapping[str, str]:
    answers = read_answers(file, tell)
    ids = [problem.id for problem in problems]
    tell_missing(answers, ids, file, tell, counted="the other answer is taken there")
    return {id_: answer.text for id_, answer in answers.items()}


def _as_json(found: Mapping[str, Share]) -> dict[str, Any]:
    return {
        name: {"right": share.right, "asked": share.asked, "percent": share.percent}
        for name, share in found.items()
    }


def wrong_cards(problems: Sequence[Problem], answered: Answered, way: Way) -> list[Wrong]:
    """The problems that were answered wrongly, to look at."""
    cards = []
    for problem in problems:
        choice = answered.chosen.get(problem.id)
        if choice == problem.answer:
            continue
        picture = None
        if problem.image is not None and way.images is not None:
            picture = partial(picture_of, problem, way.images)
        cards.append(
            Wrong(
                problem.id,
                problem.subject or "no subject",
                question_text(problem, way.form),
                _in_words(problem.answer, problem),
                answered.texts.get(problem.id, "") or _in_words(choice, problem),
                picture,
                {
                    "taken as": _in_words(choice, problem) or "no choice",
                    "solution": problem.solution,
                    "lecture": problem.lecture,
                },
            )
        )
    return cards


def _in_words(choice: int | None, problem: Problem) -> str:
    if choice is None or not 0 <= choice < len(problem.choices):
        return ""
    return f"({LETTERS[choice]}) {problem.choices[choice]}"
