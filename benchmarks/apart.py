"""transformers' `generate` in a process of its own, as whoever uses it would have it.

Within the process of our engine it would share torch's threads: those that one Python thread has
computed with wait for more work, and each such group slows the other one down (libgomp counts all
of them against the cores). Apart, both have the machine in turn. Imports torch and the modules
beside it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from benchmarks.shapes import open_checkpoint, transformers_twin
from benchmarks.ways import CacheKind, Generate, Timing
from llava_chat.conversation import Conversation


@dataclass(frozen=True)
class _Asked:
    conversation: Conversation
    max_new_tokens: int
    cache: CacheKind


@dataclass(frozen=True)
class GenerateApart:
    """A Way: `generate` with one kind of cache, behind a connection. For one thread at a time."""

    there: Connection
    cache: CacheKind = "dynamic"

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply, in seconds of its own process. Ends the program when that has failed."""
        self.there.send(_Asked(conversation, max_new_tokens, self.cache))
        try:
            timing = self.there.recv()
        except EOFError:
            raise SystemExit("the process of `generate` ended; see above") from None
        assert isinstance(timing, Timing)
        return timing


@contextmanager
def generate_apart(shape: str, device: torch.device, dtype: torch.dtype) -> Iterator[GenerateApart]:
    """One that is ready; `dataclasses.replace` gives it another cache."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, shape, str(device), dtype), name="generate", daemon=True
    )
    process.start()
    there.close()  # its end is the process's alone, so that we hear when that ends
    try:
        assert here.recv() == "ready"
        yield GenerateApart(here)
    finally:
        here.close()
        process.join(timeout=10)
        process.kill()
        process.join()
        process.close()


def _serve(connection: Connection, shape: str, device: str, dtype: torch.dtype) -> None:
    """Answer until the other side has gone."""
    checkpoint = open_checkpoint(shape, torch.device(device), dtype)
    twin = transformers_twin(checkpoint.model)
    connection.send("ready")
    while True:
        try:
            asked: _Asked = connection.recv()
        except EOFError:
            return
        way = Generate(checkpoint, twin, cache=asked.cache)
        connection.send(way.reply(asked.conversation, asked.max_new_tokens))
