"""Items from files: JSONL, CSV, and LLaVA's instruction JSON, checked row by row.

    jsonl  {"question" | "turns", "picture"?, "pictures"?, "reply"?, "replies"?, "gold"?} a line
    csv    the same as columns: question, picture, pictures (divided by `|`), reply, reply_2 to
           reply_32, gold (JSON)
    llava  [{"image"?, "conversations": [{"from": "human" | "gpt", "value"}], "gold"?}]; a last
           answer is the reply that is judged

Rows are counted from 0, in a CSV as a spreadsheet does (its header is row 1). Imports the checks of
feedback, image's check of names, and errors.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from llava_chat.errors import FeedbackError, PictureError
from llava_chat.feedback.annotation.content import (
    MAX_TEXT_CHARS,
    MAX_WRITER_CHARS,
    Content,
    ShownReply,
    ShownTurn,
    check_content,
)
from llava_chat.feedback.annotation.form import Form
from llava_chat.feedback.annotation.values import checked_values
from llava_chat.feedback.fields import JsonObject, loads
from llava_chat.feedback.words import MAX_RANKED
from llava_chat.image import check_name

MAX_ROWS = 20_000
"""At once: some seconds of one transaction. More come in several files."""
PLACEHOLDER = "<image>"
_ROLES = {"human": "user", "gpt": "assistant"}
_REPLIES = ("reply", *(f"reply_{number}" for number in range(2, MAX_RANKED + 1)))
_COLUMNS = frozenset({"question", "picture", "pictures", "gold", *_REPLIES})


@dataclass(frozen=True)
class ReadItem:
    """An item of a file. where: file, row. pictures: the names that the row gives them."""

    where: str
    content: Content
    pictures: tuple[str, ...] = ()
    gold: Mapping[str, Any] | None = None


def read_items(form: Form, format: str, text: str, name: str) -> list[ReadItem]:
    """The items of a file's text, in their order; name: the file's, for what is told.

    Raises FeedbackError naming file, row and field at the first thing that is wrong.
    """
    if format not in FORMATS:
        raise FeedbackError(f"format: it must be {', '.join(FORMATS)}.")
    found: list[ReadItem] = []
    for told in FORMATS[format](text.removeprefix("\ufeff"), name):
        if len(found) == MAX_ROWS:
            raise FeedbackError(f"{name}: it has more than {MAX_ROWS:,} rows: add it in parts.")
        found.append(_item(form, told))
    if not found:
        raise FeedbackError(f"{name}: there is no row in it.")
    return found


def _item(form: Form, told: JsonObject) -> ReadItem:
    names: list[str] = []
    turns = tuple(_turn(turn, names) for turn in told.inners("turns"))
    replies = tuple(_reply(reply) for reply in told.inners("replies"))
    content = Content(turns, replies, len(names))
    check_content(content, form, told.where)
    gold = told.take("gold", dict, type(None))
    if gold is not None:
        gold = checked_values(form, content, gold, complete=False, where=f"{told.where}, gold")
        if not gold:
            raise FeedbackError(f"{told.where}, gold: it names no value of the form.")
    return ReadItem(told.where, content, tuple(names), gold)


def _turn(told: JsonObject, names: list[str]) -> ShownTurn:
    first = len(names)
    for name in told.take("pictures", list, type(None)) or []:
        names.append(_picture_name(name, f"{told.where}, pictures"))
    role = told.take("role", str)
    return ShownTurn(role, _text(told, "text"), tuple(range(first, len(names))))


def _reply(told: JsonObject) -> ShownReply:
    model, adapter = (told.text(name, empty=True) for name in ("model", "adapter"))
    for name, writer in (("model", model), ("adapter", adapter)):
        if writer is not None and len(writer) > MAX_WRITER_CHARS:
            raise FeedbackError(f"{told.where}, {name}: at most {MAX_WRITER_CHARS} characters.")
    return ShownReply(_text(told, "text"), model, adapter)


def _text(told: JsonObject, field: str) -> str:
    text: str = told.text(field)
    if not text.strip() or len(text) > MAX_TEXT_CHARS:
        raise FeedbackError(
            f"{told.where}, {field}: it must have 1 to {MAX_TEXT_CHARS:,} characters."
        )
    return text


def _picture_name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise FeedbackError(f"{where}: it must be the name of a picture.")
    try:
        check_name(name)
    except PictureError as error:
        raise FeedbackError(f"{where}: {error}.") from error
    return name


def _jsonl(text: str, name: str) -> Iterator[JsonObject]:
    for number, line in enumerate(text.splitlines()):
        if line.strip():
            where = f"{name}, row {number}"
            yield _row(_parsed(line, where), where)


def _parsed(text: str, where: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise FeedbackError(f"{where}: it is not valid JSON: {error}.") from error


def _row(row: Any, where: str) -> JsonObject:
    """A row in any of the short forms as one with `turns` and `replies`."""
    told = JsonObject(row, where)
    for key in row.keys() - _KEYS:
        raise FeedbackError(f"{where}, {key[:40]}: there is no such field; there are {_SPOKEN}.")
    if ("turns" in row) == ("question" in row):
        raise FeedbackError(f"{where}, question: a row has either a question or turns.")
    pictures = _either(told, "picture", "pictures")
    turns = told.take("turns", list, type(None))
    if turns is None:
        names = [_picture_name(name, f"{where}, pictures") for name in pictures]
        turns = [{"role": "user", "text": _text(told, "question"), "pictures": names}]
    elif pictures:
        raise FeedbackError(f"{where}, pictures: with turns they stand in the turns.")
    replies = [
        {"text": reply} if isinstance(reply, str) else reply
        for reply in _either(told, "reply", "replies")
    ]
    return JsonObject({"turns": turns, "replies": replies, "gold": row.get("gold")}, where)


_KEYS = ("question", "turns", "picture", "pictures", "reply", "replies", "gold", "id")
_SPOKEN = ", ".join(_KEYS)


def _either(told: JsonObject, one: str, several: str) -> list[Any]:
    """What stands in the field for one, or in that for several."""
    single = told.take(one, str, dict, type(None))
    listed: list[Any] = told.take(several, list, type(None)) or []
    if single is not None and listed:
        raise FeedbackError(f"{told.where}, {several}: there is {one} as well.")
    return listed if single is None else [single]


def _csv(text: str, name: str) -> Iterator[JsonObject]:
    header_line = text.partition("\n")[0]
    # Spreadsheets write what their country's lists are divided by.
    delimiter = max(",;\t", key=header_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        for column in header:
            if column not in _COLUMNS or header.count(column) > 1:
                raise FeedbackError(
                    f"{name}, row 1, {column[:40]}: there must be columns of question, picture, "
                    f"pictures, reply, reply_2 to reply_{MAX_RANKED} and gold, each once."
                )
        for number, cells in enumerate(rows, start=2):
            if any(cell.strip() for cell in cells):
                yield _csv_row(header, cells, f"{name}, row {number}")
    except csv.Error as error:
        raise FeedbackError(f"{name}: it is no CSV: {error}.") from error


def _csv_row(header: list[str], cells: list[str], where: str) -> JsonObject:
    if len(cells) > len(header):
        raise FeedbackError(f"{where}: it has more cells than the header has columns.")
    told = {column: cell for column, cell in zip(header, cells, strict=False) if cell.strip()}
    row: dict[str, Any] = {
        "question": told.get("question", ""),
        "pictures": [one.strip() for one in told.get("pictures", "").split("|") if one.strip()],
        "replies": [told[column] for column in _REPLIES if column in told],
    }
    if "picture" in told:
        row["picture"] = told["picture"].strip()
    if "gold" in told:
        row["gold"] = _parsed(told["gold"], f"{where}, gold")
    return _row(row, where)


def _llava(text: str, name: str) -> Iterator[JsonObject]:
    rows = _parsed(text, name)
    if not isinstance(rows, list):
        raise FeedbackError(f"{name}: it must be a list of rows.")
    for number, row in enumerate(rows):
        yield _instruction(JsonObject(row, f"{name}, row {number}"))


def _instruction(told: JsonObject) -> JsonObject:
    images = told.take("image", str, list, type(None)) or []
    turns: list[dict[str, Any]] = []
    for message in told.inners("conversations"):
        role = _ROLES.get(message.take("from", str))
        if role is None:
            raise FeedbackError(f"{message.where}, from: it must be human or gpt.")
        value = message.take("value", str).replace(PLACEHOLDER, "").strip()
        turns.append({"role": role, "text": value})
    if turns:
        turns[0]["pictures"] = [images] if isinstance(images, str) else images
    judged = [turns.pop()] if turns and turns[-1]["role"] == "assistant" else []
    replies = [{"text": turn["text"]} for turn in judged]
    gold = told.take("gold", dict, type(None))
    return JsonObject({"turns": turns, "replies": replies, "gold": gold}, told.where)


FORMATS: Mapping[str, Callable[[str, str], Iterator[JsonObject]]] = MappingProxyType(
    {"jsonl": _jsonl, "csv": _csv, "llava": _llava}
)
"""What reads the rows of a file's text, each as an object with `turns`, `replies` and `gold`."""
