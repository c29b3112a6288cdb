"""JSON without what Python's parser lets through, and how a wrong row is told.

Imports errors only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from llava_chat.errors import TrainingDataError


class RowProblem(TrainingDataError):
    """One thing that is wrong in a row. kind: a few words that it is counted under."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind

    def __reduce__(self) -> tuple[type[RowProblem], tuple[str, str]]:
        """Pickled with both, to come out of a worker."""
        return type(self), (self.kind, str(self))


MAX_ROW_BYTES = 2**26
"""Of one row's JSON. A conversation has some thousands; a picture in base64 some millions."""


def check_size(size_bytes: int, where: str) -> None:
    """Raise RowProblem for a row of more than MAX_ROW_BYTES, before it is read."""
    if size_bytes > MAX_ROW_BYTES:
        sentence = f"{where}: it has {size_bytes:,} bytes; at most {MAX_ROW_BYTES:,} are read"
        raise RowProblem("too large", sentence)


Tell = Callable[[RowProblem], None]
"""Takes each problem of a row as it is found: raises the first, or collects them all."""


def refuse(problem: RowProblem) -> NoReturn:
    """Raise the first problem: how a row is told that has to be right."""
    raise problem


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


def parsed(text: bytes, where: str) -> Any:
    """What one row's JSON says, not yet checked. Raises RowProblem."""
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=as_object)
    except RecursionError as error:
        sentence = f"{where}: its lists and objects are nested too deeply"
        raise RowProblem("not JSON", sentence) from error
    except ValueError as error:
        raise RowProblem("not JSON", f"{where}: {error}") from error


def check_json(row: Any, where: str, tell: Tell = refuse) -> None:
    """Tell what Python's parser lets through: keys twice, NaN, half of a surrogate pair."""
    for field, value in _fields(row):
        place = f"{where}, {field}" if field else where
        if isinstance(value, _Twice):
            sentence = f"{place}: the key {value.key!r} stands twice in one object"
            tell(RowProblem("key twice", sentence))
        elif isinstance(value, float) and not math.isfinite(value):
            tell(RowProblem("no JSON number", f"{place}: {value} is no JSON number"))
        elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            sentence = f"{place}: it holds half a character (a lone surrogate)"
            tell(RowProblem("half a character", sentence))


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
