"""The rows of `train adapter`: from files, or from the database of the page.

From the database they come as an export does, into a folder that lives as long as the training:
so both ways give the same rows, of people who agreed to it alone. Imports feedback, settings and
`commands.feedback`; the rest once rows are read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.commands.feedback import filter_of, opened_store, store_settings
from llava_chat.errors import LlavaChatError, UsageError
from llava_chat.feedback.export import export_feedback, file_name

if TYPE_CHECKING:
    from llava_chat.image import Picture
    from llava_chat.training.adapter.lessons import Lesson, Preference

_EXPORTED = ("llava", "dpo")  # replies to learn, and pairs


@dataclass(frozen=True)
class Found:
    """Replies to learn, and pairs of which the first is better."""

    lessons: list[Lesson] = field(default_factory=list)
    pairs: list[Preference] = field(default_factory=list)


@contextmanager
def found_rows(args: argparse.Namespace, output: Path) -> Iterator[Found]:
    """The rows that were asked for; their pictures are there until the end.

    output: where the adapter goes, beside which pictures of the database wait. Raises
    TrainingDataError for a row that is wrong, UsageError where there is no database, StoreError,
    LlavaChatError when it has nothing to learn from.
    """
    if not args.from_feedback:
        yield Found(
            [] if args.data is None else read_lessons(args.data, args.images),
            [] if args.preferences is None else _pairs(args.preferences),
        )
        return
    with tempfile.TemporaryDirectory(prefix=".feedback-", dir=output) as name:
        yield _exported(args, Path(name))


def read_lessons(file: Path, images: Path | None = None) -> list[Lesson]:
    """Replies in LLaVA's instruction JSON. images: the folder of their pictures."""
    from llava_chat.training.adapter.lessons import Lesson
    from llava_chat.training.instructions import read_instructions

    read = _picture_reader()
    rows = read_instructions(file, images or file.parent)
    return [Lesson(row.conversation(read), row.where) for row in rows]


def _pairs(file: Path) -> list[Preference]:
    from llava_chat.training.adapter.preferences import read_preferences

    return read_preferences(file, _picture_reader())


def _picture_reader() -> Callable[[Path], Picture]:
    """Reads each file once: a picture is often spoken of in several rows."""
    from llava_chat.image import read_picture

    return lru_cache(maxsize=None)(lambda path: read_picture(path))


def _exported(args: argparse.Namespace, folder: Path) -> Found:
    counted = {}
    with opened_store(store_settings(args)) as store:
        for form in _EXPORTED:
            manifest = export_feedback(store, form, folder / form, filter_of(args, "of_"))
            counted[form] = manifest["counts"]["records"]
            for reason, number in manifest["left_out"].items():
                print(f"{form}: left out {number} ({reason})", file=sys.stderr)
    if not any(counted.values()):
        raise LlavaChatError(
            "the feedback that was asked for holds no correction, no liked reply and no ranking; "
            "`llava_chat feedback stats` tells what there is"
        )
    files = {form: folder / form / file_name(form) for form in _EXPORTED}
    return Found(
        read_lessons(files["llava"]) if counted["llava"] else [],
        _pairs(files["dpo"]) if counted["dpo"] else [],
    )


def check_rows(args: argparse.Namespace) -> None:
    """Raise UsageError unless rows come from one place."""
    files = args.data is not None or args.preferences is not None
    if files and args.from_feedback:
        raise UsageError("--from-feedback is instead of --data and --preferences; give one of them")
    if not files and not args.from_feedback:
        raise UsageError(
            "there is nothing to learn from; give --data, --preferences or both, or --from-feedback"
        )
