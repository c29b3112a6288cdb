"""One model in this process, writing the replies of several people in a thread of its own.

Imports torch, `model`, `conversation`, `engine.base`, `errors` and the modules beside it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Literal

import torch

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    AdapterChoice,
    ContextUse,
    Done,
    EngineLoad,
    Failed,
    GenerationSettings,
    ModelInfo,
)
from llava_chat.engine.local.adapted import MOST_ADAPTERS
from llava_chat.engine.local.asking import Asker
from llava_chat.engine.local.failure import failed
from llava_chat.engine.local.job import Job
from llava_chat.engine.local.line import Line, closed
from llava_chat.engine.local.passing import in_passing
from llava_chat.engine.local.plain import Lend, PlainWriter
from llava_chat.engine.local.sizing import choose_room
from llava_chat.engine.local.step import can_record
from llava_chat.engine.local.writer import Writer
from llava_chat.engine.stream import Mailbox, ReplyStream
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.model.llava import parameter_count
from llava_chat.model.memory import free_unused_memory
from llava_chat.model.quantization import bits_of
from llava_chat.progress import Report

DEFAULT_MAX_WAITING = 32

Capture = Literal["auto", "on", "off"]


class LocalEngine:
    """A ChatEngine around one checkpoint.

    slots: conversations at hand, as many of which are answered at once; None is as many as fit.
    context_tokens: of each; None is the model's own. cache_bytes: memory for them and for pictures,
    None is what suits the device. max_waiting: how many requests may wait for a slot. capture:
    whether the step that writes a token is played back from CUDA graphs. adapters: those that a
    reply can ask for, of which `max_adapters` are in memory at once. lend: what has a GPU for
    the time of a call, such as `spaces.GPU`; then replies are written one after the other. report:
    told how far the recording of graphs is. Raises SettingError for a capture that there cannot be.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        slots: int | None = None,
        context_tokens: int | None = None,
        cache_bytes: int | None = None,
        max_waiting: int = DEFAULT_MAX_WAITING,
        capture: Capture = "auto",
        adapters: AdapterFolders | None = None,
        max_adapters: int = MOST_ADAPTERS,
        lend: Lend | None = None,
        report: Report | None = None,
    ) -> None:
        recorded = lend is None and can_record(checkpoint.model, capture)
        self._room = room = choose_room(
            checkpoint.model,
            slots=slots if lend is None else 1,
            context_tokens=context_tokens,
            cache_bytes=cache_bytes,
        )
        self._model = _describe(checkpoint, room.context_tokens)
        self._line = Line(room.slots, max_waiting)
        # Both hold the model; closing takes them away.
        self._asker: Asker | None = Asker(
            checkpoint, room.context_tokens, adapters or AdapterFolders()
        )
        self._writer: Writer | PlainWriter | None = (
            in_passing(
                Writer,
                checkpoint,
                room,
                self._ended,
                recorded=recorded,
                max_adapters=max_adapters,
                report=report,
            )
            if lend is None
            else PlainWriter(checkpoint, room, self._ended, lend)
        )
        self._thread = threading.Thread(target=self._serve, name="inference", daemon=True)
        self._thread.start()

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._model

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> ReplyStream:
        """Yield Queued*, Looking, Token*, then one Done or Failed; see ChatEngine.

        The iterator can also be cancelled, which keeps the partial reply. Raises EngineBusyError
        or EngineClosedError; what is wrong with the conversation comes as Failed.
        """
        arrival_s = time.monotonic()
        self._line.check_open()
        asker, writer = self._asker, self._writer
        if asker is None or writer is None:
            raise closed()
        try:
            request = asker.request(conversation, settings, writer.knows)
        except Exception as error:
            mailbox = Mailbox()
            mailbox.put(failed(error))
            return ReplyStream(mailbox, lambda: None)
        adapter = request.adapter
        model = None if adapter is None else replace(self._model, adapter=adapter.id)
        job = Job(request, arrival_s, model)
        self._line.join(job)
        return ReplyStream(job.mailbox, self._line.drop_interrupted)

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse:
        """Count the prompt without running the model.

        Raises ContextFullError, UsageError, EngineClosedError.
        """
        if max_new_tokens is None:
            max_new_tokens = GenerationSettings().max_new_tokens
        asker = self._asker
        if asker is None:
            raise closed()
        fitted, prompt = asker.fitted_prompt(conversation, max_new_tokens)
        return ContextUse(
            len(prompt.ids),
            self._model.context_tokens,
            fitted.dropped_turns,
            fitted.dropped_pictures,
        )

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """The adapters that there are just now; of those that cannot be used, the reason."""
        asker = self._asker
        return () if asker is None else asker.adapters()

    def load(self) -> EngineLoad:
        """How busy it is."""
        writer = self._writer
        return replace(
            self._line.load(),
            kept_tokens=0 if writer is None else writer.kept_tokens,
            capacity_tokens=self._room.slots * self._room.context_tokens,
            reserved_bytes=self._room.bytes,
            adapter_bytes=0 if writer is None else writer.adapter_bytes,
        )

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new work; let replies end for `grace_s` seconds, then cancel them.

        After that the engine holds nothing of the model, and the device's memory is free for
        another one.
        """
        self._line.close(grace_s)
        self._thread.join()
        self._asker = self._writer = None
        free_unused_memory()

    def _serve(self) -> None:
        writer = self._writer
        assert writer is not None  # it goes after this thread
        while True:
            while writer.free_slots and (job := self._line.next(wait=writer.idle)) is not None:
                if finish := job.interruption():
                    self._ended(job, job.done(finish))
                else:
                    writer.begin(job)
            if writer.idle:
                return
            self._line.drop_interrupted()
            writer.work()

    def _ended(self, job: Job, last: Done | Failed) -> None:
        self._line.served(job)
        job.ends(last)


def open_engine(
    name: str,
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    template: str | None = None,
    adapter: str | None = None,
    vision_tower: str | None = None,
    quantize: str = "none",
    slots: int | None = None,
    context_tokens: int | None = None,
    cache_bytes: int | None = None,
    max_waiting: int = DEFAULT_MAX_WAITING,
    capture: Capture = "auto",
    adapters: AdapterFolders | None = None,
    max_adapters: int = MOST_ADAPTERS,
    lend: Lend | None = None,
    report: Report | None = None,
) -> LocalEngine:
    """Load a model by name, folder or Hub id and start an engine.

    Everything up to `quantize`, and `report`, as for load_checkpoint, the rest as for LocalEngine.
    Raises CheckpointError,
    SettingError, UsageError for an unknown template.
    """
    checkpoint = in_passing(
        load_checkpoint,
        name,
        device=device,
        dtype=dtype,
        template=template,
        adapter=adapter,
        vision_tower=vision_tower,
        quantize=quantize,
        report=report,
    )
    return LocalEngine(
        checkpoint,
        slots=slots,
        context_tokens=context_tokens,
        cache_bytes=cache_bytes,
        max_waiting=max_waiting,
        capture=capture,
        adapters=adapters,
        max_adapters=max_adapters,
        lend=lend,
        report=report,
    )


def _describe(checkpoint: Checkpoint, context_tokens: int) -> ModelInfo:
    model = checkpoint.model
    devices = dict.fromkeys(str(weight.device) for weight in model.parameters())
    number_format = str(model.language_model.lm_head.weight.dtype).removeprefix("torch.")
    bits = bits_of(model)
    return ModelInfo(
        id=checkpoint.id,
        revision=checkpoint.revision,
        template=checkpoint.template,
        context_tokens=context_tokens,
        parameters=parameter_count(model),
        description=checkpoint.description,
        device=", ".join(devices),
        dtype=f"{number_format}, layers in {bits} bits" if bits else number_format,
        padded_boxes=checkpoint.padded_boxes,
        adapter=checkpoint.adapter,
    )
