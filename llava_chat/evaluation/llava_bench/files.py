"""LLaVA-Bench's questions and what is in their pictures, as the authors' files have them.

    COCO         qa90_questions.jsonl, caps_boxes_coco2014_val_80.jsonl, qa90_gpt4_answer.jsonl
    In-the-Wild  questions.jsonl, context.jsonl, answers_gpt4.jsonl

Imports errors and the reader of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.rows import Row, check_ids, read_rows

WILD_PREFIX = "llava_bench_"
"""Before the category, in the authors' reviews of the In-the-Wild questions."""


@dataclass(frozen=True)
class BenchQuestion:
    """category: conv, detail or complex; image: a file's name; text: what is asked."""

    id: str
    category: str
    image: str
    text: str


def read_questions(file: Path) -> tuple[BenchQuestion, ...]:
    """The questions. Raises BenchmarkError naming file and row."""
    rows = read_rows(file)
    check_ids(rows)
    if not rows:
        raise BenchmarkError(f"{file}: there is no question in it")
    return tuple(
        BenchQuestion(row.id, row.text("category"), row.text("image"), row.text("text"))
        for row in rows
    )


@dataclass(frozen=True)
class Contexts:
    """What a judge is told of each picture, by the picture's name. wild: those of In-the-Wild."""

    by_image: Mapping[str, str]
    wild: bool


def read_contexts(file: Path) -> Contexts:
    """The contexts of either set. Raises BenchmarkError naming file and row."""
    rows = read_rows(file)
    return Contexts(
        {row.text("image"): _context(row) for row in rows},
        not any("captions" in row.fields for row in rows),
    )


def _context(row: Row) -> str:
    """In-the-Wild: the caption. COCO: the captions, then a line for each box."""
    if "captions" not in row.fields:
        return "\n".join(row.texts("caption"))
    boxes = [f"{box.text('category')}: {box.fields.get('bbox')}" for box in row.rows("instances")]
    return "\n".join([*row.texts("captions"), "", *boxes]).strip()
