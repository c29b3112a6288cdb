"""From a conversation to ids, picture spans and training labels, in one walk.

What a person wrote never becomes a special token, nor the ids of the words that tell who speaks.
Imports conversation, image, errors and the `tokenizers` library: no model, no torch.

A prompt is cut at special tokens and pictures, and each piece is tokenised by itself, as the
reference does it (haotian-liu/LLaVA): with a SentencePiece tokenizer every piece so begins with the
word-start mark. Within a piece, a second cut lies between the template's text and a person's. It
goes before the space between them, where no token of these tokenizers reaches across, so the ids
are those of the whole piece; and where a message would change how a marker is tokenised (one that
ends in a space, before `###`), it cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Any, Protocol

from tokenizers import Tokenizer as Backend

from llava_chat.conversation import (
    Conversation,
    Segment,
    Template,
    Turn,
    segments,
    template_named,
    template_of,
)
from llava_chat.errors import CheckpointError
from llava_chat.image import Picture

IGNORED = -100
"""The label of a token that is not learned (the default of torch's cross entropy)."""

Ids = tuple[int, ...]
_Spelling = Callable[[str, bool], Ids]

_WORDS = ("system", "user", "assistant")
_WORD_START_MARKS = ("\u2581", "\u0120")  # of SentencePiece and of byte-level BPE
_UNJOINED = ("\n", "\x00")  # characters that tokens hardly ever join to what follows
_PIECES_KEPT = 2048
_LONGEST_PIECE_KEPT = 2000  # characters: a few thousand long messages would fill the memory


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer that is backed by the `tokenizers` library."""

    @property
    def bos_token_id(self) -> int | None:
        """Begins a prompt."""

    @property
    def eos_token_id(self) -> int | None:
        """Ends a reply."""

    @property
    def backend_tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`."""

    def __hash__(self) -> int:
        """By identity."""


@dataclass(frozen=True)
class PictureSpan:
    """Where a picture's `length` placeholder ids lie in the prompt, from `start`."""

    start: int
    length: int
    picture: Picture


@dataclass(frozen=True)
class Prompt:
    """A tokenised conversation. ids and labels are equally long; IGNORED is not learned."""

    ids: Ids
    labels: Ids
    spans: tuple[PictureSpan, ...]


def tokenize(
    conversation: Conversation,
    tokenizer: Tokenizer,
    *,
    template: str | None = None,
    picture_tokens: Callable[[Picture], int],
    image_token_id: int,
    cue: bool = True,
) -> Prompt:
    """The ids of a conversation, with labels for training and the spans of its pictures.

    template: the model's; the conversation's own goes before it. picture_tokens: how many rows of
    features a picture has. cue: after a user's turn, end with the cue for the reply.
    Raises UsageError (template, order of turns), CheckpointError (a tokenizer of another kind).
    """
    wording = template_of(conversation, template)
    encoder = _encoder(tokenizer)
    parts = _placed(segments(conversation, wording.name, cue=cue))
    ids: list[int] = []
    labels: list[int] = []
    spans: list[PictureSpan] = []
    begin = encoder.begin(wording)
    if begin is not None and not (parts and encoder.single(parts[0]) == begin):
        ids.append(begin)
        labels.append(IGNORED)
    apart = True
    given: Ids | None = None
    for part in parts:
        single = encoder.single(part)
        if part.picture is not None:
            spans.append(PictureSpan(len(ids), picture_tokens(part.picture), part.picture))
            new: Ids = (image_token_id,) * spans[-1].length
        elif single is not None:
            new = (single,)
        elif part.token_ids is not None:
            new = part.token_ids
        else:
            new = encoder.text(part, wording, apart)
            if given and given[-len(new) :] == new:
                new = ()  # the reply was generated with the space that its end begins with
        if part.text or new:
            apart = part.picture is not None or single is not None
        given = part.token_ids
        ids += new
        labels += new if part.learned else (IGNORED,) * len(new)
    return Prompt(tuple(ids), tuple(labels), tuple(spans))


def end_ids(tokenizer: Tokenizer, template: str) -> frozenset[int]:
    """The ids at which a reply is over: the tokenizer's EOS, and those of the template's ends.

    A template that ends turns with ordinary text (`###`) adds none: look for `end_text`.
    """
    encoder, others = _encoder(tokenizer), template_named(template).also_ends
    ends = (encoder.single(Segment("special", each)) for each in others)
    own = _end_id(tokenizer, template)
    return frozenset(each for each in (tokenizer.eos_token_id, own, *ends) if each is not None)


def end_text(tokenizer: Tokenizer, template: str) -> str:
    """The text at which a reply is over, '' where the template's end is one id.

    A special token that the tokenizer lacks is written as ordinary text, so it ends as text too.
    """
    return template_named(template).end if _end_id(tokenizer, template) is None else ""


@lru_cache(maxsize=64)
def next_ids(tokenizer: Tokenizer, template: str) -> Ids:
    """What follows a reply whatever is said next: its end, the separator, whose turn it is."""
    reply = Turn("assistant", "A", token_ids=(-1,))

    def followed_by(text: str) -> Ids:
        turns = (Turn("user", "A"), reply, Turn("user", text))
        talk = Conversation(turns)
        return tokenize(
            talk, tokenizer, template=template, picture_tokens=lambda _: 0, image_token_id=0
        ).ids

    first, second = (each[each.index(-1) + 1 :] for each in (followed_by("A"), followed_by("?")))
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return tuple(one for one, _ in alike)


def _end_id(tokenizer: Tokenizer, template: str) -> int | None:
    wording = template_named(template)
    end = wording.end.strip(" ")
    if end not in wording.special:
        return None
    return _encoder(tokenizer).single(Segment("special", end))


def _placed(parts: Sequence[Segment]) -> tuple[Segment, ...]:
    """The same text, with the spaces between template and words on the side of the words.

    Behind them only where the template has nothing else: a space that begins a marker is its own.

    >>> [each.text for each in _placed((Segment("template", "USER: "), Segment("user", "Hi")))]
    ['USER:', ' Hi']
    """
    placed: list[Segment] = []
    for part in parts:
        if placed and part.kind == "template" and not part.text.strip(" "):
            last = placed[-1]
            if last.kind in _WORDS and last.learned == part.learned and last.token_ids is None:
                placed[-1] = replace(last, text=last.text + part.text)
                continue
        if placed and placed[-1].kind == "template" and part.kind in _WORDS:
            before = placed.pop()
            kept = before.text.rstrip(" ")
            if kept:
                placed.append(replace(before, text=kept))
            part = replace(part, text=before.text[len(kept) :] + part.text)
        placed.append(part)
    return tuple(placed)


@lru_cache(maxsize=4)
def _encoder(tokenizer: Tokenizer) -> _Encoder:
    return _Encoder(tokenizer)


class _Encoder:
    """Text to ids with a copy of the tokenizer that knows no special token.

    A copy, because to parse special tokens or not is a switch on the tokenizer itself, which other
    threads use. Any thread may call any method.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Backend):
            raise CheckpointError(
                f"The tokenizer is a {type(tokenizer).__name__} without a tokenizer.json; save it "
                "with transformers' AutoTokenizer to get one."
            )
        self._eos, self._bos = tokenizer.eos_token_id, tokenizer.bos_token_id
        self._known = backend
        self._begins_unasked = backend.encode("").ids[:1] == [self._bos]
        bare = json.loads(backend.to_str())
        bare |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._bare = Backend.from_str(json.dumps(bare))
        word = "".join(self._bare.encode("a").tokens)
        self._marks_words = word.startswith(_WORD_START_MARKS)
        self._spaces_are_marks = (
            word.startswith("\u2581") and "".join(self._bare.encode(" a").tokens) == word
        )
        self._kept = lru_cache(maxsize=_PIECES_KEPT)(self._ids)
        self._spelled = lru_cache(maxsize=64)(self._characters)
        self._marker_ids = lru_cache(maxsize=64)(self._marker_ids_unkept)

    def begin(self, wording: Template) -> int | None:
        """The id that a prompt begins with, if it does."""
        return self._bos if wording.bos or self._begins_unasked else None

    def single(self, part: Segment) -> int | None:
        """The id of a special token, None for text and for a token that this tokenizer lacks.

        A tokenizer that calls its end of text otherwise uses that for `</s>`.
        """
        if part.kind != "special":
            return None
        found: int | None = self._known.token_to_id(part.text)
        return self._eos if found is None and part.text == "</s>" else found

    def text(self, part: Segment, wording: Template, apart: bool) -> Ids:
        """The ids of a segment. `apart`: it begins a piece, else it goes on from other text."""
        markers: tuple[str, ...] = ()
        if part.kind in _WORDS:
            lacking = (each for each in wording.special if self._known.token_to_id(each) is None)
            markers = (*wording.markers, *lacking)
        if len(part.text) > _LONGEST_PIECE_KEPT:
            return self._ids(part.text, markers, apart)
        return self._kept(part.text, markers, apart)

    def _ids(self, text: str, markers: tuple[str, ...], apart: bool) -> Ids:
        """Tokenise; what looks like a marker gets other ids than the template's, of equal text."""
        if not markers:
            return self._plain(text, apart)
        pattern = "|".join(re.escape(each) for each in sorted(markers, key=len, reverse=True))
        found = re.split(f"({pattern})", text)
        # A tokenizer's normaliser can make a marker of text that is none (NFKC: of full-width
        # letters), and only its ids tell: then all of the text is spelled, as markers are.
        ways: tuple[tuple[_Spelling, _Spelling], ...] = (
            (self._plain, self._spelled),
            (self._plain, self._bytes),
            (self._characters, self._characters),
            (self._bytes, self._bytes),
        )
        ids: list[int] = []
        for encode_words, encode_marker in ways:
            ids = []
            for place, part in enumerate(found):
                encode = encode_marker if place % 2 else encode_words
                ids += encode(part, apart and not ids) if part else ()
            if not any(_within(marker, ids) for marker in self._marker_ids(markers)):
                break
        return tuple(ids)

    def _plain(self, text: str, apart: bool) -> Ids:
        if apart or not self._marks_words:
            # SentencePiece adds the mark before a space too, transformers 5 takes it for the mark.
            added = " " if self._spaces_are_marks and text.startswith((" ", "\u2581")) else ""
            return tuple(self._bare.encode(added + text).ids)
        for before in _UNJOINED:  # and take away what stands for it: no word-start mark is added
            prefix = self._bare.encode(before).ids
            ids = self._bare.encode(before + text).ids
            if ids[: len(prefix)] == prefix:
                return tuple(ids[len(prefix) :])
        return tuple(self._bare.encode(text).ids)

    def _characters(self, text: str, apart: bool) -> Ids:
        return sum((self._plain(c, apart and not i) for i, c in enumerate(text)), ())

    def _bytes(self, text: str, apart: bool) -> Ids:
        """Byte tokens, for a tokenizer that has no longer tokens in a marker than characters."""
        found = (self._bare.token_to_id(f"<0x{byte:02X}>") for byte in text.encode())
        ids = tuple(each for each in found if each is not None)
        return ids if len(ids) == len(text.encode()) else self._characters(text, apart)

    def _marker_ids_unkept(self, markers: tuple[str, ...]) -> frozenset[Ids]:
        """All the ways in which the template's own markers are tokenised, if they are at all."""
        ways = ((each, True) for each in markers), ((each, False) for each in markers)
        spaced = ((f" {each}", False) for each in markers)
        found = frozenset(self._plain(*way) for group in (*ways, spaced) for way in group)
        return found - {()}  # what a tokenizer cannot spell nobody can forge


def _within(part: Ids, whole: list[int]) -> bool:
    """Whether `part` occurs in `whole` without a gap.

    >>> _within((2, 3), [1, 2, 3]), _within((1, 3), [1, 2, 3])
    (True, False)
    """
    first, length, wanted = part[0], len(part), list(part)
    return any(whole[i : i + length] == wanted for i, each in enumerate(whole) if each == first)
