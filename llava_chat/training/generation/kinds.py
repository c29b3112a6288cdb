"""The types of instruction data, and what a reply must look like to become a row of one.

Imports nothing of this project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["conversation", "detail", "reasoning", "brief"]
ASKED_KINDS: tuple[Kind, ...] = ("conversation", "detail", "reasoning")
"""Those that a server is asked for. A `brief` row is a caption with an instruction before it."""

KINDS: tuple[Kind, ...] = (*ASKED_KINDS, "brief")

PAPER_SHARES: dict[Kind, int] = {"conversation": 58, "detail": 23, "reasoning": 77}
"""Thousands of each in LLaVA-Instruct-158K (arXiv 2304.08485, section 3)."""

Turns = tuple[tuple[str, str], ...]

_BREAK = re.compile(r"^\s*={3,}\s*$", re.MULTILINE)
_SPEAKER = re.compile(r"^\W*(question|answer)\b[\s*_]*:[\s*_]*", re.IGNORECASE)
_APOSTROPHE = "['\u2019]"
# What tells that the writer had words in place of the picture.
_GIVEN_AWAY = re.compile(
    r"\bcaptions?\b|\bbounding[ -]box|\bannotat(?:ed|ions?)\b"
    r"|\b(?:the|its|their|box|these|with|whose) coordinates\b"
    r"|\b(?:given|provided) (?:text|sentences?|descriptions?|information|context|notes?)\b"
    r"|\b(?:the|these) (?:sentences|notes) (?:say|tell|mention|describe)"
    r"|\[\s*[01]?\.\d+\s*,|\b0\.\d{3}\b",
    re.IGNORECASE,
)
_UNWILLING = re.compile(
    rf"^\W*(?:i{_APOSTROPHE}?m sorry|i am sorry|sorry,|i (?:cannot|can{_APOSTROPHE}t|am unable to)"
    r"|as an ai\b)",
    re.IGNORECASE,
)


class UnfitReplyError(Exception):
    """The reply is not as it must be. The text is one of few reasons, so that they can be counted.

    In the order in which they are looked for: "cut off", "filtered", "empty",
    "gives the notes away", "no ===", "out of order", "empty question", "empty answer", "not alone",
    "unwilling".
    """


@dataclass(frozen=True)
class Reply:
    """What a server said, and why it ended: "stop", "length", "content_filter", ..."""

    text: str
    finish: str


def turns_of(kind: Kind, reply: Reply) -> Turns:
    r"""The questions and answers of a reply; a description has "" for its question.

    Raises UnfitReplyError.

    >>> turns_of("conversation", Reply("Question:\nHow many?\n===\nAnswer:\nTwo.", "stop"))
    (('How many?', 'Two.'),)
    >>> turns_of("detail", Reply("Two cats sleep.", "stop"))
    (('', 'Two cats sleep.'),)
    """
    if reply.finish == "length":
        raise UnfitReplyError("cut off")
    if reply.finish == "content_filter":
        raise UnfitReplyError("filtered")
    if not reply.text.strip():
        raise UnfitReplyError("empty")
    if _GIVEN_AWAY.search(reply.text):
        raise UnfitReplyError("gives the notes away")
    turns = _description(reply.text) if kind == "detail" else _conversation(reply.text)
    if kind == "reasoning" and len(turns) != 1:
        raise UnfitReplyError("not alone")
    if any(_UNWILLING.match(answer) for _, answer in turns):
        raise UnfitReplyError("unwilling")
    return turns


def _description(text: str) -> Turns:
    if _BREAK.search(text) or _SPEAKER.match(text):
        raise UnfitReplyError("not alone")
    return (("", text.strip()),)


def _conversation(text: str) -> Turns:
    blocks = [block.strip() for block in _BREAK.split(text.strip())]
    blocks = blocks[:-1] if not blocks[-1] else blocks  # a break after the last answer does no harm
    if len(blocks) < 2:
        raise UnfitReplyError("no ===")
    said: list[str] = []
    for number, block in enumerate(blocks):
        speaker = _SPEAKER.match(block)
        wanted = ("question", "answer")[number % 2]
        if speaker is None or speaker[1].lower() != wanted:
            raise UnfitReplyError("out of order")
        said.append(block[speaker.end() :].strip())
        if not said[-1]:
            raise UnfitReplyError(f"empty {wanted}")
    if len(said) % 2:
        raise UnfitReplyError("out of order")
    return tuple(zip(said[::2], said[1::2], strict=True))
