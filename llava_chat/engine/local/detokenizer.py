"""From token ids to text, a token at a time, without ever showing half a character.

Imports nothing of the project and no torch, of other packages only tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

# What every decoder puts where bytes are no UTF-8 (yet).
_REPLACEMENT = "\ufffd"

Decode = Callable[[Sequence[int]], str]
"""Ids to text, special tokens left out."""


def decoder(backend: Tokenizer) -> Decode:
    """How a tokenizer reads the ids of a reply."""
    return lambda ids: str(backend.decode(ids, skip_special_tokens=True))


class Detokenizer:
    """Text of a growing list of ids. The pieces that `push` returns, joined, are the whole text.

    Only a window of the newest ids is decoded. A
    decoder treats the beginning of what it is given specially (LLaMA's drops a space), so the
    window begins with ids whose text was already given out and is not empty by itself.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._old = 0
        self._given_chars = 0

    def push(self, token_id: int) -> str:
        """The text that `token_id` completes; '' inside a character or for a special token."""
        self._window.append(token_id)
        text = self._decode(self._window)
        whole = text.rstrip(_REPLACEMENT)
        piece = whole[self._given_chars :]
        if piece:
            self._given_chars = len(whole)
            if whole == text:
                self._shorten()
        return piece

    def _shorten(self) -> None:
        newest = self._window[self._old :]
        text = self._decode(newest)
        if text:
            self._window, self._given_chars = newest, len(text)
            self._old = len(newest)


def reads_as(decode: Decode, ids: Sequence[int], text: str) -> bool:
    """Whether a reply of `ids` has this text, but for half a character at its end.

    >>> reads_as(lambda ids: bytes(ids).decode(errors="replace"), [65, 0xE2, 0x82], "A")
    True
    """
    text = text.rstrip(_REPLACEMENT)
    if decode(ids).rstrip(_REPLACEMENT) == text:
        return True
    # Of bytes that are no UTF-8, a decoder makes something else at once than token by token.
    detokenizer = Detokenizer(decode)
    return "".join(map(detokenizer.push, ids)).rstrip(_REPLACEMENT) == text


class StopText:
    """Watches for the text that ends a reply where a template has no token for it (`###`).

    What may be the beginning of that text is held back until it is clear that it is not.

    >>> watch = StopText("###")
    >>> [watch.push(piece) for piece in ("a#", "b#", "#", "# c")]
    ['a', '#b', '', '']
    >>> watch.found
    True
    >>> watch = StopText("###")
    >>> watch.push("C#"), watch.release()
    ('C', '#')
    """

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self._held = ""
        self.found = False

    @property
    def holds(self) -> bool:
        """True while some text is held back."""
        return bool(self._held)

    def push(self, piece: str) -> str:
        """What of the text so far may be shown, and was not yet."""
        text = self._held + piece
        shown, separator, _ = text.partition(self._stop) if self._stop else (text, "", "")
        if separator:
            self.found = True
            self._held = ""
            return shown
        possible = range(min(len(self._stop) - 1, len(text)), 0, -1)
        keep = next((length for length in possible if self._stop.startswith(text[-length:])), 0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def release(self) -> str:
        """What is held back, which was no end after all: nothing follows it."""
        held, self._held = self._held, ""
        return held
