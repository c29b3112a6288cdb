"""What a Prometheus server may read of this one: sums and counts, and nothing of any person.

Each server has a registry of its own. Figures of the moment are asked when somebody reads them;
replies are counted while they are made. Imports prometheus_client, the engine's interface and its
states, web.people and web.allowances.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llava_chat.engine.base import FinishReason, ModelInfo
from llava_chat.engine.states import Ready
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import LlavaChatError
from llava_chat.web.allowances import LIMITS, Allowances
from llava_chat.web.people import People

PREFIX = "llava_chat"
# From a small model on a GPU (some 20 ms) to a picture read on a CPU behind a long queue; about
# twice as long each, so that a quantile is known to within a factor of two anywhere.
FIRST_TOKEN_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)
# From several hundred tokens a second to one that keeps people waiting. 0.05 s is as fast as one
# reads, so that its bucket tells how many tokens came fast enough.
TOKEN_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """A ReplyWatch that counts. last_token_s: on the monotonic clock, None before the first."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.last_token_s: float | None = None
        ProcessCollector(registry=self.registry)
        self._first_token = self._histogram(
            "first_token_seconds",
            "From the question to the first token, waiting in line included",
            FIRST_TOKEN_BUCKETS_S,
        )
        self._token = self._histogram(
            "token_seconds", "Between two tokens of a reply", TOKEN_BUCKETS_S
        )
        self._generated = self._counter("generated_tokens", "Tokens that were written")
        self._prompt = self._counter("prompt_tokens", "Tokens of the prompts that were read")
        self._reused = self._counter("reused_tokens", "Prompt tokens that were known from before")
        self._replies = self._counter("replies", "Replies by how they ended", "finish")
        for finish in get_args(FinishReason):  # a rate needs to see the first one come
            self._replies.labels(finish)
        self._errors = self._counter("errors", "Replies that failed, by class of error", "error")

    def observe(self, engine: SwitchingEngine, people: People, allowances: Allowances) -> None:
        """Have the figures of the moment read from these."""
        self.registry.register(_Moment(engine, people, allowances))

    def reading(self, prompt_tokens: int, reused_tokens: int) -> None:
        """As ReplyWatch's."""
        self._prompt.inc(prompt_tokens)
        self._reused.inc(reused_tokens)

    def first_token(self, waited_s: float) -> None:
        """As ReplyWatch's."""
        self.last_token_s = time.monotonic()
        self._first_token.observe(waited_s)
        self._generated.inc()

    def token(self, waited_s: float) -> None:
        """As ReplyWatch's."""
        self.last_token_s = time.monotonic()
        self._token.observe(waited_s)
        self._generated.inc()

    def ended(self, finish: str) -> None:
        """As ReplyWatch's."""
        self._replies.labels(finish).inc()

    def failed(self, error: LlavaChatError) -> None:
        """As ReplyWatch's."""
        self._errors.labels(type(error).__name__).inc()

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", about, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", about, labels, registry=self.registry)


class _Moment(Collector):
    """How it stands when somebody asks."""

    def __init__(self, engine: SwitchingEngine, people: People, allowances: Allowances) -> None:
        self._engine = engine
        self._people = people
        self._allowances = allowances

    def describe(self) -> list[Metric]:
        """Nothing is asked before the first reading."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What the engine and the people are at."""
        load = self._engine.load()
        yield _gauge("people", "Who sent a request in the last 5 minutes", self._people.active())
        yield _gauge("replies_running", "Replies that are read or written", load.running)
        yield _gauge("replies_waiting", "Replies in line for the model", load.waiting)
        if load.slots is not None:
            yield _gauge("slots", "Replies that can run at once", load.slots)
        if load.capacity_tokens:
            yield _gauge("kept_tokens", "Tokens whose keys and values are kept", load.kept_tokens)
            yield _gauge("kept_tokens_capacity", "Most of them", load.capacity_tokens)
        if load.reserved_bytes:
            yield _gauge("reserved_bytes", "Memory for kept tokens", load.reserved_bytes)
            yield _gauge("adapter_bytes", "Memory of chosen adapters", load.adapter_bytes)
        yield _total("uploads", "Pictures that were uploaded", self._allowances.uploaded)
        yield self._refusals()
        state = self._engine.state
        if isinstance(state, Ready):
            yield _model(state.model)

    def _refusals(self) -> CounterMetricFamily:
        refused = CounterMetricFamily(
            f"{PREFIX}_refused", "What limits by person refused", labels=("limit",)
        )
        for limit in LIMITS:
            refused.add_metric((limit,), self._allowances.refused[limit])
        return refused


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", about, value)


def _total(name: str, about: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", about, value)


def _model(model: ModelInfo) -> GaugeMetricFamily:
    told = {"model": model.id, "revision": model.revision, "device": model.device}
    told |= {"dtype": model.dtype, "adapter": model.adapter or ""}
    info = GaugeMetricFamily(f"{PREFIX}_model_info", "The model that answers", labels=list(told))
    info.add_metric(list(told.values()), 1)
    return info
