"""ScienceQA's published files: `problems.json`, `pid_splits.json` and a picture in each folder.

Imports image, errors and `answers`' reading of JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_chat.errors import BenchmarkError, PictureError
from llava_chat.evaluation.answers import parsed, read_text, spoken
from llava_chat.image import Picture, file_below, read_picture

LETTERS = "ABCDE"
"""Of the choices; no problem has more than five."""


@dataclass(frozen=True)
class Problem:
    """One question with its choices; `answer` is the right one's place, from 0.

    hint, lecture, solution: "" where there is none. image: the picture's file name, or None.
    grade: such as "grade8". split: "train", "val" or "test", the folder of its picture.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    hint: str
    image: str | None
    subject: str
    grade: str
    lecture: str
    solution: str
    split: str


def read_problems(folder: Path, split: str) -> list[Problem]:
    """The problems of a split of `pid_splits.json`, in its order. Raises BenchmarkError."""
    file, splits_file = folder / "problems.json", folder / "pid_splits.json"
    splits = _object(splits_file)
    if split not in splits:
        raise BenchmarkError(
            f"{splits_file}: there is no split {split!r}, only {', '.join(splits)}"
        )
    ids = splits[split]
    if not isinstance(ids, list) or not ids:
        raise BenchmarkError(f"{splits_file}, {split}: it must be a list of at least one id")
    rows = _object(file)
    found = []
    for id_ in dict.fromkeys(str(id_) for id_ in ids):
        if id_ not in rows:
            raise BenchmarkError(
                f"{file}: there is no problem {id_!r}, which is in split {split!r}"
            )
        found.append(_problem(id_, rows[id_], f"{file}, problem {id_!r}"))
    return found


def picture_name(problem: Problem, images: Path) -> str:
    """The problem's picture below `images`: with the folder of its split or without one.

    Raises PictureError where it is at neither place.
    """
    name = f"{problem.id}/{problem.image}"
    try:
        file_below(images, with_split := f"{problem.split}/{name}")
    except PictureError:
        file_below(images, name)
        return name
    return with_split


def picture_of(problem: Problem, images: Path) -> Picture:
    """The problem's picture. Raises PictureError."""
    return read_picture(file_below(images, picture_name(problem, images)))


def check_pictures(problems: list[Problem], images: Path) -> None:
    """Raise BenchmarkError where a picture is missing, before a model is loaded for hours."""
    missing = []
    for problem in problems:
        if problem.image is not None:
            try:
                picture_name(problem, images)
            except PictureError:
                missing.append(problem.id)
    if missing:
        raise BenchmarkError(
            f"{images}: the pictures of {spoken(missing)} problems are missing; there should be "
            f"{problems[0].split}/ID/image.png or ID/image.png (name the folder by --images)"
        )


def _object(file: Path) -> dict[str, Any]:
    value = parsed(read_text(file), str(file))
    if not isinstance(value, dict):
        raise BenchmarkError(f"{file}: it must be an object")
    return value


def _problem(id_: str, row: Any, where: str) -> Problem:
    if not isinstance(row, dict):
        raise BenchmarkError(f"{where}: it must be an object")

    def text(name: str) -> str:
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            raise BenchmarkError(f"{where}, {name}: it must be a text")
        return value or ""

    choices, answer = row.get("choices"), row.get("answer")
    if (
        not isinstance(choices, list)
        or not 1 <= len(choices) <= len(LETTERS)
        or not all(isinstance(choice, str) for choice in choices)
    ):
        raise BenchmarkError(f"{where}, choices: it must be a list of 1 to {len(LETTERS)} texts")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise BenchmarkError(f"{where}, answer: it must be a choice's place, counted from 0")
    if not text("question"):
        raise BenchmarkError(f"{where}, question: there is none")
    return Problem(
        id_,
        text("question"),
        tuple(choices),
        answer,
        text("hint"),
        text("image") or None,
        text("subject"),
        text("grade"),
        text("lecture"),
        text("solution"),
        text("split"),
    )
