"""A reply while it is written: its ids, its text, and whether it is at its end.

Imports `engine.base` and the modules beside it; no torch.
"""

from __future__ import annotations

from llava_chat.engine.base import FinishReason
from llava_chat.engine.local.detokenizer import Decode, Detokenizer, StopText
from llava_chat.engine.local.job import Job


class Reply:
    """What was written so far for a job. decode: how the model's ids are read."""

    def __init__(self, job: Job, decode: Decode) -> None:
        self.job = job
        self.ids: list[int] = []
        self._untold: list[tuple[int, str]] = []
        self._whole = 0
        self._text = Detokenizer(decode)
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
