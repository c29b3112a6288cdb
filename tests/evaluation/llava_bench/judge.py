"""A judge of the tests' own on a real socket, and something to judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from llava_chat.evaluation.llava_bench.comparing import Comparison, comparisons, read_rules
from llava_chat.evaluation.llava_bench.files import BenchQuestion, Contexts
from tests.engine.remote.server import Answer, Heard, Wire

QUESTIONS = (
    BenchQuestion("0", "conv", "a.jpg", "What is it?"),
    BenchQuestion("1", "complex", "b.jpg", "Why is it there?"),
)
CONTEXTS = Contexts(
    {"a.jpg": "A cat on a mat.", "b.jpg": "A mat.\nmat: [0.1, 0.2, 0.3, 0.4]"}, wild=False
)
REFERENCE = {"0": "A cat, worth 9.", "1": "To be sat on, worth 8."}
CANDIDATE = {"0": "A dog, worth 3.", "1": "For the cat, worth 6."}

Says = Callable[[str, int], str]


def pairs(candidate: Mapping[str, str] = CANDIDATE) -> list[Comparison]:
    return list(comparisons(QUESTIONS, CONTEXTS, REFERENCE, candidate, read_rules()))


def worth(asked: str) -> str:
    """A judge who believes what the answers say of themselves."""
    first, second = re.findall(r"worth (\d+)", asked)
    return f"{first} {second}\nThe first one is worth {first}, the second {second}."


def judging(says: Says) -> Answer:
    """Answers with what `says` makes of the message and of how often it was asked."""
    times: dict[str, int] = {}

    async def answered(heard: Heard, wire: Wire) -> None:
        asked = heard.fields["messages"][1]["content"]
        times[asked] = times.get(asked, 0) + 1
        message = {"role": "assistant", "content": says(asked, times[asked])}
        await wire.json(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    return answered
