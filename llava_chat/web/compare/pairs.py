"""The two sides of a comparison: asked, stopped and tried again together.

Each side is a conversation, kept and answered by the chat's own turns, so that its replies have
full records. Imports the chat's turns and replies, the contestants, feedback, the store and errors;
no gradio.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import EngineError, InputError, LimitError, LlavaChatError
from llava_chat.feedback import Comparisons
from llava_chat.store import Comparison, StoredConversation
from llava_chat.web.chat.options import Options, options_of
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.turns import Turns
from llava_chat.web.compare.contestants import Choice, Contestants
from llava_chat.web.people import Person

TAKEN_BACK_WITHIN_S = 30.0
"""A reply that is told to stop ends with its next token; this is a guard, and no measure."""

_STILL_WRITING = "A reply is still being written. Stop it first, or wait for its end."
_UNANSWERED = "One side has no reply yet. Try again there, or begin a new comparison."

_CANNOT_ANSWER = "This side cannot answer just now. Try again in a minute."

_log = logging.getLogger(__name__)

TurnsOf = Callable[[SwitchingEngine], Turns]


@dataclass(frozen=True)
class Pair:
    """A comparison, and the replies to its newest message that are being written, by side."""

    comparison: Comparison
    lives: tuple[LiveReply | None, LiveReply | None]

    @property
    def writing(self) -> tuple[LiveReply, ...]:
        """Those that there are."""
        return tuple(live for live in self.lives if live is not None)


@dataclass(frozen=True)
class Sides:
    """A comparison with both conversations."""

    comparison: Comparison
    left: StoredConversation
    right: StoredConversation

    @property
    def both(self) -> tuple[StoredConversation, StoredConversation]:
        """Left, then right."""
        return self.left, self.right


class Pairs:
    """The comparisons of one server. Every method takes the owner and checks it by the store.

    turns_of: the turns of an engine in the conversations of comparisons. The methods block, and
    raise as those of `Turns` do.
    """

    def __init__(
        self,
        contestants: Contestants,
        turns_of: TurnsOf,
        comparisons: Comparisons,
        defaults: Options,
    ) -> None:
        self.contestants = contestants
        self.comparisons = comparisons
        self._turns_of = turns_of
        self._defaults = defaults
        self.turns = turns_of(contestants.engine(None))

    def load(self, owner: str, comparison_id: str) -> Sides:
        """The comparison with both conversations."""
        comparison = self.comparisons.load(owner, comparison_id)
        store = self.turns.store
        left, right = (store.load(owner, id) for id in (comparison.left_id, comparison.right_id))
        return Sides(comparison, left, right)

    def running(self, comparison: Comparison) -> Pair:
        """The replies in the making."""
        replies = self.turns.replies
        left, right = replies.running(comparison.left_id), replies.running(comparison.right_id)
        return Pair(comparison, (left, right))

    def begin(
        self,
        owner: str,
        person: Person,
        text: str,
        files: Sequence[Path],
        choices: Sequence[Choice],
    ) -> Pair:
        """Begin a comparison of two contestants with a message to both.

        It counts as two messages of the person's, since two replies are written.
        """
        left, right = self.contestants.pair(choices)
        comparison = self.comparisons.begin(owner, left.label, right.label)
        try:
            return self._ask(
                owner, person, comparison, text, files, (left.settings, right.settings)
            )
        except BaseException:
            self.comparisons.delete(owner, comparison.id)
            raise

    def ask(
        self, owner: str, person: Person, comparison_id: str, text: str, files: Sequence[Path]
    ) -> Pair:
        """Go on: the same message to both sides, once both have answered the one before."""
        sides = self.load(owner, comparison_id)
        if self.running(sides.comparison).writing:
            raise InputError(_STILL_WRITING)
        if any(side.path and side.path[-1].role == "user" for side in sides.both):
            raise InputError(_UNANSWERED)
        options = tuple(options_of(side, self._defaults) for side in sides.both)
        return self._ask(owner, person, sides.comparison, text, files, options)

    def again(self, owner: str, person: Person, comparison_id: str) -> Pair:
        """Have the sides that got no reply try once more.

        While the names are hidden no sentence of an engine is told of one side: it may have one.
        """
        sides = self.load(owner, comparison_id)
        lives: list[LiveReply | None] = []
        for side in sides.both:
            if not side.path or side.path[-1].role != "user":
                lives.append(None)
                continue
            options = options_of(side, self._defaults)
            turns = self._turns(options)
            again = partial(turns.regenerate, owner, side.id, options)
            try:
                lives.append(turns.let_in(person, again))
            except LimitError:
                raise
            except LlavaChatError as error:
                if sides.comparison.revealed:
                    raise
                _log.warning("one side of a comparison cannot answer: %s", error)
                raise EngineError(_CANNOT_ANSWER) from None
        return Pair(sides.comparison, (lives[0], lives[1]))

    def stop(self, owner: str, comparison_id: str) -> None:
        """End both replies and keep their words."""
        comparison = self.comparisons.load(owner, comparison_id)
        for live in self.running(comparison).writing:
            live.stop()

    def delete(self, owner: str, comparison_id: str) -> None:
        """Delete a comparison with its pictures; replies that are being written end."""
        self.stop(owner, comparison_id)
        for picture_id in self.comparisons.delete(owner, comparison_id):
            self.turns.thumbnails.discard(picture_id)

    def _ask(
        self,
        owner: str,
        person: Person,
        comparison: Comparison,
        text: str,
        files: Sequence[Path],
        options: Sequence[Options],
    ) -> Pair:
        """Ask both, or neither."""
        lives: list[LiveReply] = []
        try:
            engines = [self._turns(one) for one in options]  # both are there, or nothing begins
            ids = (comparison.left_id, comparison.right_id)
            for turns, id, one in zip(engines, ids, options, strict=True):
                ask = partial(turns.ask, owner, id, text, files, one)
                lives.append(turns.let_in(person, ask))
        except BaseException:
            for live in lives:
                self._take_back(owner, live)
            raise
        return Pair(comparison, (lives[0], lives[1]))

    def _take_back(self, owner: str, live: LiveReply) -> None:
        live.stop()
        live.over.result(TAKEN_BACK_WITHIN_S)
        try:
            self.turns.store.undo(owner, live.conversation_id)
        except LlavaChatError as error:  # what kept the other side from being asked is told
            _log.warning("one side of a comparison could not be taken back: %s", error)

    def _turns(self, options: Options) -> Turns:
        return self._turns_of(self.contestants.engine(options.model))
