"""The rows of `train adapter`: from files, or from the database of the page.

From the database they come as an export does, into a folder that lives as long as the training:
so both ways give the same rows, of people who agreed to it alone. Imports errors; once rows are
read, `training.adapter` and `commands.feedback_rows`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.errors import UsageError

if TYPE_CHECKING:
    from llava_chat.image import Picture
    from llava_chat.training.adapter.lessons import Lesson, Preference


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
        yield _found(args.data, args.images, args.preferences)
        return
    from llava_chat.commands.feedback_rows import exported

    with tempfile.TemporaryDirectory(prefix=".feedback-", dir=output) as name:
        replies, pairs = exported(args, Path(name))
        yield _found(replies, None, pairs)


def _found(replies: Path | None, images: Path | None, pairs: Path | None) -> Found:
    return Found(
        [] if replies is None else read_lessons(replies, images),
        [] if pairs is None else _pairs(pairs),
    )


def read_lessons(file: Path, images: Path | None = None) -> list[Lesson]:
    """Replies in LLaVA's instruction JSON. images: the folder of their pictures."""
    from llava_chat.training.adapter.lessons import Lesson
    from llava_chat.training.data import read_instructions
    from llava_chat.training.data.sources import read_source

    read = lru_cache(maxsize=None)(read_source)  # a picture is often spoken of in several rows
    rows = read_instructions(file, images or file.parent)
    return [Lesson(row.conversation(read), row.where) for row in rows]


def _pairs(file: Path) -> list[Preference]:
    from llava_chat.training.adapter.preferences import read_preferences

    return read_preferences(file, _picture_reader())


def _picture_reader() -> Callable[[Path], Picture]:
    """Reads each file once: a picture is often spoken of in several rows."""
    from llava_chat.image import read_picture

    return lru_cache(maxsize=None)(lambda path: read_picture(path))


def check_rows(args: argparse.Namespace) -> None:
    """Raise UsageError unless rows come from one place."""
    files = args.data is not None or args.preferences is not None
    if files and args.from_feedback:
        raise UsageError("--from-feedback is instead of --data and --preferences; give one of them")
    if not files and not args.from_feedback:
        raise UsageError(
            "there is nothing to learn from; give --data, --preferences or both, or --from-feedback"
        )
