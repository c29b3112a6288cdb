"""What stands behind a figure, as HTML: a list of conversations, and one of them to read.

Everything of a reply goes through `web.prose`, the rest is escaped here. Imports feedback and web's
elements and prose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from llava_chat.feedback.results.reading import Passage, Reading
from llava_chat.feedback.results.volume import Event, Place
from llava_chat.web.elements import plural
from llava_chat.web.icons import icon
from llava_chat.web.prose import prose
from llava_chat.web.results.figures import person
from llava_chat.web.results.plots import KIND_NAMES

MAX_LISTED = 50


def listed(title: str, row: str, events: Sequence[Event], names: Mapping[str, str]) -> str:
    """The newest places where something was said, each once, to be opened.

    row: what the row of a table sent, to come back to this list.
    """
    newest: dict[tuple[Place, str], list[Event]] = {}
    for event in sorted(events, key=lambda event: event.at, reverse=True):
        newest.setdefault((event.place, event.source), []).append(event)
    entries = "".join(_entry(told, row, names) for told in list(newest.values())[:MAX_LISTED])
    more = len(newest) - MAX_LISTED
    below = f"<p>{plural(more, 'older one')} not listed.</p>" if more > 0 else ""
    head = f'<h3 tabindex="-1">Behind “{escape(title)}”</h3>'
    if not entries:
        return f"{head}<p>Nothing is there any more.</p>"
    return f'{head}<ul class="behind">{entries}</ul>{below}'


def article(reading: Reading, place: str, id: str, row: str, names: Mapping[str, str]) -> str:
    """One conversation, comparison or item to read; nothing in it can be changed."""
    sides = "".join(
        f'<ol class="side">{"".join(_passage(one, reading, place, id) for one in side)}</ol>'
        for side in reading.sides
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in reading.said)
    kind = escape(place.capitalize())
    whose = f" of {escape(person(reading.person, names))}" if reading.person else ""
    back = (
        '<button type="button" class="button" data-click="act" data-action="behind" '
        f'data-value="{escape(row)}">'
        f"{icon('left')}<span>Back to the list</span></button>"
    )
    return (
        f'<article class="reading"><header>{back}<h3 tabindex="-1">{kind}{whose}</h3>'
        f'</header><div class="sides">{sides}</div>'
        f"{f'<h4>What was said of it</h4><ul>{said}</ul>' if said else ''}</article>"
    )


def _entry(events: Sequence[Event], row: str, names: Mapping[str, str]) -> str:
    first = events[0]
    kinds = ", ".join(dict.fromkeys(KIND_NAMES[event.kind].lower() for event in events))
    models = " and ".join(first.models)
    people = ", ".join(dict.fromkeys(person(event.person, names) for event in events))
    return (
        '<li><button type="button" class="opener" data-click="act" data-action="read" '
        f'data-value="{first.place}:{escape(first.source)}:{escape(row)}">'
        f'<time datetime="{first.at.isoformat()}">{first.at:%Y-%m-%d %H:%M}</time>'
        f"<span>{escape(kinds)}</span><span>{escape(models)}</span><span>{escape(people)}</span>"
        "</button></li>"
    )


def _passage(passage: Passage, reading: Reading, place: str, id: str) -> str:
    pictures = "".join(
        _picture(f"results/pictures/{escape(place)}/{escape(id)}/{reading.picture_ids.index(one)}")
        for one in passage.picture_ids
    )
    by_person = passage.role == "user"
    text = (
        f'<p class="own">{escape(passage.text)}</p>'
        if by_person
        else f'<div class="md">{prose(passage.text)}</div>'
    )
    writer = f'<p class="writer">{escape(passage.writer)}</p>' if passage.writer else ""
    said = "".join(f"<li>{escape(line)}</li>" for line in passage.said)
    return (
        f'<li class="passage {"asked" if by_person else "answered"}">{pictures}'
        f"{text}{writer}{f'<ul>{said}</ul>' if said else ''}</li>"
    )


def _picture(address: str) -> str:
    return (
        '<button type="button" class="thumb" data-click="enlarge" aria-label="Enlarge the picture" '
        f'data-full="{address}"><img src="{address}" alt="The picture" loading="lazy"></button>'
    )
