"""What came of it, or what it will take: for a program, and as a table.

Imports the modules beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llava_chat.training.generation.asking import Stopped
from llava_chat.training.generation.cost import (
    Prices,
    Tokens,
    estimated_prompt_tokens,
    estimated_tokens,
)
from llava_chat.training.generation.kinds import ASKED_KINDS, Kind
from llava_chat.training.generation.ledger import Ledger
from llava_chat.training.generation.plan import Task
from llava_chat.training.generation.prompts import Prompts
from llava_chat.training.generation.rows import Row

_COLUMNS = ("type", "wanted", "rows", "asked", "unfit", "given up", "refused", "repeated", "open")


def expected_tokens(tasks: Iterable[Task], prompts: Prompts) -> Tokens:
    """An estimate: the prompts as they are, replies as long as the examples are on average."""
    replies = {
        kind: sum(estimated_tokens(reply) for _, reply in prompt.examples) / len(prompt.examples)
        for kind, prompt in prompts.asked.items()
    }
    before = {
        kind: estimated_prompt_tokens(prompt.messages("")) for kind, prompt in prompts.asked.items()
    }
    read, written = 0, 0.0
    for task in tasks:
        if task.kind in ASKED_KINDS:
            read += before[task.kind] + estimated_tokens(task.picture.context)
            written += replies[task.kind]
    return Tokens(read, round(written), read + round(written))


def token_figures(tokens: Tokens, prices: Prices | None) -> dict[str, Any]:
    """The counts and what they cost, None where there are no prices."""
    return {
        "prompt": tokens.prompt,
        "completion": tokens.completion,
        "estimated": tokens.estimated,
        "cost": None if prices is None else round(prices.of(tokens), 4),
    }


def figures(
    tasks: Sequence[Task],
    ledger: Ledger,
    stopped: Stopped,
    rows: Sequence[Row],
    repeated: Mapping[Kind, int],
) -> dict[str, Any]:
    """By type: rows wanted and made, replies, why some are unfit, and what is left over."""
    made = Counter(str(row["id"]).rpartition("-")[2] for row in rows)
    wanted = Counter(task.kind for task in tasks)
    given_up = Counter(task.kind for task in tasks if ledger.is_given_up(task))
    still_open = Counter(task.kind for task in tasks if ledger.is_open(task))
    return {
        kind: {
            "wanted": number,
            "rows": made[kind],
            "asked": ledger.asked[kind],
            "unfit": {why: n for (of, why), n in ledger.unfit.most_common() if of == kind},
            "given_up": given_up[kind],
            "refused": {why: n for (of, why), n in stopped.refused.most_common() if of == kind},
            "repeated": repeated.get(kind, 0),
            "open": still_open[kind],
        }
        for kind, number in wanted.items()
    }


def table(types: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The figures as lines of a table for a terminal.

    >>> print(*table({"brief": {"wanted": 2, "rows": 2, "asked": 0, "unfit": {}, "given_up": 0,
    ...       "refused": {}, "repeated": 0, "open": 0}}), sep="\\n")
    type   wanted  rows  asked  unfit  given up  refused  repeated  open
    brief       2     2      0      0         0        0         0     0
    """
    lines: list[tuple[str, ...]] = [_COLUMNS]
    for kind, row in types.items():
        values = [row[name.replace(" ", "_")] for name in _COLUMNS[1:]]
        numbers = [sum(v.values()) if isinstance(v, Mapping) else v for v in values]
        lines.append((kind, *map(str, numbers)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
