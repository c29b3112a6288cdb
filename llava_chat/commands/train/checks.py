"""What more than one of the stages' commands checks before anything is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

from llava_chat.errors import UsageError


def check_not_below_0(args: argparse.Namespace, *names: str) -> None:
    """Raise UsageError when one of these options is below 0."""
    for name in names:
        if getattr(args, name) < 0:
            raise UsageError(f"--{name} must not be below 0")


def named_base(model: str) -> str:
    """The name by which an adapter finds its base again, from whatever folder."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "scenes" and folder.is_dir() else model


def make_folder(flag: str, folder: Path) -> None:
    """Make the folder that `flag` names. Raises UsageError when it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UsageError(
            f"{flag}: the folder {folder} cannot be made ({reason}); name another"
        ) from error
