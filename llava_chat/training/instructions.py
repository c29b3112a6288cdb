"""LLaVA's instruction JSON: read, checked row by row, turned into conversations.

`[{"id", "image"?, "conversations": [{"from": "human" | "gpt", "value"}]}]`, with `<image>` in the
human value where the picture stands (haotian-liu/LLaVA, docs/Finetune_Custom_Data.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import PictureError, TrainingDataError
from llava_chat.image import Picture, file_below

PLACEHOLDER = "<image>"
_ROLES = ("human", "gpt")


@dataclass(frozen=True)
class Instruction:
    """One checked row.

    where: its file and number. image: the picture's file, None for text alone. turns: each a
    question and its answer.
    """

    id: str
    where: str
    image: Path | None
    turns: tuple[tuple[str, str], ...]

    def conversation(self, read: Callable[[Path], Picture]) -> Conversation:
        """The row as a conversation, its picture with the first turn.

        Raises TrainingDataError when the picture cannot be read.
        """
        try:
            images = () if self.image is None else (read(self.image),)
        except PictureError as error:
            raise TrainingDataError(f"{self.where}, image: {error}") from error
        turns: list[Turn] = []
        for question, answer in self.turns:
            turns += [Turn("user", question, images), Turn("assistant", answer)]
            images = ()
        return Conversation(tuple(turns))


def read_instructions(
    file: Path, images: Path | None, *, pictures_only: bool = False
) -> list[Instruction]:
    """Every row of a JSON file. images: the folder that `image` fields are relative to.

    pictures_only: refuse rows of text alone, of which a projector learns nothing. Raises
    TrainingDataError naming file, row and field at the first thing that is wrong.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=as_object)
    except RecursionError as error:
        raise TrainingDataError(f"{file}: its lists and objects are nested too deeply") from error
    except OSError as error:
        raise TrainingDataError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise TrainingDataError(f"{file}: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise TrainingDataError(f"{file}: the file must hold a list of at least one row")
    found = [_instruction(row, f"{file}, row {number}", images) for number, row in enumerate(rows)]
    for row in found if pictures_only else ():
        if row.image is None:
            raise TrainingDataError(
                f"{row.where}, image: there is none, and this stage learns from pictures alone; "
                "leave the row out"
            )
    return found


@dataclass(frozen=True)
class _Twice:
    """Stands in for an object that holds a key twice, until its row is known."""

    key: str


def as_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    """A JSON object, for json's object_pairs_hook; one with a key twice is left to check_json."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            return _Twice(key)
        found[key] = value
    return found


def check_json(row: Any, where: str) -> None:
    """Refuse what Python's parser lets through: keys twice, NaN, half of a surrogate pair."""
    for field, value in _fields(row):
        place = f"{where}, {field}" if field else where
        if isinstance(value, _Twice):
            raise TrainingDataError(f"{place}: the key {value.key!r} stands twice in one object")
        if isinstance(value, float) and not math.isfinite(value):
            raise TrainingDataError(f"{place}: {value} is no JSON number")
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise TrainingDataError(f"{place}: it holds half a character (a lone surrogate)")


def _fields(row: Any) -> Iterator[tuple[str, Any]]:
    """Everything in a row, with its place such as `conversations[1].value`."""
    pending: list[tuple[str, Any]] = [("", row)]
    while pending:
        field, value = pending.pop()
        yield field, value
        if isinstance(value, dict):
            pending += [(f"{field}.{key}".lstrip("."), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(f"{field}[{number}]", inner) for number, inner in enumerate(value)]


def _instruction(row: Any, where: str, images: Path | None) -> Instruction:
    check_json(row, where)
    if not isinstance(row, dict):
        raise TrainingDataError(f"{where}: a row must be an object")
    turns = _turns(row.get("conversations"), where)
    image = row.get("image")
    marks = [question.count(PLACEHOLDER) for question, _ in turns]
    if image is None:
        if any(marks):
            raise TrainingDataError(
                f"{where}, conversations: there is {PLACEHOLDER} but the row has no image"
            )
        return Instruction(str(row.get("id", "")), where, None, turns)
    if sum(marks) != 1 or marks[0] != 1:
        raise TrainingDataError(
            f"{where}, conversations: the first human value must hold {PLACEHOLDER} exactly once"
        )
    first = (turns[0][0].replace(PLACEHOLDER, "").strip(), turns[0][1])
    path = image_path(image, f"{where}, image", images)
    return Instruction(str(row.get("id", "")), where, path, (first, *turns[1:]))


def _turns(messages: Any, where: str) -> tuple[tuple[str, str], ...]:
    where = f"{where}, conversations"
    if not isinstance(messages, list) or not messages or len(messages) % 2:
        raise TrainingDataError(f"{where}: it must be a list of human and gpt messages in pairs")
    values: list[str] = []
    for number, message in enumerate(messages):
        wanted = _ROLES[number % 2]
        if not isinstance(message, dict) or message.get("from") != wanted:
            raise TrainingDataError(f"{where}: message {number} must be from {wanted!r}")
        value = message.get("value")
        if not isinstance(value, str) or (wanted == "gpt" and not value.strip()):
            raise TrainingDataError(f"{where}: message {number} needs a text in `value`")
        values.append(value)
    return tuple(zip(values[::2], values[1::2], strict=True))


def image_path(name: Any, where: str, images: Path | None) -> Path:
    """The file that a row names, below the folder `images`. Raises TrainingDataError."""
    if not isinstance(name, str) or not name:
        raise TrainingDataError(f"{where}: it must be a path below the folder of pictures")
    if images is None:
        raise TrainingDataError(f"{where}: there is a picture, but --images names no folder")
    try:
        return file_below(images, name)
    except PictureError as error:
        raise TrainingDataError(f"{where}: {error}") from error
