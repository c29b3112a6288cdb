"""What is left out of a conversation that has outgrown the model's context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

from llava_chat.conversation.turns import Conversation
from llava_chat.errors import ContextFullError


@dataclass(frozen=True)
class Fitted:
    """A conversation that fits the context, and how much of its beginning was left out.

    dropped_pictures: of the dropped turns, without those that a kept turn carries on.
    """

    conversation: Conversation
    dropped_turns: int
    dropped_pictures: int = 0


def fit(
    conversation: Conversation,
    limit_tokens: int,
    reserve_tokens: int,
    count: Callable[[Conversation], int],
) -> Fitted:
    """Leave out the oldest exchanges until the prompt fits `limit_tokens - reserve_tokens`.

    The system message stays, and so do the most recent pictures: when the turn that brought them
    goes, the first user turn that is kept carries them. `count` gives the tokens of a prompt; it
    is called about log2(turns) times. Raises ContextFullError when the newest message does not fit
    with nothing before it.

    >>> from llava_chat.conversation import Turn
    >>> talk = Conversation((Turn("user", "one"), Turn("assistant", "two"), Turn("user", "three")))
    >>> fit(talk, 20, 10, lambda c: 6 * len(c.turns)).dropped_turns
    2
    """
    budget = limit_tokens - reserve_tokens
    if count(conversation) <= budget:
        return Fitted(conversation, 0)
    starts = [place for place, turn in enumerate(conversation.turns) if turn.role == "user"]
    kept = bisect_left(
        starts[1:], True, key=lambda start: count(_from_turn(conversation, start)) <= budget
    )
    if kept + 1 >= len(starts):
        needed = count(_from_turn(conversation, starts[-1])) if starts else count(conversation)
        raise ContextFullError(
            f"This message takes {needed} tokens with its picture and the system message, but "
            f"{max(budget, 0)} of the model's {limit_tokens} are left beside the "
            f"{reserve_tokens} kept for the reply. Shorten it, or ask for a shorter reply."
        )
    start = starts[kept + 1]
    fitted = _from_turn(conversation, start)
    return Fitted(fitted, start, _pictures(conversation) - _pictures(fitted))


def _pictures(conversation: Conversation) -> int:
    return sum(len(turn.images) for turn in conversation.turns)


def _from_turn(conversation: Conversation, start: int) -> Conversation:
    """The conversation from the user turn `start` on, the most recent pictures in it."""
    kept = conversation.turns[start:]
    if not any(turn.images for turn in kept):
        pictures = next((t.images for t in reversed(conversation.turns[:start]) if t.images), ())
        kept = (replace(kept[0], images=pictures), *kept[1:])
    return replace(conversation, turns=kept)
