"""What all replies come to: which tasks are done, why replies were refused, what was spent.

Imports the modules beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from llava_chat.training.generation.cost import Tokens
from llava_chat.training.generation.journal import Entry
from llava_chat.training.generation.kinds import (
    ASKED_KINDS,
    Kind,
    Reply,
    Turns,
    UnfitReplyError,
    turns_of,
)
from llava_chat.training.generation.plan import Task


@dataclass
class Ledger:
    """attempts: how often a task is asked before it is given up.

    turns: of the tasks that are done, by key. asked: replies, by type. unfit: why replies could not
    be used, by type and reason. tokens: of all replies.
    """

    attempts: int
    turns: dict[tuple[str, str], Turns] = field(default_factory=dict)
    asked: Counter[Kind] = field(default_factory=Counter)
    unfit: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    tokens: Tokens = field(default_factory=Tokens)
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, entries: Iterable[Entry], attempts: int) -> Self:
        """What the replies of former runs come to."""
        ledger = cls(attempts)
        for entry in entries:
            ledger.take(entry)
        return ledger

    def take(self, entry: Entry) -> None:
        """Add a reply; the first one that is fit is a task's own."""
        kind = next((kind for kind in ASKED_KINDS if kind == entry.kind), None)
        both = entry.prompt_tokens + entry.completion_tokens
        self.tokens += Tokens(
            entry.prompt_tokens, entry.completion_tokens, both if entry.estimated else 0
        )
        if kind is None:  # of a version that knows other types
            return
        key = (entry.kind, entry.picture)
        self.asked[kind] += 1
        self._tries[key] += 1
        try:
            self.turns.setdefault(key, turns_of(kind, Reply(entry.text, entry.finish)))
        except UnfitReplyError as error:
            self.unfit[kind, str(error)] += 1

    def is_open(self, task: Task) -> bool:
        """Whether it has to be asked, or asked again."""
        return (
            task.kind in ASKED_KINDS
            and task.key not in self.turns
            and self._tries[task.key] < self.attempts
        )

    def is_given_up(self, task: Task) -> bool:
        """Whether every attempt gave a reply that cannot be used."""
        return task.key not in self.turns and self._tries[task.key] >= self.attempts

    def tries(self, task: Task) -> int:
        """How many replies there are to it."""
        return self._tries[task.key]
