"""From replies to LLaVA's instruction JSON, in which nothing is said twice.

Imports the modules beside it and the writing of files beside this package.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llava_chat.training.generation.kinds import Kind, Turns
from llava_chat.training.generation.plan import Task
from llava_chat.training.generation.prompts import Prompts
from llava_chat.training.writing import json_list

PLACEHOLDER = "<image>"

Row = dict[str, Any]


def instruction_rows(
    tasks: Iterable[Task],
    turns: Mapping[tuple[str, str], Turns],
    prompts: Prompts,
    seed: int,
) -> tuple[list[Row], Counter[Kind]]:
    """A row for each task that there are turns for, and how many by type were dropped as repeated.

    A question that a conversation has asked already is dropped with its answer; a row is dropped
    whose answers all stand word for word in an earlier one, of whatever picture: a model that says
    the same of two pictures has looked at neither.
    """
    rows: list[Row] = []
    repeated: Counter[Kind] = Counter()
    seen = set[str]()
    for task in tasks:
        drawn = random.Random(f"{seed} {task.kind} {task.picture.id}")
        made = _brief(task, prompts, drawn) if task.kind == "brief" else turns.get(task.key)
        if made is None:
            continue
        said = "\n".join(_plain(answer) for _, answer in made)
        if task.kind != "brief":
            if said in seen:
                repeated[task.kind] += 1
                continue
            seen.add(said)
        if task.kind == "detail":
            made = tuple((drawn.choice(prompts.detailed), answer) for _, answer in made)
        rows.append(_row(task, tuple(_asked_once(made)), first=drawn.random() < 0.5))
    return rows, repeated


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """The pieces of a JSON list of them."""
    return json_list(json.dumps(row, ensure_ascii=False) for row in rows)


def _brief(task: Task, prompts: Prompts, drawn: random.Random) -> Turns:
    return ((drawn.choice(prompts.brief), drawn.choice(task.picture.captions)),)


def _row(task: Task, turns: Turns, *, first: bool) -> Row:
    """Put the picture before the first question, or after it (section 4.1, equation 3)."""
    said: list[dict[str, str]] = []
    for question, answer in turns:
        question = _without_placeholder(question)
        if not said:
            parts = (PLACEHOLDER, question) if first else (question, PLACEHOLDER)
            question = "\n".join(parts)
        said.append({"from": "human", "value": question})
        said.append({"from": "gpt", "value": _without_placeholder(answer)})
    return {
        "id": f"{task.picture.id}-{task.kind}",
        "image": task.picture.image,
        "conversations": said,
    }


def _without_placeholder(text: str) -> str:
    """A placeholder that somebody wrote must not stand for a second picture.

    >>> _without_placeholder("What is <image>?")
    'What is image?'
    """
    while PLACEHOLDER in text:  # taking one away can put another one together
        text = text.replace(PLACEHOLDER, PLACEHOLDER[1:-1])
    return text


def _asked_once(turns: Turns) -> Iterator[tuple[str, str]]:
    asked = set[str]()
    for question, answer in turns:
        if (plain := _plain(question)) not in asked:
            asked.add(plain)
            yield question, answer


def _plain(text: str) -> str:
    """The words alone.

    >>> _plain("How many  cats?") == _plain("how many cats")
    True
    """
    return " ".join(re.findall(r"\w+", text.casefold()))
