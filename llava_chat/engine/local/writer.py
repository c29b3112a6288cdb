"""Writes the replies of all slots: reads prompts piece by piece, and a token for everyone a step.

The one place where an engine touches the model. Between two pieces every running reply gets a
token, so nobody's long prompt stops the others. Imports torch, `model`, `engine.base`, `errors` and
the modules beside it. For one thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from llava_chat.engine.base import Done, Failed, FinishReason
from llava_chat.engine.local.adapted import MOST_ADAPTERS, Adapted, AdaptersAtHand
from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.detokenizer import decoder
from llava_chat.engine.local.failure import failed
from llava_chat.engine.local.job import Job
from llava_chat.engine.local.reading import Eye, Reading
from llava_chat.engine.local.reply import Reply
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.sampling import (
    NOT_A_NUMBER,
    NOT_A_NUMBER_SENTENCE,
    RowSampler,
    choose,
)
from llava_chat.engine.local.sizing import Room, layer_shapes
from llava_chat.engine.local.slots import Slot, Slots, prefix_key, reusable
from llava_chat.engine.local.step import RecordedStep, Step
from llava_chat.engine.local.thin_linear import thin_out
from llava_chat.engine.local.written import Written
from llava_chat.errors import EngineError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.memory import free_unused_memory, out_of_memory
from llava_chat.progress import Report

# A reply can be stopped between two pieces of a prompt. Long enough to use a GPU fully.
_PIECE_TOKENS = 512
# While others are being written on a CPU, which reads some 3,000 tokens a second of a small model.
_SHARED_PIECE_TOKENS = 128

Ended = Callable[[Job, Done | Failed], None]


@dataclass(eq=False)
class _Running:
    """A reply in a slot. reading: until the prompt is read. limit: its longest, in tokens.

    adapted: what it is made with, once that is at hand.
    """

    reply: Reply
    slot: Slot
    sampler: RowSampler
    limit: int
    reading: Reading | None
    adapted: Adapted | None = None

    @property
    def made_with(self) -> Adapted:
        assert self.adapted is not None  # before anything is read
        return self.adapted

    @property
    def job(self) -> Job:
        return self.reply.job


class Writer:
    """The model with its slots.

    room: what is reserved. ended: is told of each reply that is over, once its slot is free.
    recorded: whether the step is played back from CUDA graphs, which are made here; report: how far
    that is. Steps with an adapter are not. max_adapters: in memory at once.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        room: Room,
        ended: Ended,
        *,
        recorded: bool = False,
        max_adapters: int = MOST_ADAPTERS,
        report: Report | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        model = checkpoint.model
        thin_out(model.language_model)
        # Of several devices this is where a prompt begins, and its logits come back to.
        self._device = model.language_model.model.embed_tokens.weight.device
        self._context_tokens = room.context_tokens
        self._ended = ended
        self._slots = Slots(room.slots)
        with torch.inference_mode():
            self._cache = RowCache(layer_shapes(model), room.slots, room.context_tokens)
            plain = RowDecoder(model, self._cache, self._device)
        self._eye = Eye(checkpoint, self._device, room.feature_bytes)
        step = (
            RecordedStep(plain, self._cache, self._device, report)
            if recorded
            else Step(plain, self._cache, self._device)
        )
        self._adapters = AdaptersAtHand(model, plain, step, self._cache, most=max_adapters)
        self._decode = decoder(checkpoint.tokenizer.backend_tokenizer)
        forbidden = torch.zeros(model.config.text.vocab_size, dtype=torch.bool)
        forbidden[list(checkpoint.suppressed_ids)] = True
        self._forbidden = forbidden.to(self._device)
        self._written = Written[_Running](self._slots, self._cache, self._adapters.plain)
        self._read: list[_Running] = []

    @property
    def idle(self) -> bool:
        """True while there is no reply."""
        return not len(self._written) and not self._read

    @property
    def free_slots(self) -> int:
        """How many replies can begin."""
        return self._slots.free

    @property
    def kept_tokens(self) -> int:
        """Tokens of conversations at hand. May be read from any thread."""
        return self._slots.kept_tokens

    @property
    def adapter_bytes(self) -> int:
        """What the adapters in memory take. May be read from any thread."""
        return self._adapters.nbytes

    def knows(self, picture: Picture) -> bool:
        """Whether its features are at hand, or were. May be asked from any thread."""
        return self._eye.knows(picture)

    @torch.inference_mode()
    def begin(self, job: Job) -> None:
        """Give a job a slot; one is free."""
        prompt, settings = job.request.prompt, job.request.settings
        key = prefix_key(prompt)
        adapter = None if job.request.adapter is None else job.request.adapter.id
        taken = self._slots.take(key, lambda known: reusable(prompt, known), adapter)
        slot = taken.slot
        if taken.source is not None:
            self._cache.copy(taken.source, slot.row, taken.reused)
        running = _Running(
            Reply(job, self._decode),
            slot,
            RowSampler(settings, job.request.seed, self._forbidden),
            min(settings.max_new_tokens, self._context_tokens - len(prompt.ids)),
            Reading(
                job,
                slot,
                key,
                checkpoint=self._checkpoint,
                eye=self._eye,
                device=self._device,
            ),
        )
        self._read.append(running)

    @torch.inference_mode()
    def work(self) -> None:
        """One round: who may not go on ends, one prompt gets a piece further, all others a token.

        Nothing is raised: who cannot go on is told, and the others go on.
        """
        for running in [*self._read, *self._written]:
            if finish := running.job.interruption():
                self._end(running, finish)
        # Who wants one adapter too many waits for another's end, and lets others by.
        able = (each for each in self._read if self._adapters.has_room(each.job.request.adapter))
        if (running := next(able, None)) is not None:
            self._read_on(running)
        if len(self._written):
            self._write_on()

    def forget(self) -> None:
        """Know nothing any more of pictures, and of conversations that are not being answered."""
        self._slots.forget()
        self._eye.forget()
        self._adapters.forget()
        free_unused_memory()

    # ---- reading -----------------------------------------------------------------------------

    def _read_on(self, running: _Running) -> None:
        assert running.reading is not None  # it is one of those that are read
        alone = not len(self._written) or self._device.type != "cpu"
        try:
            if running.adapted is None:
                running.adapted = self._adapters.take(running.job.request.adapter)
            logits = running.reading.goes_on(
                running.adapted.decoder, _PIECE_TOKENS if alone else _SHARED_PIECE_TOKENS
            )
        except Exception as error:
            self._fail(running, error)
            return
        if logits is not None:
            running.reading = None
            self._read.remove(running)
            self._written.enter(running)
            self._take(logits[None], [running])

    # ---- writing -----------------------------------------------------------------------------

    def _write_on(self) -> None:
        """One token for all whose prompt is read, a step for those of each adapter."""
        made = [(group, self._stepped(first, group)) for first, group in self._written.groups()]
        for group, logits in made:  # whose rows may change with every end
            if isinstance(logits, Exception):
                self._fail_step(group, logits)
            else:
                self._take(logits, group)

    def _stepped(self, first: int, group: list[_Running]) -> Tensor | Exception:
        """The logits (B, V) of what follows the newest tokens of a group, or what went wrong."""
        newest = [running.reply.ids[-1] for running in group]
        places = [len(running.slot.key) for running in group]
        try:
            logits = group[0].made_with.step.write(newest, places, first)
        except Exception as error:
            return error
        for token, running in zip(newest, group, strict=True):
            running.slot.key.append(token)
        return logits

    def _take(self, logits: Tensor, replies: list[_Running]) -> None:
        """Choose the next token of each reply by its row of logits (B, V)."""
        tokens = choose(logits, [running.sampler for running in replies])
        for running, token in zip(replies, tokens, strict=True):
            if token == NOT_A_NUMBER:
                running.slot.key.clear()  # what was computed there is damaged as well
                self._cache.wipe(running.slot.row)
                self._tell(running, Failed(EngineError(NOT_A_NUMBER_SENTENCE)))
                continue
            finish = running.reply.adds(token)
            if finish or len(running.reply.ids) == running.limit:
                self._end(running, finish or "length")

    def _fail_step(self, group: list[_Running], error: Exception) -> None:
        """A step failed for everybody in it; without memory, for whoever came last."""
        for running in group[-1:] if out_of_memory(error) and len(group) > 1 else group:
            self._fail(running, error)

    # ---- ends --------------------------------------------------------------------------------

    def _end(self, running: _Running, finish: FinishReason) -> None:
        running.reply.ends()
        self._tell(running, running.job.done(finish, running.reply.kept_ids))

    def _fail(self, running: _Running, error: Exception) -> None:
        """Only what is in its slot is forgotten; without memory, everything that can be."""
        running.slot.key.clear()
        self._tell(running, failed(error))
        if out_of_memory(error):
            error.__traceback__ = None
            self.forget()

    def _tell(self, running: _Running, last: Done | Failed) -> None:
        """Free the slot, then say so: whoever asks again at once finds it free."""
        if running in self._read:
            self._read.remove(running)
        else:
            self._written.leave(running)
        self._slots.leave(running.slot)
        if running.adapted is not None:
            self._adapters.leave(running.adapted)
        self._ended(running.job, last)
