"""The example conversations that a first visit offers: pictures in assets/examples with a question.

A picture that is not there is not offered, so a checkout without them still serves. Imports
nothing of this project but where its assets are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from llava_chat import ASSETS

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Example:
    """One way to begin. `url` is relative to the page, as everything that it loads."""

    file: Path
    question: str
    alt: str

    @property
    def url(self) -> str:
        """Where the page finds the picture."""
        return f"examples/{self.file.name}"


def load_examples() -> tuple[Example, ...]:
    """The examples listed in assets/examples/examples.json whose pictures are there, in its order.

    examples.json: `[{"file": "name.png", "question": str, "alt": str, "answer": str}, ...]`; the
    answer is what the bundled model has to say, which only the tests read.
    """
    index = FOLDER / "examples.json"
    if not index.exists():
        return ()
    rows = json.loads(index.read_text(encoding="utf-8"))
    examples = (Example(FOLDER / row["file"], row["question"], row["alt"]) for row in rows)
    return tuple(example for example in examples if example.file.exists())


def example_routes() -> list[Mount]:
    """`/examples/NAME`, the pictures as they are; nothing while the folder is not there."""
    return [Mount("/examples", StaticFiles(directory=FOLDER))] if FOLDER.is_dir() else []
