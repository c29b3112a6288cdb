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
    inside: True while the newest ids are a part of a character.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._old = 0
        self._given_chars = 0
        self.inside = False

    def push(self, token_id: int) -> str:
        """The text that `token_id` completes; '' inside a character or for a special token."""
        self._window.append(token_id)
        text = self._decode(self._window)
        whole = text.rstrip(_REPLACEMENT)
        self.inside = whole != text
        piece = whole[self._given_chars :]
        if piece:
            self._given_chars = len(whole)
            if not self.inside:
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
    """Watches for the texts that end a reply: a template's end that is no token, a caller's stops.

    The one that begins first in the reply ends it. What may be the beginning of one is held back
    until it is clear that it is not.

    >>> watch = StopText("###", "END")
    >>> [watch.push(piece) for piece in ("a#", "b#E", "N", "D c ###")]
    ['a', '#b#', '', '']
    >>> watch.found
    True
    >>> watch = StopText("###")
    >>> watch.push("C#"), watch.release()
    ('C', '#')
    """

    def __init__(self, *stops: str) -> None:
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.found = False

    @property
    def holds(self) -> bool:
        """True while some text is held back."""
        return bool(self._held)

    def push(self, piece: str) -> str:
        """What of the text so far may be shown, and was not yet."""
        text = self._held + piece
        begin, possible = self._begin(text), self._possible_begin(text)
        # A stop inside of what may become another, which began before it, ends nothing yet.
        self.found = begin < len(text) and begin <= possible
        shown = min(begin, possible)
        self._held = "" if self.found else text[shown:]
        return text[:shown]

    def release(self) -> str:
        """What is held back and belongs to the reply after all: nothing follows it."""
        text, self._held = self._held, ""
        begin = self._begin(text)
        self.found = self.found or begin < len(text)
        return text[:begin]

    def _begin(self, text: str) -> int:
        """Where the first stop begins, len(text) when there is none."""
        found = (text.find(stop) for stop in self._stops)
        return min((place for place in found if place >= 0), default=len(text))

    def _possible_begin(self, text: str) -> int:
        """Where the first stop may begin of which not all is there yet, else len(text)."""
        places = range(max(0, len(text) - self._longest + 1), len(text))
        ends = ((place, text[place:]) for place in places)
        possible = (place for place, end in ends if any(s.startswith(end) for s in self._stops))
        return next(possible, len(text))
