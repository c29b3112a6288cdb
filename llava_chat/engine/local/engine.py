"""One model in this process, answering one request after the other in a thread of its own.

Imports torch, `model`, `conversation`, `engine.base`, `errors` and the modules beside it.
"""

from __future__ import annotations

import logging
import threading
import time

import torch

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    ContextUse,
    Done,
    EngineLoad,
    Failed,
    GenerationSettings,
    ModelInfo,
)
from llava_chat.engine.local.asking import Asker
from llava_chat.engine.local.job import Job
from llava_chat.engine.local.line import Line, closed
from llava_chat.engine.local.stream import Mailbox, ReplyStream
from llava_chat.engine.local.writer import Writer
from llava_chat.errors import EngineError, LlavaChatError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.model.llava import parameter_count
from llava_chat.model.memory import free_unused_memory, out_of_memory
from llava_chat.model.quantization import bits_of
from llava_chat.progress import Report

DEFAULT_CACHE_BYTES = 512 * 2**20
DEFAULT_MAX_WAITING = 32

_NO_MEMORY = (
    "There was not enough memory for this reply. Please try again, with fewer pictures or a "
    "shorter conversation if it happens again."
)
_MODEL_FAILED = (
    "The model failed at this reply ({}). Please try again; what went wrong is in the server's log."
)

_log = logging.getLogger(__name__)


class LocalEngine:
    """A ChatEngine around one checkpoint.

    cache_bytes: what earlier pictures and turns may keep in the model's memory. max_waiting: how
    many requests may wait while one is answered. context_tokens: None is the model's own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        max_waiting: int = DEFAULT_MAX_WAITING,
        context_tokens: int | None = None,
    ) -> None:
        longest = int(checkpoint.model.config.text.max_position_embeddings)
        context_tokens = min(context_tokens or longest, longest)
        self._model = _describe(checkpoint, context_tokens)
        self._line = Line(max_waiting)
        # Both hold the model; closing takes them away.
        self._asker: Asker | None = Asker(checkpoint, context_tokens)
        self._writer: Writer | None = Writer(
            checkpoint,
            context_tokens=context_tokens,
            cache_bytes=cache_bytes,
            pause=self._line.drop_interrupted,
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
        asker = self._open_asker()
        try:
            request = asker.request(conversation, settings)
        except LlavaChatError as error:
            mailbox = Mailbox()
            mailbox.put(_failed(error))
            return ReplyStream(mailbox, lambda: None)
        job = Job(request, arrival_s)
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
        fitted, prompt = self._open_asker().fitted_prompt(conversation, max_new_tokens)
        return ContextUse(
            len(prompt.ids),
            self._model.context_tokens,
            fitted.dropped_turns,
            fitted.dropped_pictures,
        )

    def load(self) -> EngineLoad:
        """How busy it is."""
        return self._line.load()

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new work; let replies end for `grace_s` seconds, then cancel them.

        After that the engine holds nothing of the model, and the device's memory is free for
        another one.
        """
        self._line.close(grace_s)
        self._thread.join()
        self._asker = self._writer = None
        free_unused_memory()

    def _open_asker(self) -> Asker:
        asker = self._asker
        if asker is None:
            raise closed()
        return asker

    def _serve(self) -> None:
        while (job := self._line.next()) is not None:
            finish = job.interruption()
            last = job.done(finish) if finish else self._answer(job)
            self._line.served()
            job.ends(last)

    def _answer(self, job: Job) -> Done | Failed:
        writer = self._writer
        assert writer is not None  # it goes after this thread
        try:
            return writer.write(job)
        except LlavaChatError as error:
            return _failed(error)
        except Exception as error:
            if out_of_memory(error):
                _log.warning("out of memory, so the caches are emptied: %s", error)
                writer.forget()
                return Failed(EngineError(_NO_MEMORY))
            _log.exception("a reply failed")
            return Failed(EngineError(_MODEL_FAILED.format(type(error).__name__)))


def open_engine(
    name: str,
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    template: str | None = None,
    adapter: str | None = None,
    vision_tower: str | None = None,
    quantize: str = "none",
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    max_waiting: int = DEFAULT_MAX_WAITING,
    report: Report | None = None,
) -> LocalEngine:
    """Load a model by name, folder or Hub id and start an engine.

    Everything up to `quantize`, and `report`, as for load_checkpoint. Raises CheckpointError,
    SettingError, UsageError for an unknown template.
    """
    checkpoint = load_checkpoint(
        name,
        device=device,
        dtype=dtype,
        template=template,
        adapter=adapter,
        vision_tower=vision_tower,
        quantize=quantize,
        report=report,
    )
    return LocalEngine(checkpoint, cache_bytes=cache_bytes, max_waiting=max_waiting)


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


def _failed(error: LlavaChatError) -> Failed:
    # The traceback's frames would keep the reply's tensors for as long as the event.
    return Failed(error.with_traceback(None))
