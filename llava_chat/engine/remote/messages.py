"""A conversation as the messages of OpenAI's chat API, the same bytes at every turn.

A server keeps the keys and values of a prompt's beginning, and finds them again only when that
beginning is sent again byte for byte. So each message is encoded by itself, a picture always as the
same PNG, and a reply as it was received. Imports conversation, image, templates and errors.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import OrderedDict
from pathlib import Path

from llava_chat.conversation import PICTURE, TEMPLATES, Conversation, Turn, well_formed
from llava_chat.errors import EngineError
from llava_chat.image import Picture, png_bytes

# Of a 1024 x 1024 drawing a PNG takes a few hundred kilobytes, of a photograph two megabytes.
DEFAULT_CACHE_BYTES = 64 * 2**20

_WORD_JOINER = "\u2060"  # seen by nobody, and no part of any token below
# What the server's tokenizer would read as more than text, in the words of a person.
_TOKENS = re.compile(
    "|".join(
        re.escape(token)
        for token in sorted(
            {
                PICTURE,
                "<s>",
                "</s>",
                "<|endoftext|>",
                *(token for each in TEMPLATES.values() for token in each.special),
            }
        )
    )
)


class Messages:
    """Encodes conversations. Any thread may call any method.

    cache_bytes: what encoded pictures may take; a conversation's own are sent with every turn.
    """

    def __init__(self, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._cache_bytes = cache_bytes
        self._parts: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def encoded(self, conversation: Conversation) -> bytes:
        """The messages' JSON without the brackets of their list: turn n's begin turn n + 1's.

        No system message is sent where the conversation has none of its own: the server's template
        may have one. Raises EngineError when a picture can no longer be read.
        """
        messages = [self._message(turn) for turn in conversation.turns]
        if conversation.system:
            system = {"role": "system", "content": plain(conversation.system)}
            messages.insert(0, _json(system))
        return b",".join(messages)

    def _message(self, turn: Turn) -> bytes:
        if turn.role == "assistant":
            return _json({"role": "assistant", "content": well_formed(turn.text)})
        text = plain(turn.text)
        if not turn.images:
            return _json({"role": "user", "content": text})
        parts = [self._part(picture) for picture in turn.images]
        if text.strip():
            parts.append(_json({"type": "text", "text": text}))
        return b'{"role":"user","content":[' + b",".join(parts) + b"]}"

    def _part(self, picture: Picture) -> bytes:
        with self._lock:
            part = self._parts.get(picture.id)
            if part is not None:
                self._parts.move_to_end(picture.id)
                return part
        part = _picture_part(picture)
        with self._lock:
            if picture.id not in self._parts:
                self._parts[picture.id] = part
                self._kept_bytes += len(part)
            while self._kept_bytes > self._cache_bytes:
                self._kept_bytes -= len(self._parts.popitem(last=False)[1])
        return part


def plain(text: str) -> str:
    """A person's words with nothing in them that a tokenizer reads as more than text.

    The server reads `<image>` in a text as a picture that it then misses, and `</s>` as an end; an
    invisible character within keeps them words.

    >>> plain("a <b> </s>") == "a <b> <\u2060/s>"
    True
    """
    return _TOKENS.sub(lambda found: found[0][0] + _WORD_JOINER + found[0][1:], well_formed(text))


def _picture_part(picture: Picture) -> bytes:
    try:
        # A kept picture is the PNG that `png_bytes` once made of it.
        path = picture.source
        png = path.read_bytes() if isinstance(path, Path) else png_bytes(picture)
    except OSError as error:
        raise EngineError(
            "A picture of this conversation can no longer be read; please send it again."
        ) from error
    address = b"data:image/png;base64," + base64.b64encode(png)
    return b'{"type":"image_url","image_url":{"url":"' + address + b'"}}'


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
