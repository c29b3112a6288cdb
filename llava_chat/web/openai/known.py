"""Pictures that were decoded lately: a client sends all of a conversation's with every message.

Imports image only.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from llava_chat.image import Picture


class KnownPictures:
    """The pictures used last, by who sent which file. Safe from any thread.

    max_bytes: of their pixels, 3 bytes each. Nobody learns from it what somebody else has sent.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pictures: OrderedDict[bytes, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sender: str, file: bytes) -> Picture | None:
        """The picture of this file, if its sender's is known."""
        name = _name(sender, file)
        with self._lock:
            if name in self._pictures:
                self._pictures.move_to_end(name)
            return self._pictures.get(name)

    def put(self, sender: str, file: bytes, picture: Picture) -> None:
        """Keep it, in place of those that were used longest ago."""
        name = _name(sender, file)
        with self._lock:
            if name in self._pictures:
                return
            self._pictures[name] = picture
            self._bytes += _bytes(picture)
            while self._bytes > self._max_bytes:
                self._bytes -= _bytes(self._pictures.popitem(last=False)[1])


def _name(sender: str, file: bytes) -> bytes:
    return hashlib.sha256(sender.encode() + b"\0" + hashlib.sha256(file).digest()).digest()


def _bytes(picture: Picture) -> int:
    return 3 * picture.width * picture.height
