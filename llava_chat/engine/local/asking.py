"""From a conversation to a request: what fits the context, as ids, and what will end the reply.

Runs in the asking thread, so that the inference thread only infers.
Imports `conversation`, `tokens`, `engine.base`, `errors`, `model`'s Checkpoint and adapters, and
the modules beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

from torch import Tensor

from llava_chat.conversation import Conversation, Fitted, fit, template_of
from llava_chat.engine.base import AdapterChoice, GenerationSettings
from llava_chat.engine.local.detokenizer import Decode, decoder, reads_as
from llava_chat.engine.local.job import Request
from llava_chat.errors import CheckpointError, ContextFullError, UsageError
from llava_chat.image import Picture
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import Ids, Prompt, end_ids, end_text, tokenize

# History gives way to the reply, but a reply that may be long does not take all of it.
_MOST_RESERVED_SHARE = 4
# A message that leaves less room than this for its reply is refused.
_LEAST_REPLY_TOKENS = 16
# A conversation's earlier replies come with every request.
_REPLIES_KNOWN = 512


class Asker:
    """Prepares requests for one checkpoint. Any thread may call any method."""

    def __init__(
        self, checkpoint: Checkpoint, context_tokens: int, adapters: AdapterFolders
    ) -> None:
        self._checkpoint = checkpoint
        self._adapters = adapters
        self._context_tokens = context_tokens
        rows = range(checkpoint.model.config.text.vocab_size)
        words = frozenset(rows).difference(checkpoint.suppressed_ids)
        decode = decoder(checkpoint.tokenizer.backend_tokenizer)
        could_write = partial(_could_write, words, decode)
        self._could_write = lru_cache(maxsize=_REPLIES_KNOWN)(could_write)

    def request(
        self,
        conversation: Conversation,
        settings: GenerationSettings,
        known: Callable[[Picture], bool],
    ) -> Request:
        """What to feed the model. Raises UsageError, InputError, SettingError and CheckpointError
        of an adapter that cannot be used, and what reading a picture raises.

        known: whether a picture was seen before, so that its pixels are not needed.
        """
        if not conversation.turns or conversation.turns[-1].role != "user":
            raise UsageError("A reply can only be made to a conversation that ends with a message.")
        adapter = None
        if settings.adapter is not None:
            adapter = self._adapters.named(settings.adapter, self._checkpoint.model)
        fitted, prompt = self.fitted_prompt(conversation, settings.max_new_tokens)
        template = template_of(conversation, self._checkpoint.template)
        template_end = end_text(self._checkpoint.tokenizer, template.name)
        return Request(
            prompt,
            fitted.dropped_turns,
            end_ids(self._checkpoint.tokenizer, template.name),
            (template_end, *settings.stop) if template_end else settings.stop,
            settings,
            secrets.randbits(32) if settings.seed is None else settings.seed,
            self._views([span.picture for span in prompt.spans if not known(span.picture)]),
            adapter,
        )

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """Those that a reply may ask for, and those that it may not, with the reason."""
        found = self._adapters.all(self._checkpoint.model)
        return tuple(
            AdapterChoice(name, str(each) if isinstance(each, CheckpointError) else "")
            for name, each in found.items()
        )

    def _views(self, pictures: list[Picture]) -> dict[str, Tensor]:
        """Pixels by the picture's id: scaling a large one takes as long as many tokens."""
        return {picture.id: self._checkpoint.pixels(picture) for picture in pictures}

    def fitted_prompt(self, conversation: Conversation, reply_tokens: int) -> tuple[Fitted, Prompt]:
        """The newest part of a conversation that leaves room for a reply. Raises InputError."""
        conversation = self._readable(conversation)
        reserve = min(reply_tokens, self._context_tokens // _MOST_RESERVED_SHARE)
        tokenized = lru_cache(maxsize=None)(self._tokenize)

        def count(part: Conversation) -> int:
            return len(tokenized(part).ids)

        try:
            fitted = fit(conversation, self._context_tokens, reserve, count)
        except ContextFullError:
            least = min(reserve, _LEAST_REPLY_TOKENS)
            fitted = fit(conversation, self._context_tokens, least, count)
        return fitted, tokenized(fitted.conversation)

    def _readable(self, conversation: Conversation) -> Conversation:
        """Without the ids of replies that another model must have made; their text remains."""
        turns = (
            turn
            if turn.token_ids is None or self._could_write(turn.token_ids, turn.text)
            else replace(turn, token_ids=None)
            for turn in conversation.turns
        )
        return replace(conversation, turns=tuple(turns))

    def _tokenize(self, conversation: Conversation) -> Prompt:
        model = self._checkpoint.model
        return tokenize(
            conversation,
            self._checkpoint.tokenizer,
            template=self._checkpoint.template,
            picture_tokens=lambda picture: model.tokens_of(picture.width, picture.height),
            image_token_id=model.config.image_token_id,
        )


def _could_write(words: frozenset[int], decode: Decode, ids: Ids, text: str) -> bool:
    return words.issuperset(ids) and reads_as(decode, ids, text)
