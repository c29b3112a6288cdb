"""From the settings' fields to flags and variables, and back from what was given to settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, ByteSize, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from llava_chat.errors import SettingError
from llava_chat.settings.fields import MIN_KEY_CHARS, PREFIX, Settings


def flag(name: str) -> str:
    """The command line's name of a field.

    >>> flag("max_new_tokens")
    '--max-new-tokens'
    """
    return "--" + name.replace("_", "-")


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that set a field, the first of them winning.

    >>> variables("top_p"), variables("port")
    (('LLAVA_CHAT_TOP_P',), ('LLAVA_CHAT_PORT', 'GRADIO_SERVER_PORT'))
    """
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (PREFIX + name.upper(),)


def add_arguments(
    parser: argparse.ArgumentParser, names: Iterable[str], title: str = "settings"
) -> None:
    """Add a flag for each of the fields `names`, under a heading of the help.

    A flag that is not given leaves no attribute, so that the variable or the default holds.
    Values stay text: `load_settings` checks them, whichever way they came.
    """
    group = parser.add_argument_group(title)
    for name in names:
        field = Settings.model_fields[name]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        group.add_argument(
            flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            choices=choices,
            metavar=None if choices else _metavar(field),
            help=_help(name, field).replace("%", "%%"),
        )


def load_settings(namespace: argparse.Namespace | None = None) -> Settings:
    """Flags from `namespace`, then variables, then defaults.

    Raises SettingError naming the flag, or the variable, that the first wrong value came from.
    """
    given = {
        name: value
        for name, value in vars(namespace or argparse.Namespace()).items()
        if name in Settings.model_fields
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = _field_name(str(first["loc"][0]))
        raise SettingError(_origin(name, given), _problem(name, first)) from None


def _metavar(field: FieldInfo) -> str:
    words = {int: "N", float: "X", ByteSize: "BYTES", Path: "DIR"}
    kinds = (field.annotation, *get_args(field.annotation))
    return next((words[kind] for kind in kinds if kind in words), "TEXT")


def _help(name: str, field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, ByteSize):
        default = default.human_readable(separator="")
    shown = [] if default is None else [f"default: {default}"]
    return f"{field.description} ({'; '.join([*shown, ', '.join(variables(name))])})"


def _field_name(location: str) -> str:
    """A field by its own name or by one of its variables: pydantic reports either."""
    return next(n for n in Settings.model_fields if location == n or location in variables(n))


def _origin(name: str, given: Mapping[str, object]) -> str:
    if name in given:
        return flag(name)
    return next((v for v in variables(name) if v in os.environ), name)


def _problem(name: str, error: ErrorDetails) -> str:
    """What is wrong with the value, to be read after the flag's name."""
    kind, message = error["type"], error["msg"].split(", unable to")[0]
    if name == "secret":  # its value is never shown
        return f"must have at least {MIN_KEY_CHARS} characters"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = f"must be {Settings.model_fields[name].description}"
    elif kind.startswith("byte_size"):
        message = "must be a number of bytes, like 20000000 or 20MiB"
    message = message.replace("Input should be", "must be", 1)
    return f"{message}, not {_shortened(error['input'])}"


def _shortened(value: Any, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
