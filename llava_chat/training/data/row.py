"""One row of LLaVA's instruction data, checked by every rule, as what a conversation is made of.

`{"id", "image"?, "conversations": [{"from": "human" | "gpt", "value"}]}`, with `<image>` in a human
value where a picture stands (haotian-liu/LLaVA, docs/Finetune_Custom_Data.md). `image` is a path,
`{"bytes", "path"}` as Hugging Face's `datasets` keep pictures, or a list of them. Imports
conversation, image, errors and the modules beside it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import BrokenSampleError, PictureError
from llava_chat.image import Picture
from llava_chat.training.data.sources import Absent, Member, Pictures, Source, read_source
from llava_chat.training.data.strict import RowProblem, Tell, check_json, refuse

PLACEHOLDER = "<image>"
_ROLES = ("human", "gpt")


@dataclass(frozen=True)
class Instruction:
    """One checked row.

    id: "" where it has none. where: its file and number. turns: each a question and its answer.
    images: where the pictures of each question are, which stand before its words.
    """

    id: str
    where: str
    turns: tuple[tuple[str, str], ...]
    images: tuple[tuple[Source, ...], ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where all of its pictures are, in the order that they are shown."""
        return tuple(source for shown in self.images for source in shown)

    def conversation(self, read: Callable[[Source], Picture] = read_source) -> Conversation:
        """The row as a conversation, each picture with its question.

        Raises BrokenSampleError when a picture is missing or cannot be read.
        """
        turns: list[Turn] = []
        for (question, answer), shown in zip(self.turns, self.images, strict=True):
            try:
                pictures = tuple(map(read, shown))
            except PictureError as error:
                raise BrokenSampleError(f"{self.where}, image: {error}") from error
            turns += [Turn("user", question, pictures), Turn("assistant", answer)]
        return Conversation(tuple(turns))

    def present(self) -> Instruction:
        """The row itself. Raises BrokenSampleError when one of its pictures is missing."""
        for source in self.sources:
            if isinstance(source, Absent):
                raise BrokenSampleError(f"{self.where}, image: {source.reason}")
        return self


def instruction_of(
    row: Any, where: str, pictures: Pictures, tell: Tell = refuse
) -> Instruction | None:
    """The row as an Instruction; None when something was wrong that `tell` did not raise.

    A picture that is not there is no problem of the row: `present` and `conversation` raise it.
    """
    told: list[RowProblem] = []

    def note(kind: str, field: str, sentence: str) -> None:
        told.append(RowProblem(kind, f"{where}, {field}: {sentence}"))
        tell(told[-1])

    def pass_on(problem: RowProblem) -> None:
        told.append(problem)
        tell(problem)

    check_json(row, where, pass_on)
    if not isinstance(row, dict):
        if not told:
            pass_on(RowProblem("no object", f"{where}: a row must be an object"))
        return None
    turns = _turns(row.get("conversations"), note)
    images = _sources(row.get("image"), pictures, note)
    if turns is None:
        return None
    marks = [question.count(PLACEHOLDER) for question, _ in turns]
    count = _image_count(row.get("image"))
    if sum(marks) != count:
        note("<image> and pictures", "conversations", _mismatch(sum(marks), count))
    if told:
        return None
    rest = iter(images)
    shown = tuple(tuple(next(rest) for _ in range(each)) for each in marks)
    without = tuple((_without_marks(question), answer) for question, answer in turns)
    name = row.get("id")
    return Instruction("" if name is None else str(name), where, without, shown)


_Note = Callable[[str, str, str], None]


def _without_marks(question: str) -> str:
    r"""The words of a question, whose pictures stand before them.

    >>> _without_marks("<image>\nWhat is it?"), _without_marks(" As it is. ")
    ('What is it?', ' As it is. ')
    """
    return question.replace(PLACEHOLDER, "").strip() if PLACEHOLDER in question else question


def _mismatch(marks: int, count: int) -> str:
    """The sentence about a row whose placeholders are not as many as its pictures.

    >>> _mismatch(1, 0)
    'there is <image> but the row has no image'
    """
    if not count:
        return f"there is {PLACEHOLDER} but the row has no image"
    wanted = "exactly once" if count == 1 else f"{count} times, once for each picture"
    return f"the human values must hold {PLACEHOLDER} {wanted}; it is there {marks} times"


def _turns(messages: Any, note: _Note) -> tuple[tuple[str, str], ...] | None:
    field = "conversations"
    if not isinstance(messages, list) or not messages or len(messages) % 2:
        note("no pairs", field, "it must be a list of human and gpt messages in pairs")
        return None
    values: list[str] = []
    for number, message in enumerate(messages):
        wanted = _ROLES[number % 2]
        if not isinstance(message, dict) or message.get("from") != wanted:
            note("order", field, f"message {number} must be from {wanted!r}")
            continue
        value = message.get("value")
        if not isinstance(value, str) or (wanted == "gpt" and not value.strip()):
            note("no text", field, f"message {number} needs a text in `value`")
            continue
        values.append(value)
    if len(values) < len(messages):
        return None
    return tuple(zip(values[::2], values[1::2], strict=True))


def _image_count(image: Any) -> int:
    return len(image) if isinstance(image, list | tuple) else int(image is not None)


def _sources(image: Any, pictures: Pictures, note: _Note) -> list[Source]:
    """Where the pictures of a row are; fewer than it has when one of them is not as it must be."""
    if image is None:
        return []
    several = isinstance(image, list | tuple)
    found: list[Source] = []
    for number, each in enumerate(image if several else (image,)):
        field = f"image[{number}]" if several else "image"
        source = _source(each, pictures, field, note)
        found += () if source is None else (source,)
    return found


def _source(image: Any, pictures: Pictures, field: str, note: _Note) -> Source | None:
    if isinstance(image, Member | bytes):
        return image
    name = image.get("path") if isinstance(image, dict) else image
    inside = image.get("bytes") if isinstance(image, dict) else None
    if isinstance(inside, bytes):
        return inside
    if isinstance(inside, str):
        try:
            return base64.b64decode(inside, validate=True)
        except (binascii.Error, ValueError):
            note("picture's path", field, "its `bytes` are not in base64")
            return None
    if not isinstance(name, str) or not name:
        note("picture's path", field, "it must be a path below the folder of pictures")
        return None
    try:
        return pictures.find(name)
    except PictureError as error:
        note("picture's path", field, str(error))
        return None
