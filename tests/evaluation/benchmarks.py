"""Small made-up sets in the official formats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Iterable[Mapping[str, Any]]

# id, question, question type, answer type, how many people said what
VQA: Sequence[tuple[int, str, str, str, Mapping[str, int]]] = (
    (1, "Is the cat asleep?", "is the", "yes/no", {"yes": 10}),
    (2, "How many dogs?", "how many", "number", {"2": 6, "two": 2, "3": 2}),
    (3, "What color is the bus?", "what color is the", "other", {"dark-red": 2, "red": 8}),
    (4, "What color is the sky?", "what color is the", "other", {"gray": 10}),
    (5, "Is the door open?", "is the", "yes/no", {"no": 9, "yes": 1}),
)
# As a model replies; the fifth question has no answer.
VQA_REPLIES = {1: "Yes.", 2: "Two", 3: "Dark red", 4: "Blue"}


def lines(file: Path, rows: Rows) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def document(file: Path, content: Any) -> Path:
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def replies(file: Path, texts: Mapping[Any, str]) -> Path:
    """As LLaVA's model_vqa.py writes them."""
    rows = ({"question_id": id_, "text": text, "metadata": {}} for id_, text in texts.items())
    return lines(file, rows)


def vqa_questions(folder: Path, split: str = "val2014") -> Path:
    questions = [
        {"question_id": id_, "image_id": 100 + id_, "question": text} for id_, text, *_ in VQA
    ]
    content = {"info": {}, "data_subtype": split, "questions": questions}
    return document(folder / f"v2_OpenEnded_mscoco_{split}_questions.json", content)


def vqa_annotations(folder: Path) -> Path:
    annotations = []
    for id_, _, question_type, answer_type, said in VQA:
        everybody = [text for text, people in said.items() for _ in range(people)]
        annotations.append(
            {
                "question_id": id_,
                "image_id": 100 + id_,
                "question_type": question_type,
                "answer_type": answer_type,
                "multiple_choice_answer": everybody[0],
                "answers": [
                    {"answer": text, "answer_confidence": "yes", "answer_id": number}
                    for number, text in enumerate(everybody, 1)
                ],
            }
        )
    content = {"info": {}, "annotations": annotations}
    return document(folder / "v2_mscoco_val2014_annotations.json", content)
