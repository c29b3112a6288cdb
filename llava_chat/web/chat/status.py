"""A reply while it is being made, and how full the context is, as HTML. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from llava_chat.engine.base import ContextUse
from llava_chat.errors import EngineBusyError
from llava_chat.web.allowances import Left, about
from llava_chat.web.chat.models import far
from llava_chat.web.chat.replies import Progress
from llava_chat.web.elements import plural
from llava_chat.web.prose import prose


def live_reply(progress: Progress, *, blind: bool = False) -> str:
    """The words so far, with the state in words below them.

    Only the state is a live region: a screen reader is told of a new state once, not of each word.
    blind: without what tells which model writes them, its name while it is opened and its speed.
    """
    words, figure = _state(progress)
    if blind:
        words, figure = "Waiting" if progress.phase == "opening" else words, ""
    text = f'<div class="text md">{prose(progress.text)}</div>' if progress.text else ""
    shown = f' <span aria-hidden="true">{escape(figure)}</span>' if figure else ""
    return (
        f'<div class="message reply live" aria-busy="true">{text}<div class="state">'
        f'<span class="pulse" aria-hidden="true"></span>'
        f'<span role="status">{escape(words)}</span>{shown}</div></div>'
    )


def unsaved_reply(text: str) -> str:
    """A whole reply that only this page has."""
    return (
        f'<div class="message reply unsaved"><div class="text md">{prose(text)}</div>'
        '<p class="note">Not saved: it is gone when this page shows something else.</p></div>'
    )


def _state(progress: Progress) -> tuple[str, str]:
    if progress.phase == "opening" and progress.opening is not None:
        return f"Waiting for {progress.opening.name}", far(progress.opening)
    if progress.phase == "waiting":
        place = f"Waiting: place {progress.place}"
        if progress.wait_s is None:
            return place, ""
        return f"{place},", f"about {about(progress.wait_s)}"
    if progress.phase == "looking":
        looks = plural(progress.pictures, "picture")
        return ("Looking" if progress.pictures else "Reading"), (
            f"at {looks}" if progress.pictures > 1 else ""
        )
    speed = f"{progress.tokens_per_s:.0f} tokens/s" if progress.tokens_per_s else ""
    return "Writing", speed


def meter(use: ContextUse | None) -> str:
    """How much of the model's context the conversation fills, and what was left out of it."""
    if use is None:
        return '<div class="meter" hidden></div>'
    share = min(1.0, use.prompt_tokens / use.context_tokens)
    percent = round(100 * share)
    level = "full" if use.dropped_turns else "high" if share > 0.8 else "fine"
    label = f"{use.prompt_tokens:,} of {plural(use.context_tokens, 'token')} of context used"
    left_out = ""
    if use.dropped_turns:
        told = plural(use.dropped_turns, "oldest message")
        if use.dropped_pictures:
            told += f" and {plural(use.dropped_pictures, 'picture')}"
        left_out = f'<span class="left-out">{told} left out</span>'
    return (
        f'<div class="meter {level}" title="{label}">'
        f'<span class="track" role="meter" aria-label="{label}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}"><span style="width:{percent}%"></span>'
        f'</span><span class="percent">{percent} % of context</span>{left_out}</div>'
    )


def allowances(lefts: Sequence[Left]) -> str:
    """What is left of the allowances that are nearly used up; nothing while there is plenty.

    Each goes from the page once there is more of it.
    """
    told = "".join(
        f'<span style="--free-in:{left.free_in_s:.0f}s">{escape(_left(left))}</span>'
        for left in lefts
        if left.low
    )
    return f'<p class="allowances" role="status">{told}</p>' if told else ""


def _left(left: Left) -> str:
    """What is left of one, in words.

    >>> _left(Left("messages", 3, 20, 12.0)), _left(Left("tokens", 4180, 200_000, 9000.0))
    ('3 of 20 messages left this minute', 'about 4,200 of 200,000 tokens left today')
    """
    period = {"messages": "this minute", "pictures": "this hour", "tokens": "today"}[left.unit]
    count = f"{left.left:,}"
    if left.left >= 1000:  # a figure that changes in its last digits with each word is no help
        count = f"about {round(left.left, -2):,}"
    return f"{count} of {left.allowed:,} {left.unit} left {period}"


def refusal(error: Exception) -> str:
    """The sentence of what could not be done, with how long to wait where that is known."""
    if isinstance(error, EngineBusyError) and error.retry_after_s is not None:
        return (
            "Too many people are waiting for a reply just now. There is room again in about "
            f"{about(error.retry_after_s)}."
        )
    return str(error)
