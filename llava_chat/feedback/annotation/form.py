"""The form of a project: fields with types, checked once when the project is made.

    scale        a whole number from `min` to `max`           chips    some of `options`
    choice       one of `options`                             text     words
    correction   what a reply should have said                spans    marked parts of a reply
    boxes        boxes on the pictures                        best_of  the replies, best first

A field is kept as the JSON that it came as, its defaults filled in; `values` checks what people
enter. Imports conversation's check of text, the checks of feedback, and errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from llava_chat.errors import FeedbackError
from llava_chat.feedback.fields import JsonObject
from llava_chat.feedback.words import MAX_COMMENT_CHARS, MAX_CORRECTION_CHARS, MAX_RANKED

Field = Mapping[str, Any]
Form = Sequence[Field]

MAX_FIELDS = 40
MAX_LABEL_CHARS = 200
MAX_HELP_CHARS = 1_000
MAX_OPTIONS = 60
MAX_STEPS = 11
"""0 to 10, the longest scale that is in common use (NPS); people tell no more steps apart."""
USES = ("rating",)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def checked_form(document: Any) -> list[dict[str, Any]]:
    """The fields of a form, checked, defaults filled in.

    Raises FeedbackError naming the field.

    >>> checked_form([{"name": "why", "type": "text", "label": "Why?", "required": True}])
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'name': 'why', 'type': 'text', 'label': 'Why?', 'help': '', 'required': True,
      'max_chars': 2000}]
    >>> checked_form([{"name": "ok", "type": "stars", "label": "Right?"}])
    Traceback (most recent call last):
    llava_chat.errors.FeedbackError: form, field 'ok', type: there is no type 'stars'; there are \
