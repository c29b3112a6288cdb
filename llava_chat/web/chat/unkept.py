"""Chats that are not to be kept: which page each lives in, and that they go when it is left.

Such a chat belongs to the one open page that began it. What the registry misses, because the server
ended, `web.retaining` removes. Imports the chat's turns and errors; no gradio.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from llava_chat.errors import LlavaChatError, NotFoundError
from llava_chat.web.chat.turns import Turns

REMEMBERED_PAGES = 10_000  # that were left: a question of theirs may still be on its way

_log = logging.getLogger(__name__)
_Page = tuple[str, str]  # the owner and Gradio's session hash, which proves nothing by itself


class Unkept:
    """The unkept chats of all open pages. Methods may be called from any thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._chats: dict[_Page, set[str]] = {}
        self._left: OrderedDict[_Page, None] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, owner: str, page: str, conversation_id: str) -> None:
        """A page shows an unkept chat of its own. One that began too late for its page goes now."""
        with self._lock:
            late = (owner, page) in self._left
            if not late:
                self._chats.setdefault((owner, page), set()).add(conversation_id)
        if late:
            self._remove(owner, conversation_id)

    def of_page(self, owner: str, page: str) -> frozenset[str]:
        """The chats that live in a page."""
        with self._lock:
            return frozenset(self._chats.get((owner, page), ()))

    def leave(self, owner: str, page: str) -> None:
        """A page was left: its chats go, with their pictures, and a reply in the making ends."""
        with self._lock:
            self._left[owner, page] = None
            if len(self._left) > REMEMBERED_PAGES:
                self._left.popitem(last=False)
            chats = self._chats.pop((owner, page), set())
        for conversation_id in chats:
            self._remove(owner, conversation_id)

    def come_back(self, owner: str, page: str) -> None:
        """A page that seemed to be left asks again: its connection had only been lost."""
        with self._lock:
            self._left.pop((owner, page), None)

    def _remove(self, owner: str, conversation_id: str) -> None:
        try:
            self._turns.delete(owner, conversation_id)
        except NotFoundError:
            pass  # its owner was quicker
        except LlavaChatError as error:  # nobody is there to read it; the daily round tries again
            _log.warning("a chat that is not to be kept could not be removed: %s", error)
