"""Files of answers: LLaVA's own, and ours, which are its JSON lines with more in them.

Imports `question` and errors only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.question import Answer

SPOKEN_IDS = 3


def say(sentence: str) -> None:
    """Tell whoever runs a benchmark, beside its results."""
    print(sentence, file=sys.stderr, flush=True)


def read_answers(file: Path, tell: Callable[[str], None] = say) -> dict[str, Answer]:
    """The answers of a file by their question's id, which is always a text here.

    The file holds a JSON object a line, or a list of them, `{"question_id", "text", ...}` (LLaVA's
    model_vqa.py; VQA's own result files say `answer` for `text`), or one object
    `{"outputs": {id: text}}` (its eval_science_qa.py). Of a question that is answered more than
    once the last answer counts, as there, and `tell` is told. Raises BenchmarkError.
    """
    document = read_document(file)
    if isinstance(document, dict) and "question_id" not in document:
        outputs = document.get("outputs")
        if not isinstance(outputs, dict):
            raise BenchmarkError(
                f"{file}: an object of answers must hold `outputs`, an answer for each id"
            )
        pairs = [(f"{file}, outputs[{id_!r}]", id_, text) for id_, text in outputs.items()]
        answers = [Answer(id_, _text(text, where)) for where, id_, text in pairs]
    else:
        rows = [document] if isinstance(document, dict) else document
        if not isinstance(rows, list):
            raise BenchmarkError(f"{file}: it must be a list of answers, or one JSON object a line")
        answers = [_answer(row, f"{file}, row {number}") for number, row in enumerate(rows, 1)]
    found = {answer.question_id: answer for answer in answers}
    if not found:
        raise BenchmarkError(f"{file}: there is no answer in it")
    if again := len(answers) - len(found):
        tell(f"{file}: {again} answers are to a question answered before; the last one counts")
    return found


def read_document(file: Path) -> Any:
    """What a JSON file holds; of JSON lines the list of their objects. Raises BenchmarkError."""
    text = read_text(file)
    if _begins_lines(text):
        return [row for _, row in json_lines(text, file)]
    return parsed(text, str(file))


def _begins_lines(text: str) -> bool:
    """Whether the first of several lines is an object of its own."""
    first, _, rest = text.lstrip().partition("\n")
    if not rest or rest.isspace():  # VQA's files are one line of hundreds of megabytes
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def json_lines(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    """Each line's place and what it holds; blank lines hold nothing. Raises BenchmarkError."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            yield where, parsed(line, where)


def read_text(file: Path) -> str:
    """A UTF-8 file, with a byte order mark or without one. Raises BenchmarkError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{file} is not UTF-8 text (byte {error.start})") from error


def parsed(text: str, where: str) -> Any:
    """What a JSON text holds. Raises BenchmarkError naming the place."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BenchmarkError(f"{where}: its lists and objects are nested too deeply") from error
    except ValueError as error:
        raise BenchmarkError(f"{where} is not JSON: {error}") from error


def checked_id(value: Any, where: str) -> str:
    """An id, which may be a text or a whole number, as a text. Raises BenchmarkError.

    >>> checked_id(4, "here"), checked_id("4", "here")
    ('4', '4')
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BenchmarkError(f"{where}, question_id: it must be a text or a whole number")
    return str(value)


def tell_missing(
    answers: dict[str, Answer],
    ids: Sequence[str],
    file: Path,
    tell: Callable[[str], None] = say,
    counted: str = "they count as wrong",
) -> None:
    """Say which questions have no answer and how many answers no question.

    Raises BenchmarkError where not a single one fits: the file belongs to other questions.
    """
    missing = [id_ for id_ in ids if id_ not in answers]
    if ids and len(missing) == len(ids):
        raise BenchmarkError(
            f"{file}: none of its {len(answers)} answers is to one of the {len(ids)} questions; "
            "it belongs to other questions"
        )
    if missing:
        tell(f"{file}: no answer to {spoken(missing)} of {len(ids)} questions; {counted}")
    if others := len(answers) - (len(ids) - len(missing)):
        tell(f"{file}: {others} answers are to questions that are not asked; they are left out")


def spoken(ids: Sequence[str]) -> str:
    """How many, and the first of them.

    >>> spoken(["1", "2"]), spoken(["1", "2", "3", "4"])
    ("2 ('1', '2')", "4 ('1', '2', '3' ...)")
    """
    first = ", ".join(repr(id_) for id_ in ids[:SPOKEN_IDS])
    return f"{len(ids)} ({first}{' ...' if len(ids) > SPOKEN_IDS else ''})"


def _answer(row: Any, where: str) -> Answer:
    if not isinstance(row, dict):
        raise BenchmarkError(f"{where}: an answer must be an object")
    id_ = checked_id(row.get("question_id"), where)
    text = _text(row.get("text", row.get("answer")), where)
    prompt, model_id = row.get("prompt"), row.get("model_id")
    return Answer(
        id_,
        text,
        prompt if isinstance(prompt, str) else "",
        model_id if isinstance(model_id, str) else "",
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BenchmarkError(f"{where}: the answer must be a text")
    return value
