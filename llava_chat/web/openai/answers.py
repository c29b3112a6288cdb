"""What `/v1` says when all is well, in OpenAI's shapes. Imports engine.base."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llava_chat.engine.base import Done, FinishReason, ModelInfo

# A reply that ran out of time, or was cut when the server stopped, is not whole: that is all that
# OpenAI's "length" says.
_FINISH: Mapping[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "deadline": "length",
    "cancelled": "length",
}


def model_card(model: ModelInfo, created_s: int, adapter: str | None = None) -> dict[str, Any]:
    """One entry of `/v1/models`: the model, or it with an adapter that a call may name.

    max_model_len is vLLM's name for the context, in tokens; so is parent for what an adapter is on.
    """
    card = {
        "id": name_of(model, adapter),
        "object": "model",
        "created": created_s,
        "owned_by": "llava_chat",
        "max_model_len": model.context_tokens,
    }
    return card if adapter is None else card | {"parent": model.id}


def name_of(model: ModelInfo, adapter: str | None) -> str:
    """What a call names: the model's id, and behind a colon the adapter's name."""
    return model.id if adapter is None else f"{model.id}:{adapter}"


def usage(done: Done) -> dict[str, Any]:
    """How many tokens were read, written, and not computed again."""
    written = done.generated_tokens
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": done.prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": done.reused_tokens},
    }


@dataclass(frozen=True)
class Completion:
    """One reply on its way out. model: its name. include_usage: a stream ends with the usage."""

    model: str
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created_s: int = field(default_factory=lambda: int(time.time()))

    def whole(self, done: Done) -> dict[str, Any]:
        """The answer to a call that does not stream."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": done.text, "refusal": None},
            "logprobs": None,
            "finish_reason": _FINISH[done.finish],
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(done)}

    def first(self) -> bytes:
        """The chunk that names the speaker."""
        return self._chunk({"role": "assistant", "content": ""})

    def words(self, text: str) -> bytes:
        """The chunk that brings more of the reply."""
        return self._chunk({"content": text})

    def last(self, done: Done) -> bytes:
        """What ends a stream: why, the usage where it was asked for, and OpenAI's own mark."""
        told = self._chunk({}, _FINISH[done.finish])
        if self.include_usage:
            told += event(
                {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(done)}
            )
        return told + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return event({**body, "usage": None} if self.include_usage else body)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created_s, "model": self.model}


def event(data: Mapping[str, Any]) -> bytes:
    r"""One server-sent event.

    >>> event({"a": 1})
    b'data: {"a":1}\n\n'
    """
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
