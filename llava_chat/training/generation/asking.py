"""Asks a server for all replies that are missing: many at once, again where one cannot be used.

The journal, the ledger and the budget belong to one thread; those that wait for the server know
nothing of them. Imports the client of the engine's, progress, errors and the modules beside it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

from llava_chat.engine.remote.completions import Completion, Completions
from llava_chat.errors import (
    ContextFullError,
    EngineError,
    LlavaChatError,
    RefusedRequestError,
)
from llava_chat.progress import Progress, Report
from llava_chat.training.generation.cost import (
    Prices,
    Tokens,
    estimated_prompt_tokens,
    estimated_tokens,
)
from llava_chat.training.generation.interruptions import interruptions
from llava_chat.training.generation.journal import Entry, Journal
from llava_chat.training.generation.kinds import Kind
from llava_chat.training.generation.ledger import Ledger
from llava_chat.training.generation.plan import Task
from llava_chat.training.generation.prompts import Messages, Prompts

MOST_FAILURES_IN_A_ROW = 8
"""Each has been tried again for a while: a server that fails so often is not going to answer."""


@dataclass(frozen=True)
class AskingSettings:
    """temperature: None for the server's own. seed: of the first attempt; the next has the next.

    max_cost: in the prices' currency, all that was spent before included; needs prices.
    """

    temperature: float | None = None
    max_new_tokens: int = 1024
    seed: int = 0
    at_once: int = 16
    prices: Prices | None = None
    max_cost: float | None = None


@dataclass
class Stopped:
    """What was left over, and why.

    refused: tasks that the server does not take, by type and its words. unanswered: how many have
    no answer for another reason. why: what to tell of the server then. budget: whether the money
    was at its end.
    """

    refused: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    unanswered: int = 0
    why: LlavaChatError | None = None
    budget: bool = False


class Asking:
    """One run over the tasks that are open."""

    def __init__(
        self,
        client: Completions,
        prompts: Prompts,
        journal: Journal,
        ledger: Ledger,
        settings: AskingSettings,
    ) -> None:
        self._client = client
        self._prompts = prompts
        self._journal = journal
        self._ledger = ledger
        self._settings = settings
        self._waiting = deque[Task]()
        self._reserved = dict[tuple[str, str], float]()
        self._failures = 0
        self._settled = 0
        self._interrupted = False
        self._begun_s = time.monotonic()
        self._inbox = SimpleQueue[tuple[Task, Messages, int] | None]()
        self._outbox = SimpleQueue[tuple[Task, Completion | Exception] | None]()
        self._stopped = Stopped()

    def run(self, tasks: Iterable[Task], report: Report) -> Stopped:
        """Ask until every task is done or given up, the budget is used or the server fails.

        Replies that are on their way when it has to stop are waited for and kept. Raises
        KeyboardInterrupt after Ctrl-C or SIGTERM, of which a second one does not wait,
        TrainingDataError when the journal cannot be written.
        """
        self._waiting.extend(task for task in tasks if self._ledger.is_open(task))
        total = len(self._waiting)
        with self._working(min(self._settings.at_once, total)):
            while self._waiting or self._reserved:
                self._hand_out()
                if not self._reserved:
                    self._stopped.budget = True
                    break
                self._take_in()
                report(self._progress(total))
        if self._interrupted:
            raise KeyboardInterrupt
        self._stopped.unanswered += len(self._waiting)
        return self._stopped

    @contextmanager
    def _working(self, threads: int) -> Iterator[None]:
        """So many that ask, until the block ends; a signal meanwhile is a thing that came in."""
        for _ in range(threads):
            # One that waits for a server must not keep the program from ending.
            threading.Thread(target=self._work, name="generate-data", daemon=True).start()
        try:
            with interruptions(lambda: self._outbox.put(None)):
                yield
        finally:
            for _ in range(threads):
                self._inbox.put(None)

    def _hand_out(self) -> None:
        while self._waiting and len(self._reserved) < self._settings.at_once:
            task = self._waiting[0]
            messages = messages_of(task, self._prompts)
            most = self._most(messages)
            if not self._affordable(most):
                return
            self._waiting.popleft()
            self._reserved[task.key] = most
            self._inbox.put((task, messages, self._settings.seed + self._ledger.tries(task)))

    def _take_in(self) -> None:
        came = self._outbox.get()
        if came is None:
            self._interrupted = True
            self._client.stop()
            self._waiting.clear()
            return
        task, outcome = came
        del self._reserved[task.key]
        if isinstance(outcome, Completion):
            self._failures = 0
            entry = self._entry(task, outcome)
            self._journal.append(entry)
            self._ledger.take(entry)
            if self._ledger.is_open(task) and not self._interrupted:
                self._waiting.append(task)
                return
        elif isinstance(outcome, EngineError | ContextFullError):
            self._failed(task, outcome)
        else:
            raise outcome
        self._settled += 1

    def _failed(self, task: Task, error: EngineError | ContextFullError) -> None:
        self._failures += 1
        if isinstance(error, RefusedRequestError | ContextFullError):
            self._stopped.refused[task.kind, str(error)] += 1
        else:
            self._stopped.unanswered += 1
            self._stopped.why = self._stopped.why or error
        if self._failures == MOST_FAILURES_IN_A_ROW and self._waiting:
            self._client.stop()
            self._stopped.why = self._stopped.why or error
            self._stopped.unanswered += len(self._waiting)
            self._waiting.clear()

    def _work(self) -> None:
        while (asked := self._inbox.get()) is not None:
            task, messages, seed = asked
            try:
                outcome: Completion | Exception = self._client.ask(
                    messages,
                    temperature=self._settings.temperature,
                    max_tokens=self._settings.max_new_tokens,
                    seed=seed,
                )
            except Exception as error:
                outcome = error
            self._outbox.put((task, outcome))

    def _entry(self, task: Task, reply: Completion) -> Entry:
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        estimated = not prompt
        if estimated:
            prompt = estimated_prompt_tokens(messages_of(task, self._prompts))
            completion = estimated_tokens(reply.text)
        return Entry(
            task.kind, task.picture.id, reply.text, reply.finish, prompt, completion, estimated
        )

    def _most(self, messages: Messages) -> float:
        """What a request costs when its reply is as long as it may be."""
        if self._settings.prices is None:
            return 0.0
        tokens = Tokens(estimated_prompt_tokens(messages), self._settings.max_new_tokens)
        return self._settings.prices.of(tokens)

    def _affordable(self, most: float) -> bool:
        limit = self._settings.max_cost
        return limit is None or self._spent() + sum(self._reserved.values()) + most <= limit

    def _spent(self) -> float:
        prices = self._settings.prices
        return prices.of(self._ledger.tokens) if prices else 0.0

    def _progress(self, total: int) -> Progress:
        if self._interrupted:
            return Progress(
                f"waiting for {len(self._reserved)} replies on their way", 0, 0, "replies"
            )
        tokens = self._ledger.tokens
        words = f"{tokens.prompt + tokens.completion:,} tokens"
        if self._settings.prices and self._ledger.turns:
            whole = self._spent() * (1 + (total - self._settled) / len(self._ledger.turns))
            words += f", {self._spent():.2f} spent of about {whole:.2f}"
        left_s = None
        if self._settled:
            took_s = time.monotonic() - self._begun_s
            left_s = took_s / self._settled * (total - self._settled)
        step = f"asking {self._client.model} ({words})"
        return Progress(step, self._settled, total, "replies", left_s)


def messages_of(task: Task, prompts: Prompts) -> Messages:
    """What is asked for a task."""
    return prompts.asked[task.kind].messages(task.picture.context)
