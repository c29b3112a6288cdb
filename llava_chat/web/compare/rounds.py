"""A comparison as HTML: what was said, the two replies to it side by side, and the vote on them.

Pure functions of stored values. Before the first vote nothing here tells what answers: no name, no
figure of a reply, no sentence of an engine. Imports the chat's rendering of messages, feedback's
words, the store's values and the page's elements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from llava_chat.feedback import CHOICES
from llava_chat.image import Picture
from llava_chat.store import KeptVote, Message
from llava_chat.web.chat import status, thread
from llava_chat.web.chat.replies import Progress
from llava_chat.web.compare.pairs import Sides
from llava_chat.web.elements import icon_button
from llava_chat.web.icons import icon
from llava_chat.web.prose import prose

LETTERS = ("A", "B")
KEYS = {choice: str(number) for number, choice in enumerate(CHOICES, start=1)}
HIDDEN = "hidden until you vote"
FAILED = "This reply could not be made."
_OUTCOMES = {
    "left": "You found A better.",
    "right": "You found B better.",
    "tie": "You called it a tie.",
    "both_bad": "You found both bad.",
}


def rounds(
    sides: Sides,
    pictures: Mapping[str, Picture],
    *,
    writing: bool,
    failures: Mapping[str, str],
) -> str:
    """All turns. writing: replies to the newest message are in the making, and shown elsewhere.

    failures: what kept a side from answering, by its conversation; told once the names are known.
    """
    comparison = sides.comparison
    asked = [message for message in sides.left.path if message.role == "user"]
    votes = {vote.turn: vote for vote in comparison.votes}
    shown, seen = "", None
    for turn, message in enumerate(asked, start=1):
        tools = icon_button("copy", "Copy the message", "copy")
        shown += thread.said(message, pictures, tools)
        seen = thread.newest_picture(message, pictures, seen)
        newest = turn == len(asked)
        if newest and writing:
            break
        replies = tuple(_reply(side.path, turn) for side in sides.both)
        shown += _pair(sides, replies, seen, votes.get(turn), failures)
        if None not in replies and (newest or turn in votes):
            shown += _verdict(comparison.id, turn, votes.get(turn))
    return (
        f'<ol class="thread rounds" data-comparison="{comparison.id}" '
        f'aria-label="Comparison">{shown}</ol>'
    )


def welcome() -> str:
    """What a comparison that has not begun shows above the setup."""
    return (
        '<div class="thread compare-welcome" data-comparison="">'
        "<h1>Which one answers better?</h1>"
        "<p>Your picture and your question go to two contestants. You see both replies, in an "
        "order drawn by lot, and learn who is who once you have voted.</p></div>"
    )


def live_side(progress: Progress | None, place: int, name: str | None) -> str:
    """One side's reply in the making. place: 0 left, 1 right. name: None while it is hidden."""
    if progress is None:
        return ""
    if progress.phase == "ended":
        words = (
            f'<div class="message reply"><div class="text md">{prose(progress.text)}</div>'
            '<div class="state"><span role="status">Done. The other one still writes.</span></div>'
            "</div>"
        )
        return _side(place, name, words)
    return _side(place, name, status.live_reply(progress, blind=name is None))


def _reply(path: tuple[Message, ...], turn: int) -> Message | None:
    """The reply of a side in a turn, None where it has none."""
    place = 2 * turn - 1
    return path[place] if place < len(path) else None


def _pair(
    sides: Sides,
    replies: tuple[Message | None, ...],
    seen: Picture | None,
    vote: KeptVote | None,
    failures: Mapping[str, str],
) -> str:
    comparison = sides.comparison
    names: tuple[str | None, ...] = (None, None)
    if comparison.revealed:
        names = (comparison.left_name, comparison.right_name)
    shown = ""
    for place, (reply, side) in enumerate(zip(replies, sides.both, strict=True)):
        if reply is None:
            inner = _no_reply(failures.get(side.id) if comparison.revealed else None)
        else:
            figures = thread.facts(reply) if comparison.revealed else ""
            tools = icon_button("copy", f"Copy reply {LETTERS[place]}", "copy")
            words = thread.answered(reply, seen, None)
            inner = (
                f'<div class="message reply">{words}<div class="tools">{tools}{figures}</div></div>'
            )
        better = vote is not None and vote.choice == ("left", "right")[place]
        shown += _side(place, names[place], inner, better=better)
    return f'<li class="pair">{shown}</li>'


def _side(place: int, name: str | None, inner: str, *, better: bool = False) -> str:
    letter = LETTERS[place]
    label = f"Reply {letter}" + (f": {name}" if name else "")
    who = escape(name) if name else HIDDEN
    mark = ' <span class="better">better</span>' if better else ""
    return (
        f'<section class="side{" chosen" if better else ""}" aria-label="{escape(label)}">'
        f'<p class="side-name"><strong>{letter}</strong> <span class="who'
        f'{"" if name else " unknown"}">{who}</span>{mark}</p>{inner}</section>'
    )


def _no_reply(problem: str | None) -> str:
    told = escape(problem or FAILED)
    return (
        f'<div class="message reply"><p class="note">{told} A vote needs both replies.</p>'
        '<button type="button" class="button retry" data-click="act" data-action="again">'
        f"{icon('again')}<span>Try again</span></button></div>"
    )


def _verdict(comparison_id: str, turn: int, vote: KeptVote | None) -> str:
    """The four answers; or the one that was given, and where compare.js says why."""
    place = f'data-comparison="{comparison_id}" data-turn="{turn}"'
    if vote is None:
        buttons = "".join(
            '<button type="button" class="button choice" data-click="choose" '
            f'data-value="{choice}" aria-keyshortcuts="{KEYS[choice]}">'
            f'<kbd aria-hidden="true">{KEYS[choice]}</kbd><span>{escape(words)}</span></button>'
            for choice, words in CHOICES.items()
        )
        return (
            f'<li class="verdict" {place}><div class="choosing" role="group" '
            f'aria-label="Which reply is better?">{buttons}</div></li>'
        )
    said = {"id": vote.id, "choice": vote.choice, "reasons": vote.reasons, "comment": vote.comment}
    how = " You knew who is who." if not vote.blind else ""
    return (
        f'<li class="verdict" {place} data-vote="{escape(json.dumps(said))}">'
        f'<p class="outcome-of"><span>{_OUTCOMES[vote.choice]}{how}</span>'
        f"{icon_button('speech', 'Why', 'why', expanded=False)}</p></li>"
    )
