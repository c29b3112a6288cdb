"""What is asked of a server for one reply. Imports the modules beside it, engine.base, errors."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace

from llava_chat.conversation import Conversation
from llava_chat.engine.base import GenerationSettings
from llava_chat.engine.remote.messages import Messages
from llava_chat.errors import UsageError

# vLLM and SGLang know these, OpenAI's own API does not; they are sent only when they are wanted.
EXTRAS = ("top_k", "repetition_penalty")
USAGE = "stream_options"
# A reply that may be long gives way to a conversation that nearly fills the context.
LEAST_REPLY_TOKENS = 128


@dataclass(frozen=True)
class Request:
    """model: as the server names it. messages: JSON without the list's brackets.

    pictures: of the newest message. seed: the one that is sent, or None for a greedy reply.
    """

    model: str
    messages: bytes
    pictures: int
    settings: GenerationSettings
    seed: int | None

    def body(self, *, usage: bool) -> bytes:
        """The JSON to send. usage: ask for the token counts in the end."""
        fields = {"model": self.model, "stream": True, **_sampling(self.settings, self.seed)}
        if usage:
            fields[USAGE] = {"include_usage": True}
        before = json.dumps(fields, separators=(",", ":")).encode()
        return before[:-1] + b',"messages":[' + self.messages + b"]}"

    def extras(self) -> tuple[str, ...]:
        """Those of EXTRAS that are sent."""
        return tuple(name for name in EXTRAS if name in _sampling(self.settings, self.seed))

    def shorter(self) -> Request | None:
        """The same for a short reply; None when it cannot be shorter."""
        if self.settings.max_new_tokens <= LEAST_REPLY_TOKENS:
            return None
        return replace(self, settings=replace(self.settings, max_new_tokens=LEAST_REPLY_TOKENS))


def request(
    model: str, conversation: Conversation, settings: GenerationSettings, messages: Messages
) -> Request:
    """Encode what is to be answered. Raises UsageError, EngineError."""
    if not conversation.turns or conversation.turns[-1].role != "user":
        raise UsageError("A reply can only be made to a conversation that ends with a message.")
    if settings.adapter is not None:
        raise UsageError(
            f"The adapter {settings.adapter!r} cannot be put on a model of a server; servers offer "
            "an adapter as a model of its own."
        )
    seed = settings.seed
    if seed is None and not settings.greedy:
        seed = secrets.randbits(32)
    pictures = len(conversation.turns[-1].images)
    return Request(model, messages.encoded(conversation), pictures, settings, seed)


def _sampling(settings: GenerationSettings, seed: int | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "temperature": 0 if settings.greedy else settings.temperature,
        "max_tokens": settings.max_new_tokens,
    }
    if not settings.greedy:
        fields["top_p"] = settings.top_p
        if settings.top_k:
            fields["top_k"] = settings.top_k
    if settings.repetition_penalty != 1:
        fields["repetition_penalty"] = settings.repetition_penalty
    if seed is not None:
        fields["seed"] = seed
    if settings.stop:
        fields["stop"] = list(settings.stop)
    return fields
