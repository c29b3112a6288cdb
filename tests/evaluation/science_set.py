"""Eight problems of our own in ScienceQA's format, three with pictures that are drawn here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

NATURAL, SOCIAL, LANGUAGE = "natural science", "social science", "language science"


def _problem(
    question: str, choices: list[str], answer: int, subject: str, grade: int, **more: Any
) -> dict[str, Any]:
    return {
        "question": question,
        "choices": choices,
        "answer": answer,
        "hint": "",
        "image": None,
        "task": "closed choice",
        "grade": f"grade{grade}",
        "subject": subject,
        "lecture": "",
        "solution": "",
        "split": "test",
        **more,
    }


PICTURE = {"image": "image.png"}
PROBLEMS: dict[str, dict[str, Any]] = {
    "3": _problem("What colour is the circle?", ["red", "blue"], 0, NATURAL, 2, **PICTURE),
    "7": _problem(
        "Is there a star?", ["no", "yes"], 0, NATURAL, 8, hint="Look at the picture.", **PICTURE
    ),
    "12": _problem("How many squares are there?", ["1", "2", "3"], 0, SOCIAL, 5, **PICTURE),
    "20": _problem(
        "Which of these lives in water?",
        ["a cod", "a cat", "a crow", "a cow"],
        0,
        NATURAL,
        6,
        hint="One of these breathes by gills.",
        lecture="Fish breathe by gills.\\nGills take oxygen out of water.",
        solution="A cod is a fish.",
    ),
    "21": _problem("Which word is a verb?", ["run", "red"], 0, LANGUAGE, 7),
    "33": _problem("Which word rhymes with cat?", ["hat", "dog", "cow"], 0, LANGUAGE, 1),
    "34": _problem("Which is  a capital?", ["Rome", "Ruhr"], 0, SOCIAL, 12, solution="Rome is."),
    "40": _problem("What melts first?", ["iron", "ice"], 1, NATURAL, 3, split="train"),
}
SPLITS = {"test": ["3", "7", "12", "20", "21", "33", "34"], "train": ["40"]}


def write_set(folder: Path) -> Path:
    """The set below `folder`, which is returned: two files, and `images/test/ID/image.png`."""
    (folder / "problems.json").write_text(json.dumps(PROBLEMS), encoding="utf-8")
    (folder / "pid_splits.json").write_text(json.dumps(SPLITS), encoding="utf-8")
    for id_, problem in PROBLEMS.items():
        if problem["image"]:
            place = folder / "images" / problem["split"] / id_
            place.mkdir(parents=True)
            picture = Image.new("RGB", (224, 224), "white")
            pencil = ImageDraw.Draw(picture)
            pencil.ellipse((20, 20, 100, 100), "red")
            pencil.rectangle((120, 120, 200, 200), "blue")
            picture.save(place / "image.png")
    return folder
