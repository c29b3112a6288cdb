"""POPE's questions, and LLaVA's file of them. Imports errors and the reader of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.rows import Row, check_ids, read_rows
from llava_chat.evaluation.vqa.files import SHORT_ANSWER, with_suffix

LABELS = ("yes", "no")


@dataclass(frozen=True)
class PopeQuestion:
    """id: as answers name it. prompt: what is asked. there: whether the thing is in the picture."""

    id: str
    split: str
    image: str
    prompt: str
    there: bool


def read_questions(
    files: Sequence[Path], asked: Path | None = None, suffix: str = SHORT_ANSWER
) -> tuple[PopeQuestion, ...]:
    """The questions of `coco_pope_SPLIT.json` files: lines with a `label`.

    A row's split is its `category`, else the end of its file's name. Its id is `question_id`; where
    the splits share ids, as the published ones do, it is the split and that number: `random-1`.
    asked: LLaVA's own questions (`llava_pope_test.jsonl`), by whose ids its answers go. In each
    `category` they stand in the order of the labels; so the reference takes them. suffix: a line
    under each question, unless they are LLaVA's, which have it.
    Raises BenchmarkError naming file and row.
    """
    labelled = _by_split(files)
    if asked is not None:
        return _matched(labelled, asked)
    labels = [(split, label) for split, labels in labelled.items() for label in labels]
    shared = max(Counter(label.id for _, label in labels).values(), default=0) > 1
    for rows in labelled.values():
        check_ids(rows)
    found = tuple(
        _question(
            label,
            f"{split}-{label.id}" if shared else label.id,
            split,
            with_suffix(label.text("text"), suffix),
        )
        for split, label in labels
    )
    if not found:
        raise BenchmarkError(f"{files[0]}: there is no question in it")
    return found


def _by_split(files: Sequence[Path]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for file in files:
        for row in read_rows(file):
            named = row.text("category") if "category" in row.fields else None
            found.setdefault(named or file.stem.rpartition("_")[2], []).append(row)
    return found


def _matched(labelled: Mapping[str, Sequence[Row]], asked: Path) -> tuple[PopeQuestion, ...]:
    rows = read_rows(asked)
    check_ids(rows)
    found: list[PopeQuestion] = []
    for split, labels in labelled.items():
        of_split = [row for row in rows if row.text("category") == split]
        if len(of_split) != len(labels):
            raise BenchmarkError(
                f"{asked} has {len(of_split)} questions of the split {split!r}, and "
                f"{len(labels)} have labels; they are of different versions"
            )
        for row, label in zip(of_split, labels, strict=True):
            if row.text("image") != label.text("image"):
                raise row.wrong("image", f"the label of this place is of {label.text('image')}")
            found.append(_question(label, row.id, split, row.text("text")))
    return tuple(found)


def _question(label: Row, id_: str, split: str, prompt: str) -> PopeQuestion:
    said = label.text("label")
    if said not in LABELS:
        raise label.wrong("label", f"it must be yes or no, not {said[:20]!r}")
    return PopeQuestion(id_, split, label.text("image"), prompt, said == "yes")
