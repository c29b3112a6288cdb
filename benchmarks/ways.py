"""Ways to get a reply in this process: our engine, and transformers' `generate`.

Ours includes what a server does around the model (prompt, picture, queue, events); `generate` is
given ids and pixels ready made. Imports torch, transformers and `llava_chat`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from transformers import LlavaForConditionalGeneration
from transformers.generation.streamers import BaseStreamer

from llava_chat.conversation import Conversation
from llava_chat.engine.base import Done, Failed, GenerationSettings, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import end_ids, tokenize

DEADLINE_S = 3600.0

CacheKind = Literal["dynamic", "static"]


@dataclass(frozen=True)
class Timing:
    """One reply, as whoever asked saw it.

    first_s, last_s: seconds from the question to its first and its last token. token_ids: None
    where only the text is known.
    """

    first_s: float
    last_s: float
    tokens: int
    text: str
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """After the first token; 0 when no other one came."""
        writing_s = self.last_s - self.first_s
        return (self.tokens - 1) / writing_s if writing_s > 0 else 0.0


class Way(Protocol):
    """Something that replies."""

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply."""


@dataclass(frozen=True)
class Ours:
    """Our engine."""

    engine: LocalEngine

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply. Ends the program when the engine failed."""
        settings = GenerationSettings(
            temperature=0, max_new_tokens=max_new_tokens, deadline_s=DEADLINE_S
        )
        began = time.perf_counter()
        times: list[float] = []
        for event in self.engine.stream(conversation, settings):
            if isinstance(event, Token):
                times.append(time.perf_counter() - began)
            elif isinstance(event, Failed):
                raise SystemExit(f"the engine failed: {event.error}")
            elif isinstance(event, Done):
                done = event
        first_s, last_s = (times[0], times[-1]) if times else (done.total_s, done.total_s)
        ids = done.token_ids
        return Timing(first_s, last_s, len(ids), done.text, ids, done.prompt_tokens)


class _Clock(BaseStreamer):
    """Notes when each token comes out of `generate`; the prompt comes first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        value.cpu()  # what a person reads has left the device
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


@dataclass(frozen=True)
class Generate:
    """transformers' `generate` on the whole conversation. twin: the same weights as its class.

    cache: "static" is compiled by transformers itself where there is a GPU.
    """

    checkpoint: Checkpoint
    twin: LlavaForConditionalGeneration
    cache: CacheKind = "dynamic"
    _ends: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        ends = end_ids(self.checkpoint.tokenizer, self.checkpoint.template)
        object.__setattr__(self, "_ends", frozenset(ends))

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply."""
        inputs = self._inputs(conversation)
        prompt_tokens = inputs["input_ids"].shape[1]
        clock, began = _Clock(), time.perf_counter()
        output = self.twin.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=0,
            cache_implementation="static" if self.cache == "static" else None,
            streamer=clock,
        )
        new = output[0, prompt_tokens:].tolist()
        ids = tuple(new[:-1] if new[-1] in self._ends else new)
        text = self.checkpoint.tokenizer.decode(ids, skip_special_tokens=True)
        times = [moment - began for moment in clock.times[1:]][: max(1, len(ids))]
        return Timing(times[0], times[-1], len(ids), text, ids, prompt_tokens)

    def _inputs(self, conversation: Conversation) -> dict[str, Any]:
        model = self.checkpoint.model
        prompt = tokenize(
            conversation,
            self.checkpoint.tokenizer,
            template=self.checkpoint.template,
            picture_tokens=lambda picture: model.tokens_of(picture.width, picture.height),
            image_token_id=model.config.image_token_id,
        )
        weight = model.language_model.lm_head.weight
        ids = torch.tensor([prompt.ids], device=weight.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        pictures = [picture for turn in conversation.turns for picture in turn.images]
        if pictures:
            pixels = torch.cat([self.checkpoint.pixels(picture) for picture in pictures])
            inputs["pixel_values"] = pixels.to(weight)
        return inputs
