"""Writes replies, one after the other: read the prompt, then token by token.

The one place where an engine touches the model. A plain loop: on a CPU most of a token's time is
the modules' own code, and around them there is little to save.
Imports torch, `model`, `image`, `tokens`, `engine.base`, `errors` and the modules beside it. For
one thread only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from llava_chat.engine.base import Done, FinishReason
from llava_chat.engine.local.detokenizer import Detokenizer, StopText, decoder
from llava_chat.engine.local.feature_cache import FeatureCache
from llava_chat.engine.local.job import Job
from llava_chat.engine.local.kv_cache import ReservedCache
from llava_chat.engine.local.prefix_cache import KeyPart, PrefixCache
from llava_chat.engine.local.sampling import Sampler
from llava_chat.errors import EngineError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import Prompt

# Between two chunks of a long prompt a reply can be stopped. Long enough to use a GPU fully.
_CHUNK_TOKENS = 512
# A LLaVA-1.5 picture is 4.7 MB as features and 302 MB as keys and values of a 7B model.
_FEATURES_SHARE = 8

_log = logging.getLogger(__name__)


class Writer:
    """The model with what it remembers: pictures' features, conversations' keys and values.

    context_tokens: prompt and reply together. cache_bytes: what may be remembered, an eighth of it
    features. pause: called wherever a reply can be stopped.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        context_tokens: int,
        cache_bytes: int,
        pause: Callable[[], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        # Of several devices this is where a prompt begins, and its logits come back to.
        self._device = self._model.language_model.model.embed_tokens.weight.device
        self._context_tokens = context_tokens
        self._pause = pause
        self._features = FeatureCache(cache_bytes // _FEATURES_SHARE)
        self._prefixes = PrefixCache(cache_bytes - cache_bytes // _FEATURES_SHARE)
        suppressed = torch.zeros(self._model.config.text.vocab_size, dtype=torch.bool)
        suppressed[list(checkpoint.suppressed_ids)] = True
        self._suppressed = suppressed.to(self._device)

    def forget(self) -> None:
        """Give the memory of everything remembered back."""
        self._prefixes.clear()
        self._features.clear()

    @torch.inference_mode()
    def write(self, job: Job) -> Done:
        """Make the reply, telling the job of its tokens; returns what is to be told last.

        Raises EngineError and whatever the model raises; then nothing of this reply is remembered.
        """
        prompt = job.request.prompt
        room = self._context_tokens - len(prompt.ids)
        limit = min(job.request.settings.max_new_tokens, room)
        key = prefix_key(prompt)
        known = reusable(prompt, self._prefixes.match(key))
        cache = ReservedCache(
            self._model.config.text.num_hidden_layers,
            len(prompt.ids) + limit,
            self._prefixes.segments(key[:known]),
        )
        reply = _Reply(job, self._checkpoint)
        try:
            logits = self._read(job, known, cache)
            finish = self._continue(reply, logits, limit, cache)
        except _Interrupted as interrupted:
            finish = interrupted.finish
        reply.ends()
        self._remember([*key, *reply.ids], cache)
        return job.done(finish, reply.kept_ids)

    def _remember(self, sequence: list[KeyPart], cache: ReservedCache) -> None:
        """Keep what was computed. The reply is finished, so it does not fail with this."""
        try:
            # The last token was never fed back, so the cache is one short of the sequence.
            self._prefixes.keep(sequence[: cache.get_seq_length()], cache.between)
        except Exception:
            _log.exception("what a reply computed could not be kept, so the caches are emptied")
            self.forget()

    def _read(self, job: Job, known: int, cache: ReservedCache) -> Tensor:
        """Feed the prompt from position `known` on -> (V,), the next token's logits."""
        prompt = job.request.prompt
        pictures = [span.picture for span in prompt.spans if span.start >= known]
        job.looks(len({each.id for each in pictures if each.id not in self._features}), known)
        features: list[Tensor] = []
        for picture in pictures:
            self._breathe(job)
            features.append(self._see(picture))
        ids = torch.tensor([prompt.ids[known:]], device=self._device)
        embeds = self._model.embed(ids, torch.cat(features) if features else None)
        logits = embeds[0, 0]
        for chunk in embeds.split(_CHUNK_TOKENS, dim=1):
            self._breathe(job)
            logits = self._model(chunk, cache=cache, logits_to_keep=1)[0, -1]
        return logits

    def _see(self, picture: Picture) -> Tensor:
        """Rows (R, D). A picture is encoded alone, so they do not depend on its company."""
        features = self._features.get(picture.id)
        if features is None:
            try:
                views = self._checkpoint.pixels(picture).to(self._device)
            except OSError as error:
                raise EngineError(
                    "A picture of this conversation can no longer be read; please send it again."
                ) from error
            features = self._model.picture_rows(views, picture.width, picture.height)
            self._features.put(picture.id, features)
        return features

    def _continue(
        self, reply: _Reply, logits: Tensor, limit: int, cache: ReservedCache
    ) -> FinishReason:
        """Token by token, until the reply ends by itself or has `limit` of them."""
        request = reply.job.request
        sampler = Sampler(request.settings, request.seed, self._suppressed)
        while True:
            finish = reply.adds(sampler.choose(logits))
            if finish or len(reply.ids) == limit:
                return finish or "length"
            self._breathe(reply.job)
            newest = torch.tensor([[reply.ids[-1]]], device=self._device)
            logits = self._model(self._model.embed(newest), cache=cache, logits_to_keep=1)[0, -1]

    def _breathe(self, job: Job) -> None:
        """Where a reply can be stopped, and those that wait are looked after."""
        self._pause()
        if finish := job.interruption():
            raise _Interrupted(finish)


class _Interrupted(Exception):
    """The reply may not go on."""

    def __init__(self, finish: FinishReason) -> None:
        super().__init__(finish)
        self.finish = finish


class _Reply:
    """What was written so far."""

    def __init__(self, job: Job, checkpoint: Checkpoint) -> None:
        self.job = job
        self.ids: list[int] = []
        self._untold: list[tuple[int, str]] = []
        self._whole = 0
        self._text = Detokenizer(decoder(checkpoint.tokenizer.backend_tokenizer))
        self._stop = StopText(*job.request.end_texts)

    @property
    def kept_ids(self) -> tuple[int, ...]:
        """The ids without those that ended the reply."""
        return tuple(self.ids[: self._whole])

    def adds(self, token: int) -> FinishReason | None:
        """One more token. "stop" when it ends the reply."""
        if token in self.job.request.end_ids:
            return "stop"
        self.ids.append(token)
        self._untold.append((token, self._stop.push(self._text.push(token))))
        if not self._stop.holds:
            self._tell()
        return "stop" if self._stop.found else None

    def ends(self) -> None:
        """No token follows: what was held back as a possible end is the reply's after all."""
        if self._untold:
            token, shown = self._untold.pop()
            self._untold.append((token, shown + self._stop.release()))
            self._tell()
        if not self._stop.found:
            self._whole = len(self.ids)

    def _tell(self) -> None:
        """Tell of the tokens that wait, so that each event has the text that is its token's."""
        if not self._stop.found and not self._text.inside:
            self._whole = len(self.ids)
        for token, shown in self._untold:
            self.job.writes(token, shown)
        self._untold.clear()


def prefix_key(prompt: Prompt) -> list[KeyPart]:
    """The ids, with every picture's rows replaced by its hash."""
    key: list[KeyPart] = list(prompt.ids)
    for span in prompt.spans:
        key[span.start : span.start + span.length] = [span.picture.id] * span.length
    return key


def reusable(prompt: Prompt, known: int) -> int:
    """How many of the `known` first positions to reuse: not half a picture, and not everything.

    The last position is always computed, because its logits are what is wanted.
    """
    known = min(known, len(prompt.ids) - 1)
    halved = (span.start for span in prompt.spans if span.start < known < span.start + span.length)
    return next(halved, known)
