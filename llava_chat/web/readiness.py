"""Whether the model answers: a token that somebody just got proves it, else one is asked for.

Imports the engine's interface, its states and its probe, errors, web.metrics and web.stopping.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from llava_chat.engine.base import GenerationSettings, Opening, whole_reply
from llava_chat.engine.measured import PROBE
from llava_chat.engine.states import NotOpened, Ready, not_opened, not_ready
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import EngineError, LlavaChatError
from llava_chat.web.metrics import Metrics
from llava_chat.web.stopping import Stopping

FRESH_S = 30.0  # a token of the last so many seconds says enough; an idle model is asked as often
KEPT_S = 5.0  # of an answer to nothing good: whoever asks more often is told the same again
PROBE_S = 10.0  # for one token, waiting in line included
_POLL_S = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """status: "ready", "opening", "stopping" or "failing". reason: a sentence, "" where ready."""

    status: str
    reason: str = ""


class Readiness:
    """Of one server. At most one token is asked for at a time, whoever many want to know."""

    def __init__(self, engine: SwitchingEngine, metrics: Metrics, stopping: Stopping) -> None:
        self._engine = engine
        self._metrics = metrics
        self._stopping = stopping
        self._asking = asyncio.Lock()
        self._probe: _Probe | None = None
        self._failed: tuple[float, Verdict] | None = None

    async def verdict(self) -> Verdict:
        """Whether somebody who asks now gets an answer."""
        if (known := self._known()) is not None:
            return known
        async with self._asking:
            if (known := self._known()) is not None:  # found by who held the lock
                return known
            problem = await self._probed()
            if problem is None:
                self._failed = None
                return Verdict("ready")
            self._failed = time.monotonic(), Verdict("failing", problem)
            return self._failed[1]

    def told(self, verdict: Verdict) -> dict[str, Any]:
        """A verdict as JSON, with what the engine is at."""
        state, load = self._engine.state, self._engine.load()
        told: dict[str, Any] = {"status": verdict.status}
        if verdict.reason:
            told["reason"] = verdict.reason
        if not isinstance(state, Ready):
            return told
        age_s = self._token_age_s()
        return told | {
            "model": state.model.id,
            "last_token_age_s": None if age_s is None else round(age_s, 1),
            "running": load.running,
            "waiting": load.waiting,
        }

    def _known(self) -> Verdict | None:
        """What can be said without asking the model."""
        state = self._engine.state
        if self._stopping.begun:
            return Verdict("stopping", "The server is stopping.")
        if isinstance(state, Opening):
            return Verdict("opening", str(not_ready(state)))
        if isinstance(state, NotOpened):
            return Verdict("failing", not_opened(state.name, state.error))
        age_s = self._token_age_s()
        if age_s is not None and age_s < FRESH_S:
            return Verdict("ready")
        if self._failed is not None and time.monotonic() < self._failed[0] + KEPT_S:
            return self._failed[1]
        return None

    def _token_age_s(self) -> float | None:
        last_s = self._metrics.last_token_s
        return None if last_s is None else time.monotonic() - last_s

    async def _probed(self) -> str | None:
        """Ask for a token; returns what is wrong, None when it came."""
        if self._probe is None or self._probe.over:
            self._probe = _Probe(self._engine)
        until_s = time.monotonic() + PROBE_S
        while not self._probe.over and time.monotonic() < until_s and not self._stopping.begun:
            await asyncio.sleep(_POLL_S)
        if not self._probe.over:  # and it is not asked again before it ends
            return f"The model gave no token within {PROBE_S:.0f} s."
        if self._probe.problem is None:
            self._metrics.last_token_s = time.monotonic()
        return self._probe.problem


class _Probe:
    """One token, asked for in a thread that nobody has to wait for: a GPU that hangs never ends.

    problem: why it did not come, once it is over.
    """

    def __init__(self, engine: SwitchingEngine) -> None:
        self.problem: str | None = None
        self._engine = engine
        self._thread = threading.Thread(target=self._ask, name="probe", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def _ask(self) -> None:
        generation = GenerationSettings(temperature=0, max_new_tokens=1, deadline_s=PROBE_S)
        try:
            done = whole_reply(self._engine.stream(PROBE, generation))
            if done.first_token_s is None:
                raise EngineError("The model gave no token in time.")
        except LlavaChatError as error:
            self.problem = str(error)
        except Exception as error:
            _log.exception("the model could not be asked for a token")
            self.problem = (
                f"The model failed ({type(error).__name__}); the server's log tells more."
            )
