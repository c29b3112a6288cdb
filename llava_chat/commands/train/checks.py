"""What more than one of the stages' commands checks before anything is loaded."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.errors import UsageError

if TYPE_CHECKING:
    from llava_chat.training.data import Rows
    from llava_chat.training.survey import Survey


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


def look_at(rows: Rows, args: argparse.Namespace, max_tokens: int) -> Survey:
    """Every row of a stage before the model is there.

    Raises TrainingDataError for one that is wrong.
    """
    from llava_chat.progress import ProgressLine
    from llava_chat.training.measure import measure_of
    from llava_chat.training.stages import template_of
    from llava_chat.training.survey import survey

    measure = measure_of(args.model, template_of(args.stage, args.template))
    with ProgressLine(args.stage, sys.stderr) as report:
        found = survey(
            rows,
            measure,
            max_tokens,
            pictures_only=args.stage == "align",
            workers=args.workers and (os.cpu_count() or 1),  # nothing else runs yet
            report=report,
        )
    if found.missing_count:
        print(
            f"{args.stage}: {found.missing_count} rows are left out, their pictures are not there; "
            f"the first: {found.missing}",
            file=sys.stderr,
        )
    return found
