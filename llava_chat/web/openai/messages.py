"""From OpenAI's messages to this project's turns: roles, order, texts; pictures are read elsewhere.

Neighbours of one role are one turn, joined by a new line. A prompt of this line of models shows a
message's pictures before its words, so pictures keep their order among themselves, and not their
place between the words. Imports conversation, errors and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

from llava_chat.conversation import Role, check_message, well_formed
from llava_chat.errors import MessageError
from llava_chat.web.openai.errors import CallError
from llava_chat.web.openai.request import Message

# Of the whole conversation. More words than this many of the longest messages fit no model's
# context, and more pictures than this many messages bring would keep the decoders from others.
MAX_FULL_MESSAGES = 16


@dataclass(frozen=True)
class PictureSource:
    """Where a picture is, and which field of the request says so."""

    url: str
    param: str


@dataclass(frozen=True)
class Draft:
    """One turn whose pictures are still to be read."""

    role: Role
    text: str
    pictures: tuple[PictureSource, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """What one message brought. place: its number in the request."""

    speaker: Literal["system", "user", "assistant"]
    place: int
    text: str
    pictures: tuple[PictureSource, ...]


def drafts_of(
    messages: Sequence[Message], *, max_chars: int, max_pictures: int
) -> tuple[str | None, tuple[Draft, ...]]:
    """The system message, None when there is none, and the turns, the user's first and last.

    max_chars and max_pictures: of one turn. Raises CallError naming the message.

    >>> from llava_chat.web.openai.request import read_request
    >>> asked = read_request(b'''{"messages": [{"role": "system", "content": "Be brief."},
    ...     {"role": "user", "content": "One"}, {"role": "user", "content": "Two"}]}''')
    >>> drafts_of(asked.messages, max_chars=100, max_pictures=4)
    ('Be brief.', (Draft(role='user', text='One\\nTwo', pictures=()),))
    """
    pieces = [_piece(place, message) for place, message in enumerate(messages)]
    _check_whole(pieces, max_chars, max_pictures)
    groups = [(who, [*group]) for who, group in groupby(pieces, key=attrgetter("speaker"))]
    system = None
    if groups[0][0] == "system":
        system = _system(groups.pop(0)[1], max_chars)
    _check_order([(speaker, group[0].place) for speaker, group in groups], len(messages))
    return system, tuple(_drafts(groups, max_chars, max_pictures))


def _piece(place: int, message: Message) -> _Piece:
    speaker = "system" if message.role == "developer" else message.role
    text = "\n".join(part.text for part in message.content if part.text is not None)
    pictures = tuple(
        PictureSource(part.image_url.url, f"messages[{place}].content[{at}].image_url.url")
        for at, part in enumerate(message.content)
        if part.image_url is not None
    )
    if pictures and speaker != "user":
        raise _wrong(place, "only the user's messages bring pictures", pictures[0].param)
    return _Piece(speaker, place, text, pictures)


def _check_whole(pieces: Sequence[_Piece], max_chars: int, max_pictures: int) -> None:
    chars, pictures = sum(len(p.text) for p in pieces), sum(len(p.pictures) for p in pieces)
    for count, most, what in (
        (chars, MAX_FULL_MESSAGES * max_chars, "characters"),
        (pictures, MAX_FULL_MESSAGES * max_pictures, "pictures"),
    ):
        if count > most:
            raise CallError(
                f"The messages have {count:,} {what} together; at most {most:,} are read. "
                "Leave the oldest out.",
                param="messages",
            )


def _check_order(speakers: Sequence[tuple[str, int]], messages: int) -> None:
    if not speakers:
        raise CallError("There is no message of the user's to answer.", param="messages")
    for turn, (speaker, place) in enumerate(speakers):
        if speaker == "system":
            raise _wrong(place, "system messages stand before all others")
        if speaker != ("user", "assistant")[turn % 2]:
            raise _wrong(place, "a conversation begins with the user's message")
    if len(speakers) % 2 == 0:
        raise _wrong(messages - 1, "the last message must be the user's, to be answered")


def _drafts(
    groups: Sequence[tuple[str, Sequence[_Piece]]], max_chars: int, max_pictures: int
) -> Iterator[Draft]:
    for speaker, pieces in groups:
        text = "\n".join(piece.text for piece in pieces if piece.text)
        place = pieces[-1].place
        if speaker == "assistant":
            yield Draft("assistant", well_formed(text))
            continue
        pictures = tuple(source for piece in pieces for source in piece.pictures)
        if len(pictures) > max_pictures:
            most = f"at most {max_pictures} go with a message"
            raise _wrong(place, f"{len(pictures)} pictures came; {most}")
        try:
            text = check_message(text, max_chars=max_chars, has_picture=bool(pictures))
        except MessageError as error:
            raise CallError(f"messages[{place}]: {error}", param=f"messages[{place}]") from None
        yield Draft("user", text, pictures)


def _system(pieces: Sequence[_Piece], max_chars: int) -> str:
    text = "\n".join(piece.text for piece in pieces)
    if len(text) > max_chars:
        problem = f"{len(text):,} characters came; at most {max_chars:,} are read"
        raise _wrong(pieces[-1].place, problem)
    return well_formed(text)


def _wrong(place: int, problem: str, param: str = "") -> CallError:
    return CallError(f"messages[{place}]: {problem}.", param=param or f"messages[{place}]")
