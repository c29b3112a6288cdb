"""What several commands check of their options before anything is loaded. Imports errors."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from llava_chat.errors import UsageError


def check_above_0(args: argparse.Namespace, *names: str) -> None:
    """Raise UsageError when one of these options is given, and no number above 0."""
    _check(args, names, lambda value: 0 < value < math.inf, "must be above 0")


def check_not_below_0(args: argparse.Namespace, *names: str) -> None:
    """Raise UsageError when one of these options is given, and no number from 0 on."""
    _check(args, names, lambda value: 0 <= value < math.inf, "must not be below 0")


def _check(
    args: argparse.Namespace, names: Iterable[str], right: Callable[[float], bool], otherwise: str
) -> None:
    for name in names:
        value = getattr(args, name, None)
        if value is not None and not right(value):
            raise UsageError(f"--{name.replace('_', '-')} {otherwise}")


def make_folder(flag: str, folder: Path) -> None:
    """Make the folder that `flag` names. Raises UsageError when it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UsageError(
            f"{flag}: the folder {folder} cannot be made ({reason}); name another"
        ) from error


def check_file_to_write(flag: str, file: Path) -> None:
    """Raise UsageError where `flag` names no file that could be written after hours of asking."""
    if not file.parent.is_dir():
        raise UsageError(f"{flag}: there is no folder {file.parent}; make it first")
    if file.is_dir():
        raise UsageError(f"{flag}: {file} is a folder; name a file in it")
