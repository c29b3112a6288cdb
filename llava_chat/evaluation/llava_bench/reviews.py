"""Reviews that a judge wrote: ours and those of the authors' files. Imports the reader of rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.llava_bench.comparing import MOST, two_scores
from llava_chat.evaluation.llava_bench.files import WILD_PREFIX
from llava_chat.evaluation.rows import Row, read_rows

UNREAD = (-1.0, -1.0)
"""What the authors' files have where no scores could be read; their summary counts it as it is."""


@dataclass(frozen=True)
class Review:
    """The two scores of one reply of the judge. candidate_first: in which order it read them."""

    question_id: str
    category: str
    reference: float
    candidate: float
    candidate_first: bool = False


@dataclass(frozen=True)
class Reviews:
    """unjudged: replies without scores. wild: the questions are those of In-the-Wild."""

    reviews: tuple[Review, ...]
    unjudged: int
    wild: bool


def read_reviews(file: Path) -> Reviews:
    """The reviews of a file, `{"question_id", "category"?, "tuple": [reference, candidate]}` each.

    Older files say `score` for `tuple`; where neither stands, the scores are read from `content`.
    Of ours, the last one of a question and an order counts. A pair of -1 counts as it stands, as in
    the authors' summary (llava/eval/summarize_gpt_review.py), or their figures would not come out.
    Raises BenchmarkError naming file and row.
    """
    rows = {_key(row, place): row for place, row in enumerate(read_rows(file))}
    found = [_review(row) for row in rows.values()]
    if not found:
        raise BenchmarkError(f"{file}: there is no review in it")
    judged = tuple(review for review in found if review is not None)
    unread = sum((review.reference, review.candidate) == UNREAD for review in judged)
    categories = [row.fields.get("category") for row in rows.values()]
    return Reviews(
        judged,
        len(found) - len(judged) + unread,
        any(str(name).startswith(WILD_PREFIX) for name in categories),
    )


def _key(row: Row, place: int) -> tuple[str, object]:
    order = row.fields.get("candidate_first")
    return (row.id, order) if isinstance(order, bool) else (row.id, place)


def _review(row: Row) -> Review | None:
    scores = _scores(row)
    if scores is None:
        return None
    category = row.text("category") if "category" in row.fields else ""
    return Review(
        row.id,
        category.removeprefix(WILD_PREFIX),
        scores[0],
        scores[1],
        row.fields.get("candidate_first") is True,
    )


def _scores(row: Row) -> tuple[float, float] | None:
    name = "tuple" if "tuple" in row.fields else "score"
    if name not in row.fields:
        return two_scores(row.text("content"))
    pair = row.fields[name]
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_score, pair)):
        raise row.wrong(
            name,
            f"it must be two numbers up to {MOST:g}, of the reference and of the candidate; "
            "-1 where there was no score",
        )
    return float(pair[0]), float(pair[1])


def _is_score(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and UNREAD[0] <= value <= MOST
    )
