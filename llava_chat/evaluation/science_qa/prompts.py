"""How a problem is put to a model, word for word as LLaVA's, and the rows to finetune one on.

The forms are named as ScienceQA's own: what is given (Q question, C context, M choices), a dash,
and what is answered (A answer, L lecture, E explanation), in their order. The texts, and what is
done to their spaces: haotian-liu/LLaVA, scripts/convert_sqa_to_llava*.py. Imports `problems` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_chat.evaluation.science_qa.problems import LETTERS, Problem, picture_name

GIVEN = ("QCM", "CQM")
ANSWERED = {
    "A": "The answer is {answer}.",
    "LA": "{lecture} The answer is {answer}.",
    "EA": "{solution} The answer is {answer}.",
    "LEA": "{lecture} {solution} The answer is {answer}.",
    "ELA": "{solution} {lecture} The answer is {answer}.",
    "ALE": "The answer is {answer}. BECAUSE: {lecture} {solution}",
    "AEL": "The answer is {answer}. BECAUSE: {solution} {lecture}",
}
FORMS = tuple(f"{given}-{answered}" for given in GIVEN for answered in ANSWERED)
LETTER_ONLY = "Answer with the option's letter from the given choices directly."
"""What LLaVA-1.5 is told besides (scripts/v1_5/eval/sqa.sh, with CQM-A)."""


def question_text(problem: Problem, form: str = "QCM-LEA", letter_only: bool = False) -> str:
    r"""What is asked, without the picture's mark.

    >>> one = Problem("1", "Is it?", ("yes", "no"), 0, "", None, "", "", "", "", "test")
    >>> question_text(one)
    'Is it?\nContext: N/A\nOptions: (A) yes (B) no'
    >>> question_text(one, "CQM-A")
    'Context: N/A\nQuestion: Is it?\nOptions: (A) yes (B) no'
    """
    context = problem.hint.strip() or "N/A"
    options = " ".join(
        f"({letter}) {choice}" for letter, choice in zip(LETTERS, problem.choices, strict=False)
    )
    if form.startswith("CQM"):
        asked = f"Context: {context}\nQuestion: {problem.question}\nOptions: {options}"
    else:
        # The reference takes its own mark away wherever it stands.
        asked = f"{problem.question}\nContext: {context}\nOptions: {options}"
        asked = asked.replace("Question: ", "")
    asked = asked.replace("  ", " ").strip()
    return f"{asked}\n{LETTER_ONLY}" if letter_only else asked


def answer_text(problem: Problem, form: str = "QCM-LEA") -> str:
    r"""What a model that is finetuned in this form learns to say.

    >>> one = Problem("1", "Is it?", ("yes", "no"), 1, "", None, "", "", "Look.", "", "train")
    >>> answer_text(one), answer_text(one, "QCM-ALE"), answer_text(one, "CQM-A")
    ('Look. The answer is B.', 'The answer is B. BECAUSE: Look.', 'The answer is B.')
    """
    said = ANSWERED[form.partition("-")[2]].format(
        answer=LETTERS[problem.answer],
        # Some lectures hold a backslash and an n where a line ends.
        lecture=problem.lecture.replace("\\n", "\n"),
        solution=problem.solution.replace("\\n", "\n"),
    )
    said = said.replace("Answer: ", "").replace("  ", " ").strip()
    return said.removesuffix("BECAUSE:").strip()


def training_rows(
    problems: Sequence[Problem], form: str, images: Path | None
) -> list[dict[str, Any]]:
    """LLaVA's instruction rows, pictures by their names below `images`, or as ID/FILE without it.

    Raises PictureError for a picture that is not there.
    """
    rows: list[dict[str, Any]] = []
    for problem in problems:
        row: dict[str, Any] = {"id": problem.id}
        asked = question_text(problem, form)
        if problem.image is not None:
            row["image"] = (
                f"{problem.id}/{problem.image}" if images is None else picture_name(problem, images)
            )
            asked += "\n<image>"
        row["conversations"] = [
            {"from": "human", "value": asked},
            {"from": "gpt", "value": answer_text(problem, form)},
        ]
        rows.append(row)
    return rows
