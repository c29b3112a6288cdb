"""People who come and go for a long time: does the engine's memory stay as it is?

They show pictures of many sizes, ask, edit what they said, stop replies and leave in the middle of
one. What may be kept of them is little, so that it is full after the first minutes. Imports torch
and `llava_chat`.
"""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import torch

from benchmarks.process_memory import status_bytes
from benchmarks.report import Result
from benchmarks.talk import DESCRIBE, QUESTION, answered, drawing, noise
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

PEOPLE = 6  # more than the slots that these bytes give, so that some wait
CACHE_BYTES = 64 * 2**20
MOST_GROWTH = 0.01
WARM_UP_S = 600.0  # or a third of a shorter soak
QUESTIONS = (QUESTION, DESCRIBE, "How many shapes are there?", "And its colour?", "Where is it?")


class Person:
    """Somebody who holds one conversation after the other. happened: what they did, counted."""

    def __init__(self, engine: LocalEngine, seed: int, over: threading.Event) -> None:
        self.happened: Counter[str] = Counter()
        self._engine = engine
        self._drawn = random.Random(seed)
        self._over = over

    def live(self) -> None:
        """Talk until it is over."""
        while not self._over.is_set():
            self.happened["conversations"] += 1
            conversation: Conversation | None = Conversation()
            for _ in range(self._drawn.randint(1, 8)):
                if conversation is None or self._over.is_set():
                    break
                conversation = self._says(conversation)

    def _says(self, conversation: Conversation) -> Conversation | None:
        """Go on, or differently; None is left."""
        drawn, turns = self._drawn, conversation.turns
        if turns and drawn.random() < 0.25:
            self.happened["edits"] += 1
            turns = turns[: 2 * drawn.randrange(len(turns) // 2)]
        pictures = (self._picture(),) if drawn.random() < (0.2 if turns else 0.8) else ()
        self.happened["pictures"] += len(pictures)
        asked = Conversation((*turns, Turn("user", drawn.choice(QUESTIONS), pictures)))
        done = self._reply(asked)
        return None if done is None else answered(asked, done.text, done.token_ids)

    def _picture(self) -> Picture:
        seed = self._drawn.getrandbits(32)
        if self._drawn.random() < 0.5:
            return drawing(seed)
        return noise(seed, *(self._drawn.randint(32, 900) for _ in range(2)))

    def _reply(self, conversation: Conversation) -> Done | None:
        """Read a reply, to its end or not so far; None where there is nothing to go on from."""
        drawn = self._drawn
        settings = GenerationSettings(
            temperature=drawn.choice((0.0, 0.2, 1.0)),
            max_new_tokens=drawn.randint(1, 48),
            seed=drawn.getrandbits(32),
        )
        patience = drawn.randint(0, 12) if drawn.random() < 0.3 else settings.max_new_tokens
        leaves, read = drawn.random() < 0.5, 0
        with self._engine.stream(conversation, settings) as stream:
            for event in stream:
                if isinstance(event, Failed):
                    self.happened[f"failed: {event.error}"] += 1
                    return None
                if isinstance(event, Done):
                    self.happened["replies"] += 1
                    return event
                read += isinstance(event, Token)
                if read >= patience and leaves:
                    self.happened["left"] += 1
                    return None
                if read >= patience and patience < settings.max_new_tokens:
                    self.happened["stopped"] += 1
                    patience = settings.max_new_tokens
                    stream.cancel()
        return None


def soak(
    checkpoint: Checkpoint, lasts_s: float, every_s: float, log: Path | None, slots: int | None
) -> Result:
    """Let them talk for so long, or until SIGTERM or Ctrl-C; tell the series and the growth."""
    engine = LocalEngine(checkpoint, cache_bytes=CACHE_BYTES, slots=slots)
    over = threading.Event()
    people = [Person(engine, seed, over) for seed in range(PEOPLE)]
    threads = [threading.Thread(target=person.live) for person in people]
    series: list[Result] = []
    with _told_to_stop(over), _lines(log) as line:
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while (left_s := began + lasts_s - time.monotonic()) > 0 and not over.is_set():
            over.wait(min(every_s, left_s))
            series.append(sample(time.monotonic() - began, people))
            line(series[-1])
        over.set()
        for thread in threads:
            thread.join()
    engine.close()
    return summary(series, sum((person.happened for person in people), Counter()))


def sample(at_s: float, people: Sequence[Person]) -> Result:
    """The memory at this moment."""
    gc.collect()
    told: Result = {
        "at_s": round(at_s, 1),
        "resident_bytes": status_bytes("VmRSS"),
        "anonymous_bytes": status_bytes("RssAnon"),
        "replies": sum(person.happened["replies"] for person in people),
    }
    if torch.cuda.is_available():
        told["allocated_bytes"] = torch.cuda.memory_allocated()
    return told


def summary(series: Sequence[Result], happened: Counter[str]) -> Result:
    """The growth from the first to the last quarter of what follows the warm-up.

    >>> flat = [{"at_s": 60.0 * n, "resident_bytes": 1000} for n in range(1, 61)]
    >>> summary(flat, Counter(replies=9))["growth"]
    0.0
    """
    lasted_s = series[-1]["at_s"] if series else 0.0
    warm = [one for one in series if one["at_s"] > min(WARM_UP_S, lasted_s / 3)]
    failed = sum(count for what, count in happened.items() if what.startswith("failed"))
    growth = None
    if len(warm) >= 4:
        quarter = len(warm) // 4
        first, last = (
            median(one["resident_bytes"] for one in part)
            for part in (warm[:quarter], warm[-quarter:])
        )
        growth = round(last / first - 1, 5)
    held = growth is not None and growth < MOST_GROWTH and not failed
    told = "too short to tell of growth" if growth is None else f"the memory grew by {growth:.2%}"
    return {
        "lasted_s": lasted_s,
        "happened": dict(sorted(happened.items())),
        "growth": growth,
        "held": held,
        "verdict": (
            f"{happened['replies']} replies in {lasted_s:.0f} s, {failed} failed; {told} after "
            f"the warm-up (less than {MOST_GROWTH:.0%} is the goal)"
        ),
        "series": list(series),
    }


@contextmanager
def _told_to_stop(over: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the soak in good order."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: over.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _lines(log: Path | None) -> Iterator[Callable[[Result], None]]:
    """Writes a sample as a line, at once."""
    with nullcontext(sys.stderr) if log is None else log.open("a", encoding="utf-8") as file:
        first: list[int] = []

        def line(told: Result) -> None:
            first.append(told["resident_bytes"])
            growth = told["resident_bytes"] / first[0] - 1
            print(
                f"{told['at_s']:.0f} s: {told['resident_bytes'] / 1e6:.1f} MB resident "
                f"({growth:+.2%} since the first line), {told['replies']} replies",
                file=file,
                flush=True,
            )

        yield line