scale, chips, choice, text, correction, spans, boxes, best_of.
    """
    if not isinstance(document, list) or not 1 <= len(document) <= MAX_FIELDS:
        raise FeedbackError(f"form: it must be a list of 1 to {MAX_FIELDS} fields.")
    form: list[dict[str, Any]] = []
    for number, told in enumerate(document):
        field = _field(told, f"form, field {number}")
        if any(field["name"] == other["name"] for other in form):
            raise FeedbackError(f"form, field {field['name']!r}: the name is another field's too.")
        form.append(field)
    return form


def _field(document: Any, where: str) -> dict[str, Any]:
    told = JsonObject(document, where)
    name = told.take("name", str)
    if not _NAME.fullmatch(name):
        raise FeedbackError(
            f"{where}, name: it must have 1 to 40 small letters, digits or underscores and begin "
            "with a letter."
        )
    told.where = where = f"form, field {name!r}"
    kind = told.take("type", str)
    if kind not in TYPES:
        raise FeedbackError(
            f"{where}, type: there is no type {kind[:40]!r}; there are {', '.join(TYPES)}."
        )
    field = {
        "name": name,
        "type": kind,
        "label": _text(told, "label", MAX_LABEL_CHARS),
        "help": _text(told, "help", MAX_HELP_CHARS, default=""),
        "required": _flag(told, "required"),
        **TYPES[kind](told),
    }
    for unknown in document.keys() - field.keys() - _OPTIONAL:
        raise FeedbackError(f"{where}, {unknown[:40]}: a field of type {kind} has no such key.")
    return field


def _scale(told: JsonObject) -> dict[str, Any]:
    least, most = (told.take(name, int) for name in ("min", "max"))
    if not -1000 <= least < most <= 1000 or most - least >= MAX_STEPS:
        raise FeedbackError(
            f"{told.where}, max: it must be above min, with at most {MAX_STEPS} steps in all."
        )
    labels = told.take("labels", dict, type(None)) or {}
    for step, label in labels.items():
        if step not in map(str, range(least, most + 1)) or not isinstance(label, str):
            raise FeedbackError(
                f"{told.where}, labels: it must be like {{'{least}': 'bad'}}, for steps of it."
            )
    labels = {step: label[:MAX_LABEL_CHARS] for step, label in labels.items()}
    found = {"min": least, "max": most, "labels": labels, "reply": _reply(told)}
    return found | _use(told, lambda good: type(good) is int and least <= good <= most)


def _chips(told: JsonObject) -> dict[str, Any]:
    options = _options(told)
    most = told.take("max", int, type(None))
    if most is not None and not 1 <= most <= len(options):
        raise FeedbackError(f"{told.where}, max: it must be 1 to {len(options)}, as many options.")
    return {"options": options, "max": most, "reply": _reply(told)}


def _choice(told: JsonObject) -> dict[str, Any]:
    options = _options(told)
    values = [option["value"] for option in options]
    use = _use(told, lambda good: good in values)
    if use and not use["good"]:
        raise FeedbackError(f"{told.where}, good: name the options of a rating that are good.")
    return {"options": options, "reply": _reply(told)} | use


def _words(told: JsonObject) -> dict[str, Any]:
    most = told.take("max_chars", int, type(None))
    most = MAX_COMMENT_CHARS if most is None else most
    if not 1 <= most <= MAX_CORRECTION_CHARS:
        raise FeedbackError(f"{told.where}, max_chars: it must be 1 to {MAX_CORRECTION_CHARS:,}.")
    return {"max_chars": most}


def _correction(told: JsonObject) -> dict[str, Any]:
    return {"reply": _reply(told)}


def _spans(told: JsonObject) -> dict[str, Any]:
    return {"labels": _labels(told), "reply": _reply(told)}


def _boxes(told: JsonObject) -> dict[str, Any]:
    return {"labels": _labels(told)}


def _best_of(told: JsonObject) -> dict[str, Any]:
    return {}


TYPES: Mapping[str, Callable[[JsonObject], dict[str, Any]]] = MappingProxyType(
    {
        "scale": _scale,
        "chips": _chips,
        "choice": _choice,
        "text": _words,
        "correction": _correction,
        "spans": _spans,
        "boxes": _boxes,
        "best_of": _best_of,
    }
)
"""What is read of a field besides what all have, by its type."""

_OPTIONAL = frozenset({"use", "good"})


def _text(told: JsonObject, field: str, max_chars: int, default: str | None = None) -> str:
    text: str | None = told.text(field, empty=default is not None)
    text = default if text is None else text
    if text is None or len(text) > max_chars or (default is None and not text.strip()):
        raise FeedbackError(f"{told.where}, {field}: it must have 1 to {max_chars} characters.")
    return text


def _flag(told: JsonObject, field: str) -> bool:
    return bool(told.take(field, bool, type(None)))


def _reply(told: JsonObject) -> int:
    """Which reply of an item a field is about, from 0."""
    reply = told.take("reply", int, type(None)) or 0
    if not 0 <= reply < MAX_RANKED:
        raise FeedbackError(f"{told.where}, reply: it must be 0 to {MAX_RANKED - 1}.")
    return int(reply)


def _use(told: JsonObject, is_value: Callable[[Any], bool]) -> dict[str, Any]:
    """`use`, and for a rating which values are `good`: by default the upper half of a scale."""
    use = told.take("use", str, type(None))
    if use is None:
        return {}
    if use not in USES:
        raise FeedbackError(f"{told.where}, use: it can be {', '.join(USES)} only.")
    good = told.take("good", list, type(None)) or []
    if not all(map(is_value, good)):
        raise FeedbackError(f"{told.where}, good: each must be a value of this field.")
    return {"use": use, "good": good}


def _options(told: JsonObject) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for option in told.take("options", list):
        value, label = option, option
        if isinstance(option, dict):
            value, label = option.get("value"), option.get("label", option.get("value"))
        if not (_short(value) and _short(label)):
            raise FeedbackError(
                f"{told.where}, options: each must be a text of at most {MAX_LABEL_CHARS} "
                "characters, or an object with `value` and `label`."
            )
        found.append({"value": value, "label": label})
    values = {option["value"] for option in found}
    if not 1 <= len(found) <= MAX_OPTIONS or len(values) < len(found):
        raise FeedbackError(f"{told.where}, options: there must be 1 to {MAX_OPTIONS}, each once.")
    return found


def _labels(told: JsonObject) -> list[str]:
    labels: list[str] = told.take("labels", list)
    if not 1 <= len(labels) <= MAX_OPTIONS or not all(map(_short, labels)):
        raise FeedbackError(
            f"{told.where}, labels: there must be 1 to {MAX_OPTIONS} texts of at most "
            f"{MAX_LABEL_CHARS} characters."
        )
    if len(set(labels)) < len(labels):
        raise FeedbackError(f"{told.where}, labels: one stands there twice.")
    return labels


def _short(text: Any) -> bool:
    """A text for a label, of characters that every database takes."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_LABEL_CHARS:
        return False
    return not re.search("[\x00\ud800-\udfff]", text)
