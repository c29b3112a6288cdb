"""The dataset in the background: read back at the start, pushed to while the server runs.

Nobody waits for the Hub, and one that cannot be reached stops nothing: it is tried again, and until
then `loss` says what a restart would lose. Imports the other modules here, the store and errors.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_chat.errors import LlavaChatError, StoreError
from llava_chat.feedback.dataset.folder import OwnFolder
from llava_chat.store import ConversationStore

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from llava_chat.feedback.dataset.hub import Pusher

RETRY_S = 30.0
SOON_EVERY_S = 60.0
"""Between two pushes because of deletions: the Hub counts commits, and one person can delete and
say anew without end."""

_log = logging.getLogger(__name__)


class FeedbackDataset:
    """What is said, in the private dataset `id`, `owner/name`; pushed every `push_minutes`.

    folder: where files wait for a push; everything else in it is left alone. restart: the event
    that people are warned of. api: of another Hub than huggingface_hub's own. All methods may be
    called from any thread.
    """

    def __init__(
        self,
        store: ConversationStore,
        id: str,
        push_minutes: float,
        folder: Path,
        *,
        restart: str = "this Space restarts",
        retry_s: float = RETRY_S,
        api: HfApi | None = None,
    ) -> None:
        self.id = id
        self._store = store
        self._push_minutes = push_minutes
        self._folder = OwnFolder(folder)
        self._restart = restart
        self._retry_s = retry_s
        self._api = api
        self._closing = threading.Event()
        self._opened = threading.Event()
        self._lock = threading.Lock()
        self._soon: threading.Timer | None = None
        self._soon_at_s = -SOON_EVERY_S
        self._pusher: Pusher | None = None
        self._saved_at = self._comparing_at = datetime.now(UTC)
        self._trouble: str | None = None
        self._skipped = 0
        self._thread = threading.Thread(target=self._open, name="feedback dataset", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why the dataset is not up to date, in a sentence; None where it is."""
        return self._trouble

    @property
    def skipped(self) -> int:
        """How many lines and rows of the dataset could not be used."""
        return self._skipped

    @property
    def loss(self) -> str:
        """What people have to know before they rely on it, in two sentences or three."""
        if self._trouble is not None:
            since = f"{self._saved_at:%d %B, %H:%M} UTC"
            said = f"What was said since {since} is lost when {self._restart}: the copy of it "
            said += "cannot be written at the moment. That is tried again and again."
        else:
            said = f"What was said in the last {_span(self._push_minutes)} may be lost when "
            said += f"{self._restart}."
        reading = "" if self.read_in else " What was said earlier is still being read in."
        return f"{said} Chats without feedback do not outlive it.{reading}"

    @property
    def read_in(self) -> bool:
        """Whether what was said before this process is in its database."""
        return self._opened.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the dataset was read in; whether it was."""
        return self._opened.wait(timeout_s)

    def push(self) -> Future[Any]:
        """Push now; the future ends with it. Raises StoreError before the dataset was read in."""
        if self._pusher is None:
            raise StoreError(f"The dataset {self.id} was not read in yet.")
        return self._pusher.trigger()

    def push_soon(self) -> None:
        """Do not wait for the next time, as after something was deleted; once a minute at most."""
        with self._lock:
            if self._pusher is None or (self._soon is not None and self._soon.is_alive()):
                return
            now_s = time.monotonic()
            wait_s = max(0.0, self._soon_at_s + SOON_EVERY_S - now_s)
            self._soon_at_s = now_s + wait_s
            self._soon = threading.Timer(wait_s, self._pusher.trigger)
            self._soon.daemon = True
            self._soon.start()

    def close(self, limit_s: float) -> bool:
        """Push for the last time, in so many seconds at most; whether nothing is still going on."""
        until_s = time.monotonic() + limit_s
        self._closing.set()
        if self._thread.is_alive():  # it is still read in
            self._thread.join(max(0, limit_s))
            if self._thread.is_alive():
                return False
        if self._pusher is not None:
            try:
                self.push().result(max(0, until_s - time.monotonic()))
            except TimeoutError:
                _log.warning("what was said since %s was not pushed in time", self._saved_at)
                return False
            except StoreError as error:
                _log.warning("what was said since %s was not pushed: %s", self._saved_at, error)
            finally:
                self._pusher.stop()
        self._folder.remove()
        return True

    def _open(self) -> None:
        while not self._closing.is_set():
            try:
                self._read_in()
            except (LlavaChatError, OSError) as error:
                self._failed(error)
                self._closing.wait(self._retry_s)
            else:
                return

    def _read_in(self) -> None:
        # Not before there is a dataset: these take their time to import.
        from llava_chat.feedback.dataset.hub import HubDataset, Pusher
        from llava_chat.feedback.dataset.restoring import read_state, restore
        from llava_chat.feedback.dataset.work import Work

        dataset = HubDataset(self.id, self._api)
        listing = dataset.look()
        folder = self._folder.open()
        with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as aside:
            state = read_state(dataset, listing, Path(aside))
            refused = restore(self._store, state, dataset, listing, Path(aside))
        self._skipped = state.skipped + refused
        if self._skipped:
            _log.warning("%d lines and rows of %s were left out", self._skipped, self.id)
        work = Work(self._store, dataset, folder / "push", listing, state, tidy=not refused)

        def prepare() -> None:
            self._comparing_at = datetime.now(UTC)
            work.prepare()

        def pushed() -> None:
            work.pushed()
            if self._trouble is not None:
                _log.warning("%s: what was said is pushed again", self.id)
            self._saved_at, self._trouble = self._comparing_at, None

        pusher = Pusher(
            dataset,
            folder / "push",
            self._push_minutes,
            prepare=prepare,
            pushed=pushed,
            failed=self._failed,
        )
        self._pusher, self._trouble = pusher, None
        self._opened.set()

    def _failed(self, error: Exception) -> None:
        sentence = str(error)
        if sentence != self._trouble:
            _log.warning("feedback is not pushed, which is tried again: %s", sentence)
        self._trouble = sentence


def loss_without_dataset() -> str:
    """What people of a Space have to know whose database is on its own disk."""
    return "Chats and what is said of them are lost when this Space restarts."


def _span(minutes: float) -> str:
    """A time as it follows "the last".

    >>> _span(5), _span(1), _span(0.5)
    ('5 minutes', 'minute', '30 seconds')
    """
    if minutes < 1:
        return f"{round(minutes * 60)} seconds"
    return "minute" if minutes == 1 else f"{minutes:g} minutes"
