"""Pairs of replies from a JSONL file, the shape that trainers of preferences read.

`{"prompt": [MESSAGE, ...], "chosen": [MESSAGE], "rejected": [MESSAGE], "images": [PATH, ...]}`, a
row a line. A message is `{"role", "content"}`, its content a text or parts, `{"type": "image"}` and
`{"type": "text", "text"}`; images stand in the order of their parts, each a path below the folder
of the file. Imports conversation, image, errors and the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llava_chat.conversation import Conversation, Role, Turn
from llava_chat.errors import PictureError, TrainingDataError
from llava_chat.image import Picture
from llava_chat.training.adapter.lessons import Preference
from llava_chat.training.data.sources import image_path
from llava_chat.training.data.strict import as_object, check_json


def read_preferences(file: Path, read: Callable[[Path], Picture]) -> list[Preference]:
    """Every row. read: a picture from its file.

    Raises TrainingDataError naming file, row and field at the first thing that is wrong.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TrainingDataError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise TrainingDataError(f"{file}: {error}") from error
    found = [
        _preference(_parsed(line, f"{file}, line {number}"), f"{file}, line {number}", file, read)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise TrainingDataError(f"{file}: the file must hold at least one row")
    return found


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=as_object)
    except (ValueError, RecursionError) as error:
        raise TrainingDataError(f"{where}: {error}") from error
    check_json(row, where)
    if not isinstance(row, dict):
        raise TrainingDataError(f"{where}: a row must be an object")
    return row


def _preference(
    row: dict[str, Any], where: str, file: Path, read: Callable[[Path], Picture]
) -> Preference:
    pictures = iter(_pictures(row.get("images"), where, file, read))
    prompt = _prompt(row.get("prompt"), f"{where}, prompt", pictures)
    if next(pictures, None) is not None:
        raise TrainingDataError(f"{where}, images: there are more than the prompt's image parts")
    chosen, rejected = (_reply(row.get(name), f"{where}, {name}") for name in _REPLIES)
    if chosen == rejected:
        raise TrainingDataError(f"{where}: chosen and rejected are the same reply")
    return Preference(prompt, chosen, rejected, where)


_REPLIES = ("chosen", "rejected")


def _pictures(
    names: Any, where: str, file: Path, read: Callable[[Path], Picture]
) -> Iterator[Picture]:
    where = f"{where}, images"
    if names is None:
        return
    if not isinstance(names, list):
        raise TrainingDataError(f"{where}: it must be a list of paths")
    for name in names:
        path = image_path(name, where, file.parent)
        try:
            yield read(path)
        except PictureError as error:
            raise TrainingDataError(f"{where}: {error}") from error


def _prompt(messages: Any, where: str, pictures: Iterator[Picture]) -> Conversation:
    if not isinstance(messages, list) or not messages:
        raise TrainingDataError(f"{where}: it must be a list of messages")
    system: str | None = None
    if isinstance(messages[0], dict) and messages[0].get("role") == "system":
        system, images = _content(messages[0], f"{where}, message 0")
        if images:
            raise TrainingDataError(f"{where}, message 0: only the user shows images")
        messages = messages[1:]
    turns: list[Turn] = []
    for number, message in enumerate(messages, int(system is not None)):
        role: Role = "assistant" if len(turns) % 2 else "user"
        place = f"{where}, message {number}"
        if not isinstance(message, dict) or message.get("role") != role:
            raise TrainingDataError(f"{place}: it must be of the {role}")
        text, images = _content(message, place)
        if images and role != "user":
            raise TrainingDataError(f"{place}: only the user shows images")
        shown = tuple(_next(pictures, place) for _ in range(images))
        turns.append(Turn(role, text, shown))
    if len(turns) % 2 == 0:
        raise TrainingDataError(f"{where}: it must end with a message of the user")
    return Conversation(tuple(turns), system)


def _next(pictures: Iterator[Picture], where: str) -> Picture:
    picture = next(pictures, None)
    if picture is None:
        raise TrainingDataError(f"{where}: it has an image part without a path in images")
    return picture


def _reply(messages: Any, where: str) -> str:
    if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
        raise TrainingDataError(f"{where}: it must be a list of one message")
    text, images = _content(messages[0], where)
    if messages[0].get("role") != "assistant" or images or not text.strip():
        raise TrainingDataError(f"{where}: it must be a text of the assistant")
    return text


def _content(message: dict[str, Any], where: str) -> tuple[str, int]:
    """The text of a message, and how many images stand in it."""
    content = message.get("content")
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        raise TrainingDataError(f"{where}, content: it must be a text or a list of parts")
    texts: list[str] = []
    images = 0
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image":
            images += 1
        elif kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise TrainingDataError(f"{where}, content: a part must be an image or a text")
    return "\n".join(texts), images
