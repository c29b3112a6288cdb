"""A conversation from JSON, the shape that the command `prompt` reads.

{"system"?: str, "turns": [{"role": "user"|"assistant", "text": str, "images"?: [path]}]}

A field `about`, of the conversation or of a turn, is not read: an export keeps there what else is
known (title, template, settings, what made a reply).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llava_chat.conversation.message import MAX_MESSAGE_CHARS, check_message, well_formed
from llava_chat.conversation.turns import Conversation, Role, Turn
from llava_chat.errors import MessageError, UsageError
from llava_chat.image import Picture

ReadPicture = Callable[[Path], Picture]


def conversation_from_json(
    data: object,
    base_dir: Path,
    read_picture: ReadPicture,
    *,
    max_chars: int = MAX_MESSAGE_CHARS,
) -> Conversation:
    """The conversation in parsed JSON. Paths of pictures are relative to `base_dir`.

    Raises UsageError that names the turn and field, MessageError for an empty or overlong message
    of the user's, and what `read_picture` raises.

    >>> talk = {"system": "Be brief.", "turns": [{"role": "user", "text": "Hi"}]}
    >>> conversation_from_json(talk, Path(), lambda path: None).turns[0].text
    'Hi'
    """
    fields = _fields(data, "The conversation", required={"turns"}, optional={"system", "about"})
    system = fields.get("system")
    if system is not None and not isinstance(system, str):
        raise UsageError("The conversation's 'system' must be text.")
    turns = fields["turns"]
    if not isinstance(turns, list) or not turns:
        raise UsageError("The conversation's 'turns' must be a list of at least one turn.")
    read = tuple(
        _turn(each, place, base_dir, read_picture, max_chars)
        for place, each in enumerate(turns, start=1)
    )
    return Conversation(read, None if system is None else well_formed(system))


def _turn(
    data: object, place: int, base_dir: Path, read_picture: ReadPicture, max_chars: int
) -> Turn:
    name = f"Turn {place}"
    fields = _fields(data, name, required={"role", "text"}, optional={"images", "about"})
    expected: Role = "user" if place % 2 else "assistant"
    if fields["role"] != expected:
        raise UsageError(
            f"{name} must have the role {expected!r}, not {fields['role']!r}: turns alternate, the "
            "user's first."
        )
    text, images = fields["text"], fields.get("images", [])
    if not isinstance(text, str):
        raise UsageError(f"{name}: 'text' must be text.")
    if not isinstance(images, list) or not all(isinstance(each, str) for each in images):
        raise UsageError(f"{name}: 'images' must be a list of paths.")
    if expected == "assistant":
        if images:
            raise UsageError(f"{name}: only the user's turns bring 'images'.")
        return Turn("assistant", well_formed(text))
    try:
        text = check_message(text, max_chars=max_chars, has_picture=bool(images))
    except MessageError as error:
        raise MessageError(f"{name}: {error}") from error
    return Turn("user", text, tuple(read_picture(base_dir / each) for each in images))


def _fields(
    data: object, name: str, *, required: set[str], optional: set[str]
) -> dict[str, object]:
    """The object's fields. Raises UsageError when one is missing or unknown."""
    if not isinstance(data, dict):
        raise UsageError(f"{name} must be a JSON object, not {type(data).__name__}.")
    for missing in sorted(required - data.keys()):
        raise UsageError(f"{name} has no {missing!r}.")
    for unknown in sorted(data.keys() - required - optional):
        known = ", ".join(sorted(required | optional))
        raise UsageError(f"{name} has the field {unknown!r}, but only {known} are known.")
    return data
