"""What people enter in a form, checked by the types of its fields; also what gold items ask for.

Imports the form, conversation's check of text, and errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from llava_chat.conversation import well_formed
from llava_chat.errors import FeedbackError
from llava_chat.feedback.annotation.content import Content
from llava_chat.feedback.annotation.form import Field, Form
from llava_chat.feedback.words import MAX_CORRECTION_CHARS

MAX_SPANS = 200
MAX_BOXES = 100
MAX_DRAFT_CHARS = 100_000
MAX_DRAFT_DEPTH = 6
MAX_LEAD_TIME_S = 30 * 24 * 3600
"""A page that stayed open for longer was not worked at."""

Values = dict[str, Any]


def checked_values(
    form: Form, content: Content, values: Any, *, complete: bool = True, where: str = "values"
) -> Values:
    """What was entered, by the fields' names, checked; what is empty is left out.

    complete: refuse where a required field is empty. Raises FeedbackError naming the field.

    >>> form = [{"name": "good", "type": "scale", "min": 1, "max": 5, "required": True}]
    >>> checked_values(form, Content(), {"good": 4})
    {'good': 4}
    >>> checked_values(form, Content(), {"good": 6})
    Traceback (most recent call last):
    llava_chat.errors.FeedbackError: values, good: it must be a whole number from 1 to 5.
    """
    if not isinstance(values, dict):
        raise FeedbackError(f"{where}: it must be an object with a value for each field.")
    for name in values.keys() - {field["name"] for field in form}:
        raise FeedbackError(f"{where}, {name[:40]}: the form has no such field.")
    found: Values = {}
    for field in form:
        name, value = field["name"], values.get(field["name"])
        if value is None or value in ([], "") or (isinstance(value, str) and not value.strip()):
            if complete and field["required"]:
                raise FeedbackError(f"{where}, {name}: it is asked for; fill it in.")
            continue
        try:
            found[name] = _CHECKS[field["type"]](field, content, value)
        except _Wrong as wrong:
            raise FeedbackError(f"{where}, {name}: {wrong}") from None
    return found


def checked_draft(form: Form, values: Any) -> Values:
    """What somebody has entered so far, which need not make sense yet: known fields, plain JSON."""
    if not isinstance(values, dict):
        raise FeedbackError("values: it must be an object with a value for each field.")
    names = {field["name"] for field in form}
    for name in values.keys() - names:
        raise FeedbackError(f"values, {name[:40]}: the form has no such field.")
    found: Values = _plain(values, MAX_DRAFT_DEPTH)
    if len(str(found)) > MAX_DRAFT_CHARS:
        raise FeedbackError(f"values: more than {MAX_DRAFT_CHARS:,} characters are not kept.")
    return found


def checked_seconds(lead_time_s: Any) -> float:
    """How long somebody had an item before them, at most 30 days of it."""
    if type(lead_time_s) not in (int, float) or not 0 <= lead_time_s < math.inf:
        raise FeedbackError("lead_time_s: it must be a number of seconds.")
    return min(float(lead_time_s), MAX_LEAD_TIME_S)


class _Wrong(Exception):
    """A value is not as its field wants it."""


def _scale(field: Field, content: Content, value: Any) -> int:
    if type(value) is not int or not field["min"] <= value <= field["max"]:
        raise _Wrong(f"it must be a whole number from {field['min']} to {field['max']}.")
    return value


def _chips(field: Field, content: Content, value: Any) -> list[str]:
    known = [option["value"] for option in field["options"]]
    if not isinstance(value, list) or not all(isinstance(chip, str) for chip in value):
        raise _Wrong("it must be a list of options.")
    _check_options(known, value)
    if field["max"] is not None and len(set(value)) > field["max"]:
        raise _Wrong(f"at most {field['max']} may be chosen.")
    return [chip for chip in known if chip in value]


def _choice(field: Field, content: Content, value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("it must be one of the options.")
    _check_options([option["value"] for option in field["options"]], [value])
    return value


def _check_options(known: list[str], given: list[str]) -> None:
    for value in given:
        if value not in known:
            raise _Wrong(f"there is no option {value[:40]!r}.")


def _text(field: Field, content: Content, value: Any) -> str:
    return _words(value, field["max_chars"])


def _correction(field: Field, content: Content, value: Any) -> str:
    return _words(value, MAX_CORRECTION_CHARS)


def _words(value: Any, max_chars: int) -> str:
    if not isinstance(value, str):
        raise _Wrong("it must be a text.")
    if len(value) > max_chars:
        raise _Wrong(
            f"it has {len(value):,} characters; at most {max_chars:,} are kept. Shorten it."
        )
    return _storable(value)


def _spans(field: Field, content: Content, value: Any) -> list[dict[str, Any]]:
    length = len(content.replies[field["reply"]].text)
    found = []
    for span in _objects(value, {"start", "end", "label"}, MAX_SPANS):
        start, end = span["start"], span["end"]
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
            raise _Wrong(f"a span must begin before it ends, within the {length} characters.")
        _check_label(field, span["label"])
        found.append({"start": start, "end": end, "label": span["label"]})
    return sorted(found, key=lambda span: (span["start"], span["end"]))


def _boxes(field: Field, content: Content, value: Any) -> list[dict[str, Any]]:
    found = []
    for told in _objects(value, {"picture", "label", "box"}, MAX_BOXES):
        picture, box = told["picture"], told["box"]
        if type(picture) is not int or not 0 <= picture < content.pictures:
            raise _Wrong(f"there is no picture {str(picture)[:20]}.")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_share, box)):
            raise _Wrong("a box must be [x0, y0, x1, y1] in shares of the sides, from 0 to 1.")
        x0, y0, x1, y1 = map(float, box)
        if not (x0 < x1 and y0 < y1):
            raise _Wrong("a box must have a width and a height.")
        _check_label(field, told["label"])
        found.append({"picture": picture, "label": told["label"], "box": [x0, y0, x1, y1]})
    return found


def _best_of(field: Field, content: Content, value: Any) -> list[int]:
    count = len(content.replies)
    ints = isinstance(value, list) and all(type(place) is int for place in value)
    if not ints or sorted(value) != list(range(count)):
        raise _Wrong(f"it must name the replies 0 to {count - 1}, each once, best first.")
    return list(value)


_CHECKS: Mapping[str, Callable[[Field, Content, Any], Any]] = MappingProxyType(
    {
        "scale": _scale,
        "chips": _chips,
        "choice": _choice,
        "text": _text,
        "correction": _correction,
        "spans": _spans,
        "boxes": _boxes,
        "best_of": _best_of,
    }
)


def _objects(value: Any, keys: set[str], most: int) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > most:
        raise _Wrong(f"it must be a list of at most {most}.")
    for told in value:
        if not isinstance(told, dict) or told.keys() != keys:
            raise _Wrong(f"each must be an object with {', '.join(sorted(keys))}.")
    return value


def _share(number: Any) -> bool:
    return type(number) in (int, float) and 0 <= number <= 1


def _check_label(field: Field, label: Any) -> None:
    if label not in field["labels"]:
        raise _Wrong(f"there is no label {str(label)[:40]!r}.")


def _plain(value: Any, depth: int) -> Any:
    """JSON that every database takes."""
    if depth < 0:
        raise FeedbackError("values: they are nested too deeply.")
    if isinstance(value, dict):
        return {_storable(key): _plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, depth - 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise FeedbackError("values: infinity is no number that is kept.")
    if isinstance(value, int) and abs(value) >= 2**53:
        raise FeedbackError("values: a number is too large.")
    return _storable(value) if isinstance(value, str) else value


def _storable(text: str) -> str:
    return well_formed(text).replace("\x00", "\ufffd")  # which PostgreSQL does not take
