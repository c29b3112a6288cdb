"""The fields of a row that somebody else wrote: each checked, and named where it is wrong.

Imports conversation's check of text, and errors.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from llava_chat.conversation import well_formed
from llava_chat.errors import FeedbackError

_HEX = re.compile(r"[0-9a-f]{32}")


def loads(line: str) -> Any:
    """A line's JSON. Raises ValueError also for a key twice, for NaN and for infinities."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no number")

    return json.loads(line, object_pairs_hook=once, parse_constant=refuse)


class JsonObject:
    """A JSON object of a row that knows where it stands, for the sentence about what is wrong."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise FeedbackError(f"{where}: it must be an object.")
        self._value = value
        self.where = where

    def take(self, field: str, *kinds: type) -> Any:
        """A value of exactly one of these types; true is no number."""
        value = self._value.get(field)
        if type(value) not in kinds:
            raise FeedbackError(f"{self.where}, {field}: it is missing or of another type.")
        return value

    def optional(self, field: str) -> Any:
        """Whatever stands there, None for nothing."""
        return self._value.get(field)

    def text(self, field: str, *, empty: bool = False) -> Any:
        """A text without what no database takes. empty: None may stand for it."""
        value = self.take(field, str, *((type(None),) if empty else ()))
        return value and well_formed(value).replace("\0", "\ufffd")

    def number(self, field: str, below: int) -> Any:
        """A whole number from 0 on, below the limit of its column."""
        value = self.take(field, int)
        if not 0 <= value < below:
            raise FeedbackError(f"{self.where}, {field}: it is out of range.")
        return value

    def hex(self, field: str) -> str:
        """An id or a person's hash: 32 hex digits."""
        value = str(self.take(field, str))
        if not _HEX.fullmatch(value):
            raise FeedbackError(f"{self.where}, {field}: it must be 32 hex digits.")
        return value

    def time(self, field: str) -> datetime:
        """A time in ISO 8601, with its zone."""
        try:
            time = datetime.fromisoformat(self.take(field, str))
        except ValueError:
            time = datetime.min
        if time.tzinfo is None:
            raise FeedbackError(f"{self.where}, {field}: it must be a time with a zone.")
        return time

    def inner(self, field: str) -> JsonObject | None:
        """An object, or None for null and for nothing."""
        value = self._value.get(field)
        return None if value is None else JsonObject(value, f"{self.where}, {field}")

    def inners(self, field: str) -> list[JsonObject]:
        """A list of objects."""
        return [
            JsonObject(value, f"{self.where}, {field}[{place}]")
            for place, value in enumerate(self.take(field, list))
        ]
