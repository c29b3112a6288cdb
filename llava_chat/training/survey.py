"""One pass over all rows before a run: is each as it must be, how long is it, has it a picture?

So a row that is wrong stops a run before it begins, and batches can be of like lengths. Imports
errors, progress and the modules of training beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from llava_chat.errors import TrainingDataError
from llava_chat.progress import Progress, Report
from llava_chat.training.data import Rows
from llava_chat.training.data.rows import check_picture
from llava_chat.training.data.sources import Absent
from llava_chat.training.measure import Measure, stand_in
from llava_chat.training.stream import batches

Seen = TypeVar("Seen")

_ROWS_AT_ONCE = 64
_ROWS_WORTH_A_WORKER = 1000  # a process more costs what looking at about so many rows does
_ANY_SIZE = stand_in(336, 336)


@dataclass(frozen=True)
class Survey:
    """lengths: of every row, in tokens as it is cut; has_picture: bool. Both (rows,).

    missing: why pictures of rows are not there, the first of them; missing_count: of how many rows.
    """

    lengths: np.ndarray
    has_picture: np.ndarray
    missing: str
    missing_count: int


def survey(
    rows: Rows,
    measure: Measure,
    max_tokens: int,
    *,
    pictures_only: bool = False,
    workers: int = 1,
    report: Report | None = None,
) -> Survey:
    """Look at every row, not at its picture. pictures_only: a row of text alone is wrong.

    Raises TrainingDataError for the first row that is wrong or of which nothing is learned, and
    when not one of the pictures is there.
    """

    def look(number: int) -> tuple[int, bool, str]:
        row = rows.instruction(number)
        if pictures_only:
            check_picture(row)
        absent = next((each.reason for each in row.sources if isinstance(each, Absent)), "")
        conversation = row.conversation(lambda _: _ANY_SIZE)
        tokens = measure.tokens(conversation, row.where, max_tokens)
        return (
            min(tokens, max_tokens),
            bool(row.sources),
            absent and f"{row.where}, image: {absent}",
        )

    lengths, has_picture = np.zeros(len(rows), np.int32), np.zeros(len(rows), bool)
    missing, missing_count = "", 0
    for number, (tokens, picture, absent) in enumerate(each_row(len(rows), look, workers, report)):
        lengths[number], has_picture[number] = tokens, picture
        missing = missing or absent
        missing_count += bool(absent)
    if missing_count and missing_count == has_picture.sum():
        raise TrainingDataError(f"not one of the pictures is there: {missing}")
    return Survey(lengths, has_picture, missing, missing_count)


def each_row(
    count: int, look: Callable[[int], Seen], workers: int, report: Report | None = None
) -> Iterator[Seen]:
    """What `look` says of the rows 0 to count - 1, in order, asked in so many processes.

    Raises TrainingDataError with the sentence of any error of ours that it raises.
    """

    def tried(number: int) -> Seen | None:
        return look(number) if number < count else None  # batches of a stream are always full

    steps = -(-count // _ROWS_AT_ONCE)
    workers = min(workers, count // _ROWS_WORTH_A_WORKER)
    looked: Iterator[list[Seen | None]] = islice(
        batches(tried, list, batch_size=_ROWS_AT_ONCE, workers=workers), steps
    )
    started_s = time.monotonic()
    for step, seen in enumerate(looked, start=1):
        if report:
            done = min(step * _ROWS_AT_ONCE, count)
            left_s = (time.monotonic() - started_s) / done * (count - done)
            report(Progress("looking at the data", done, count, "rows", left_s))
        yield from (each for each in seen if each is not None)
