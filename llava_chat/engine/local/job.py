"""One request on its way through the engine: what to answer, since when, and what came of it.

Imports torch, `model`, `engine.base`, `engine.stream` and `tokens`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import ParamSpec

from torch import Tensor

from llava_chat.engine.base import (
    Done,
    Event,
    Failed,
    FinishReason,
    GenerationSettings,
    Looking,
    ModelInfo,
    Queued,
    Token,
)
from llava_chat.engine.stream import Mailbox
from llava_chat.model.adapter_folders import NamedAdapter
from llava_chat.tokens import Prompt

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Request:
    """What to answer, and how. end_ids, end_texts: what ends the reply. adapter: the one to use."""

    prompt: Prompt
    dropped_turns: int
    end_ids: frozenset[int]
    end_texts: tuple[str, ...]
    settings: GenerationSettings
    seed: int
    views: dict[str, Tensor] = field(default_factory=dict)
    adapter: NamedAdapter | None = None


class Job:
    """A request and its mailbox. The engine tells here what happens; the reader is told.

    arrival_s: time.monotonic() when the request came; its deadline counts from there. model: who
    answers, where that is not simply the engine's model.
    """

    def __init__(self, request: Request, arrival_s: float, model: ModelInfo | None = None) -> None:
        self.request = request
        self._model = model
        self.mailbox = Mailbox()
        self._arrival_s = arrival_s
        self._context = copy_context()
        self._first_token_s: float | None = None
        self._reused_tokens = 0
        self._pieces: list[str] = []

    def interruption(self) -> FinishReason | None:
        """Why the reply may not go on, if it may not."""
        if self.mailbox.cancelled:
            return "cancelled"
        if self._elapsed_s() >= self.request.settings.deadline_s:
            return "deadline"
        return None

    @property
    def left_s(self) -> float:
        """Seconds until its deadline."""
        return max(0.0, self.request.settings.deadline_s - self._elapsed_s())

    def run(
        self,
        call: Callable[Arguments, Iterator[Event]],
        *args: Arguments.args,
        **more: Arguments.kwargs,
    ) -> Generator[Event]:
        """What a call yields, in the context of whoever asked: theirs may be the GPU's time."""
        events = self._context.run(call, *args, **more)
        try:
            while (event := self._context.run(next, events, None)) is not None:
                yield event
        finally:
            if isinstance(events, Generator):
                self._context.run(events.close)

    def waits(self, place: int, wait_s: float | None) -> None:
        """It waits at `place`, for about so long; 1 is next."""
        self.mailbox.put(Queued(place, wait_s))

    def looks(self, pictures: int, reused_tokens: int) -> None:
        """The prompt is being read, and `pictures` have to be encoded for it."""
        self._reused_tokens = reused_tokens
        self.mailbox.put(Looking(pictures, len(self.request.prompt.ids), reused_tokens))

    def writes(self, token_id: int, text: str) -> None:
        """One more token of the reply, and the text that it completed."""
        if self._first_token_s is None:
            self._first_token_s = self._elapsed_s()
        self._pieces.append(text)
        self.mailbox.put(Token(text, token_id))

    def done(self, finish: FinishReason, token_ids: tuple[int, ...] = ()) -> Done:
        """What is to be told when the reply is over."""
        return Done(
            text="".join(self._pieces),
            token_ids=token_ids,
            finish=finish,
            prompt_tokens=len(self.request.prompt.ids),
            reused_tokens=self._reused_tokens,
            dropped_turns=self.request.dropped_turns,
            seed=self.request.seed,
            first_token_s=self._first_token_s,
            total_s=self._elapsed_s(),
            model=self._model,
        )

    def ends(self, last: Done | Failed) -> None:
        """The reply is over."""
        self.mailbox.put(last)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._arrival_s
