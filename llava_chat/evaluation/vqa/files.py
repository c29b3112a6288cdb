"""VQAv2's official files, and LLaVA's: questions, people's answers, results for the server.

    questions    v2_OpenEnded_mscoco_SPLIT_questions.json: {"data_subtype", "questions": [...]}
                 or LLaVA's lines {"question_id", "image", "text"}, prompt and all
    annotations  v2_mscoco_SPLIT_annotations.json: {"annotations": [...]}; none for the tests
    results      [{"question_id", "answer"}], as the evaluation server takes them

Imports errors, `question`, the reader of rows and the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.question import Answer
from llava_chat.evaluation.rows import Row, check_ids, read_object, read_rows
from llava_chat.evaluation.vqa.accuracy import Annotation
from llava_chat.evaluation.vqa.normalisation import normalise

SHORT_ANSWER = "Answer the question using a single word or phrase."
"""What LLaVA-1.5 puts on a line after a question of this kind (arXiv 2310.03744, section 3.2)."""


@dataclass(frozen=True)
class VqaQuestion:
    """number: as the server wants its id. image: a file's name. prompt: the text that is asked."""

    number: int
    image: str
    prompt: str

    @property
    def id(self) -> str:
        """As answers name it."""
        return str(self.number)


def read_questions(file: Path, suffix: str = SHORT_ANSWER) -> tuple[VqaQuestion, ...]:
    """The questions of an official file, `suffix` on a line under each, or LLaVA's as they are.

    Raises BenchmarkError naming file and row.
    """
    whole = read_object(file, "questions")
    if whole is not None:
        rows = whole.rows("questions")
        folder = _pictures(whole.text("data_subtype"))
        questions = tuple(
            VqaQuestion(
                row.number("question_id"),
                f"COCO_{folder}_{row.number('image_id'):012d}.jpg",
                with_suffix(row.text("question"), suffix),
            )
            for row in rows
        )
    else:
        rows = read_rows(file)
        questions = tuple(
            VqaQuestion(row.number("question_id"), row.text("image"), row.text("text"))
            for row in rows
        )
    check_ids(rows)
    if not questions:
        raise BenchmarkError(f"{file}: there is no question in it")
    return questions


def with_suffix(question: str, suffix: str) -> str:
    r"""The text that is asked.

    >>> with_suffix("How many?", "Be brief."), with_suffix("How many?", "")
    ('How many?\nBe brief.', 'How many?')
    """
    return f"{question}\n{suffix}" if suffix else question


def read_annotations(file: Path) -> dict[str, Annotation]:
    """What people answered, by question. Raises BenchmarkError naming file and row."""
    whole = read_object(file, "annotations")
    if whole is None:
        raise BenchmarkError(f"{file}: it must be an object with `annotations`, as VQA's own are")
    rows = whole.rows("annotations")
    check_ids(rows)
    return {row.id: _annotation(row) for row in rows}


def handed_in(answers: Mapping[str, Answer], file: Path | None = None) -> dict[str, str]:
    """What goes to the server, by question: a model's replies `submitted`.

    file: where the answers are from; those of a file of the server's form stay as they are.
    """
    ready = file is not None and _are_results(file)
    return {id_: said.text if ready else submitted(said.text) for id_, said in answers.items()}


def submitted(text: str) -> str:
    """What is handed in of a model's reply: normalised, as the people's answers mostly are.

    So does LLaVA (scripts/convert_vqav2_for_submission.py), by rules that differ in three marks:
    there commas and question marks always vanish, and "dog's" becomes "dog 's", which is what
    nobody says.
    """
    return normalise(text)


def write_results(file: Path, questions: Sequence[VqaQuestion], answers: Mapping[str, str]) -> None:
    """Write what the evaluation server takes: every question, "" where there is no answer.

    Raises BenchmarkError.
    """
    rows = [{"question_id": q.number, "answer": answers.get(q.id, "")} for q in questions]
    try:
        file.write_text(json.dumps(rows), encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be written: {error.strerror}") from error


def _are_results(file: Path) -> bool:
    """Whether the file is one of the server's form: of LLaVA's, each row has a `text`."""
    if read_object(file, "outputs") is not None:
        return False
    return all("answer" in row.fields and "text" not in row.fields for row in read_rows(file))


def _pictures(split: str) -> str:
    """The pictures' part of COCO: test-dev is a part of the test's questions, on its pictures.

    >>> _pictures("val2014"), _pictures("test-dev2015")
    ('val2014', 'test2015')
    """
    return "test2015" if split.startswith("test") else split


def _annotation(row: Row) -> Annotation:
    answers = tuple(answer.text("answer") for answer in row.rows("answers"))
    if not answers:
        raise row.wrong("answers", "there must be one at least")
    return Annotation(row.text("question_type"), row.text("answer_type"), answers)
