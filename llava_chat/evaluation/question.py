"""One question of a benchmark, and what a model said to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llava_chat.conversation import Conversation


@dataclass(frozen=True)
class Question:
    """id: unique in its file. prompt: the text that is asked, for the record.

    conversation: makes what is asked of the engine, with its pictures; the last turn is the
    user's. It is called when its turn comes, so that a long file's pictures are not all in memory.
    """

    id: str
    prompt: str
    conversation: Callable[[], Conversation]


@dataclass(frozen=True)
class Answer:
    """A line of an answers file: `{"question_id", "prompt", "text", "model_id", ...}`.

    As the files of LLaVA's own evaluation have it (haotian-liu/LLaVA, llava/eval/model_vqa.py).
    """

    question_id: str
    text: str
    prompt: str = ""
    model_id: str = ""
