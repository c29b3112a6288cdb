"""An engine whose model may be another one later, and is opened while the page is up already.

One model is in memory at a time: before another one is opened, the replies that the old one owes
are written to their end, and every reference to it is dropped. What is asked meanwhile waits for
the model that is coming. Imports the modules beside it, conversation, errors and progress; no
torch.
"""

from __future__ import annotations

import gc
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakSet

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    AdapterChoice,
    ChatEngine,
    ContextUse,
    EngineLoad,
    GenerationSettings,
    ModelInfo,
    Opening,
)
from llava_chat.engine.generation import MAX_DEADLINE_S
from llava_chat.engine.held import HeldReply
from llava_chat.engine.states import NotOpened, Ready, State, closed, not_opened, not_ready
from llava_chat.errors import EngineBusyError, EngineError, LlavaChatError
from llava_chat.progress import Progress, Report

OpenEngine = Callable[[str, Report], ChatEngine]
DEFAULT_MAX_HELD = 32

_log = logging.getLogger(__name__)


class SwitchingEngine:
    """A ChatEngine that opens `first` in a thread of its own, and later any other.

    open_engine: makes the engine for a name, and reports how far it is; whatever it raises is told.
    max_held: how many replies may wait for a model that is being opened.
    """

    def __init__(
        self, open_engine: OpenEngine, first: str, *, max_held: int = DEFAULT_MAX_HELD
    ) -> None:
        self._open_engine = open_engine
        self._max_held = max_held
        self._changed = threading.Condition()
        self._state: State = Opening(first)
        self._engine: ChatEngine | None = None
        self._held: deque[HeldReply] = deque()
        self._lent = 0  # calls that use the engine just now
        self._begun = WeakSet[HeldReply]()  # those that it has not ended yet
        self._closed = False
        self._thread = self._started(first, None)

    @property
    def state(self) -> State:
        """What is there. Equal states show the same."""
        return self._state

    @property
    def model(self) -> ModelInfo:
        """The model that answers. Raises EngineOpeningError, or EngineError when there is none."""
        with self._changed:
            return self._ready().model

    def wait(self) -> ModelInfo:
        """Wait for the model that is being opened. Raises what kept it from that."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not isinstance(self._state, Opening))
            self._check_open()
            if isinstance(self._state, NotOpened):
                raise self._state.error
            return self._ready().model

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> HeldReply:
        """As ChatEngine's; while a model is being opened the reply begins with Opening events.

        Its deadline counts from when the model is there.
        """
        reply = HeldReply(self._changed, lambda: self._state, self._ended, conversation, settings)
        with self._changed:
            self._check_open()
            if isinstance(self._state, Opening):
                self._hold(reply, self._state)
                return reply
            engine = self._borrowed()
        try:
            self._begin(reply, engine)
        finally:
            self._give_back()
        return reply

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse | None:
        """As ChatEngine's."""
        engine = self._borrowed()
        try:
            return engine.context_use(conversation, max_new_tokens)
        finally:
            self._give_back()

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """As ChatEngine's."""
        try:
            engine = self._borrowed()
        except EngineError:
            return ()
        try:
            return engine.adapters()
        finally:
            self._give_back()

    def load(self) -> EngineLoad:
        """As ChatEngine's; while a model is being opened, how many wait for it."""
        with self._changed:
            engine = self._engine if isinstance(self._state, Ready) else None
            held = len(self._held)
        return EngineLoad(0, held) if engine is None else engine.load()

    def switch(self, name: str) -> None:
        """Begin to open `name` in place of what is there, and return; `state` tells the rest.

        When it cannot be opened the old one is opened again. Raises EngineOpeningError while
        another one is being opened, EngineClosedError.
        """
        with self._changed:
            self._check_open()
            before = self._state
            if isinstance(before, Opening):
                raise not_ready(before)
            if isinstance(before, Ready) and before.name == name:
                return
            self._tell(Opening(name, waiting_for=len(self._begun)))
            self._thread = self._started(name, before if isinstance(before, Ready) else None)

    def close(self, grace_s: float = 10.0) -> None:
        """As ChatEngine's. A model that is being opened is given up at its next report."""
        with self._changed:
            self._closed = True
            held, engine = [*self._held], self._engine
            self._held.clear()
            self._changed.notify_all()
        for reply in held:
            reply.fail(closed())
        if engine is not None:
            engine.close(grace_s)
        self._thread.join(grace_s)

    @property
    def still_opening(self) -> bool:
        """Whether the thread that opens models is at work; after `close`, that it would not end."""
        return self._thread.is_alive()

    # ---- who uses the engine -----------------------------------------------------------------

    def _borrowed(self) -> ChatEngine:
        """The engine, which is not closed before it is given back."""
        with self._changed:
            self._check_open()
            self._ready()
            assert self._engine is not None  # as the state says
            self._lent += 1
            return self._engine

    def _give_back(self) -> None:
        with self._changed:
            self._lent -= 1
            self._changed.notify_all()

    def _hold(self, reply: HeldReply, opening: Opening) -> None:
        if len(self._held) >= self._max_held:
            raise EngineBusyError(
                f"{len(self._held)} people are already waiting for {opening.name} to be loaded; "
                "please try again in a minute."
            )
        self._held.append(reply)

    def _begin(self, reply: HeldReply, engine: ChatEngine) -> None:
        with self._changed:
            self._begun.add(reply)
        try:
            reply.begin(engine)
        except BaseException:
            self._ended(reply)
            raise

    def _ended(self, reply: HeldReply) -> None:
        """A reply is over, or nobody waits for it any more."""
        with self._changed:
            self._begun.discard(reply)
            if reply in self._held:
                self._held.remove(reply)
            if isinstance(self._state, Opening) and self._state.waiting_for:
                self._tell(replace(self._state, waiting_for=len(self._begun)))

    def _ready(self) -> Ready:
        if not isinstance(self._state, Ready):
            raise not_ready(self._state)
        return self._state

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _tell(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    # ---- the thread that opens ---------------------------------------------------------------

    def _started(self, name: str, before: Ready | None) -> threading.Thread:
        thread = threading.Thread(
            target=self._go_over, args=(before, name), name="opening", daemon=True
        )
        thread.start()
        return thread

    def _go_over(self, before: Ready | None, name: str) -> None:
        """From the model `before` to the model `name`; back again when it cannot be opened."""
        self._let_go()
        error = self._opened(name)
        if error is not None and before is not None and not self._closed:
            if not isinstance(error, LlavaChatError):
                _log.error("%s could not be opened", name, exc_info=error)
            problem = f"{not_opened(name, error)} {before.model.id} answers again."
            self._tell(Opening(before.name))
            name, error = before.name, self._opened(before.name, problem)
        if error is not None:
            self._give_up(NotOpened(name, error))

    def _let_go(self) -> None:
        """Have the engine write what it owes, and keep nothing of it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lent)
            engine = self._engine
        if engine is None:
            return
        engine.close(MAX_DEADLINE_S)
        with self._changed:
            self._engine = None
        del engine
        gc.collect()

    def _opened(self, name: str, problem: str = "") -> Exception | None:
        """Open it and have it answer, those first who wait. Returns what went wrong."""
        try:
            self._check_open()
            engine = self._open_engine(name, self._report)
        except Exception as error:
            _clear_frames(error)
            gc.collect()
            return error
        while (reply := self._next(name, engine, problem)) is not None:
            try:
                self._begin(reply, engine)
            except LlavaChatError as refusal:
                reply.fail(refusal)
        return None

    def _next(self, name: str, engine: ChatEngine, problem: str) -> HeldReply | None:
        """Who waits longest; None when nobody does, and then the engine is open to all."""
        with self._changed:
            if not self._closed and self._held:
                return self._held.popleft()
            if not self._closed:
                self._engine = engine
                self._tell(Ready(name, engine.model, problem))
                return None
        engine.close(0)
        return None

    def _give_up(self, state: NotOpened) -> None:
        with self._changed:
            held = [*self._held]
            self._held.clear()
            self._tell(state)
        for reply in held:
            reply.fail(not_ready(state))

    def _report(self, progress: Progress) -> None:
        with self._changed:
            self._check_open()  # whoever opens a model that nobody waits for any more is stopped
            if isinstance(self._state, Opening):
                self._tell(Opening(self._state.name, progress))


def _clear_frames(error: BaseException | None) -> None:
    """Keep the places of a traceback, but not what was loaded there."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
