"""A page of wrong answers with their pictures, to look at: figures say how many, not why.

One file that holds everything: no address is asked, and its policy lets no other script run. It
imports image and errors only.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from llava_chat import ASSETS
from llava_chat.errors import BenchmarkError, PictureError
from llava_chat.image import Picture, thumbnail

PICTURE_SIDE_PX = 480  # twice as many as it is shown with, for dense screens
SHORT_CHARS = 120  # of a note that is not folded away
MOST_CARDS = 500  # some 20 MB with pictures, which a browser still opens at once


@dataclass(frozen=True)
class Wrong:
    """One answer that was wrong.

    id: the question's. kind: what the page can be narrowed to, such as the subject. expected,
    said: in the benchmark's own words. picture: makes it, or None where there is none; called when
    its card is written. notes: what else helps to see why, by its name.
    """

    id: str
    kind: str
    question: str
    expected: str
    said: str
    picture: Callable[[], Picture | None] | None = None
    notes: Mapping[str, str] | None = None


def write_page(
    file: Path,
    title: str,
    cards: Sequence[Wrong],
    *,
    facts: Sequence[tuple[str, str]] = (),
    most: int = MOST_CARDS,
) -> None:
    """Write the page. facts: name and value, such as ("model", "scenes"), told at its top.

    Of more than `most` cards that many are shown, evenly from all. Raises BenchmarkError.
    """
    shown = evenly(cards, most)
    try:
        # JSON can hold half of a surrogate pair, which no file of UTF-8 can.
        with file.open("w", encoding="utf-8", errors="replace") as opened:
            opened.writelines(_page(title, cards, shown, facts))
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be written: {error.strerror}") from error


def evenly(cards: Sequence[Wrong], most: int) -> Sequence[Wrong]:
    """At most so many, as far from each other as they can be.

    >>> numbers = [Wrong(str(number), "", "", "", "") for number in range(10)]
    >>> [card.id for card in evenly(numbers, 4)], len(evenly(numbers, 10))
    (['0', '2', '5', '7'], 10)
    """
    if len(cards) <= most:
        return cards
    return [cards[number * len(cards) // most] for number in range(most)]


def _page(
    title: str, cards: Sequence[Wrong], shown: Sequence[Wrong], facts: Sequence[tuple[str, str]]
) -> Iterator[str]:
    style = (ASSETS / "evaluation" / "wrong.css").read_text(encoding="utf-8")
    script = (ASSETS / "evaluation" / "wrong.js").read_text(encoding="utf-8")
    yield _head(title, style, script)
    yield f'<header><p class="over">Wrong answers</p><h1>{escape(title)}</h1>'
    yield f"<dl>{''.join(_pair(name, value) for name, value in facts)}</dl>"
    yield f"<p>{_how_many(len(cards), len(shown))}</p></header>"
    if shown:
        yield _narrowing(Counter(card.kind for card in shown))
    yield "<main>"
    yield from (_card(card) for card in shown)
    yield f'</main><p class="none" hidden>Nothing fits.</p><script>{script}</script></body></html>'


def _head(title: str, style: str, script: str) -> str:
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Wrong answers: {escape(title)}</title><style>{style}</style></head><body>"
    )


def _digest(text: str) -> str:
    """As a content security policy names a script or a style that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _how_many(wrong: int, shown: int) -> str:
    """The line under the title.

    >>> _how_many(0, 0), _how_many(1, 1), _how_many(60312, 500)
    ('Not one answer is wrong.', '1 answer is wrong.', '500 of 60,312 wrong answers, evenly taken.')
    """
    if not wrong:
        return "Not one answer is wrong."
    if shown < wrong:
        return f"{shown:,} of {wrong:,} wrong answers, evenly taken."
    return "1 answer is wrong." if wrong == 1 else f"{wrong:,} answers are wrong."


def _narrowing(kinds: Counter[str]) -> str:
    chips = [("", "all", kinds.total(), True)]
    if len(kinds) > 1:
        chips += [(kind, kind, count, False) for kind, count in sorted(kinds.items())]
    buttons = "".join(
        f'<button type="button" data-kind="{escape(kind)}" aria-pressed="{str(on).lower()}">'
        f"{escape(name)} <span>{count}</span></button>"
        for kind, name, count, on in chips
    )
    return (
        f'<nav aria-label="Narrow the answers"><div class="kinds">{buttons}</div>'
        '<input type="search" aria-label="Find words" placeholder="Find words"></nav>'
    )


def _pair(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _card(card: Wrong) -> str:
    notes = {name: value for name, value in (card.notes or {}).items() if value}
    short = {name: value for name, value in notes.items() if len(value) <= SHORT_CHARS}
    folded = "".join(
        f"<details><summary>{escape(name)}</summary><p>{escape(value)}</p></details>"
        for name, value in notes.items()
        if name not in short
    )
    return (
        f'<article data-kind="{escape(card.kind)}">{_figure(card)}<div class="words">'
        f'<p class="over"><span>{escape(card.kind)}</span> <code>{escape(card.id)}</code></p>'
        f'<p class="question">{escape(card.question)}</p><dl>'
        f'<div class="expected"><dt>expected</dt><dd>{escape(card.expected)}</dd></div>'
        f'<div class="said"><dt>said</dt><dd>{escape(card.said) or "<i>nothing</i>"}</dd></div>'
        f"{''.join(_pair(*note) for note in short.items())}</dl>{folded}</div></article>\n"
    )


def _figure(card: Wrong) -> str:
    try:
        picture = card.picture() if card.picture else None
    except PictureError as error:
        return f'<p class="broken">No picture: {escape(str(error))}</p>'
    if picture is None:
        return ""
    data = base64.b64encode(thumbnail(picture, PICTURE_SIDE_PX)).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="The question\'s picture">'
