"""Updates of the Compare tab's components. Every method returns what changes and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from llava_chat.store import Comparison
from llava_chat.web.chat.replies import Progress
from llava_chat.web.compare import rounds
from llava_chat.web.compare.layout import (
    CompareParts,
    choices_of,
    comparison_buttons,
    told_settings,
)
from llava_chat.web.compare.pairs import Pair, Pairs
from llava_chat.web.elements import notice

Updates = dict[Any, Any]


@dataclass
class CompareView:
    """What one open page shows in this tab. The id proves nothing.

    visit, asking, stop_wanted: as of the chat's View. failures: what kept a side of the newest turn
    from answering, by its conversation.
    """

    comparison_id: str | None = None
    visit: int = 0
    asking: int = 0
    stop_wanted: bool = False
    failures: dict[str, str] = field(default_factory=dict)

    def leave(self) -> int:
        """Count a visit that begins, and return its number."""
        self.visit += 1
        return self.visit


class CompareShowing:
    """Knows which component shows what."""

    def __init__(self, parts: CompareParts, pairs: Pairs) -> None:
        self._parts = parts
        self._pairs = pairs

    def comparison(self, owner: str, view: CompareView) -> Updates:
        """Everything of the comparison that `view` names, or of one that has not begun."""
        parts = self._parts
        if view.comparison_id is None:
            return self._setup() | {parts.thread: rounds.welcome()} | self.written(None)
        sides = self._pairs.load(owner, view.comparison_id)
        pair = self._pairs.running(sides.comparison)
        pictures = self._pairs.turns.pictures(sides.left.path)
        shown = rounds.rounds(sides, pictures, writing=bool(pair.writing), failures=view.failures)
        return {
            parts.setup: gr.Column(visible=False),
            parts.anew: comparison_buttons(),
            parts.thread: shown,
            **self.written(pair if pair.writing else None),
        }

    def written(self, pair: Pair | None) -> Updates:
        """Both replies in the making, or none."""
        if pair is None:
            return {self._parts.left: "", self._parts.right: ""}
        left, right = (None if live is None else live.progress for live in pair.lives)
        return self._live(pair.comparison, (left, right))

    def _live(self, comparison: Comparison, progress: Sequence[Progress | None]) -> Updates:
        names = (comparison.left_name, comparison.right_name)
        components = (self._parts.left, self._parts.right)
        return {
            component: rounds.live_side(one, place, name if comparison.revealed else None)
            for place, (component, one, name) in enumerate(
                zip(components, progress, names, strict=True)
            )
        }

    def _setup(self) -> Updates:
        """Who can be chosen just now: another model or an adapter may have come."""
        offered = self._pairs.contestants.offered()
        shown: Updates = {self._parts.setup: gr.Column(visible=True), self._parts.anew: ""}
        for part, choice in zip(
            self._parts.contestants, self._pairs.contestants.first_two(), strict=True
        ):
            shown[part.who] = gr.Dropdown(choices=choices_of(offered), value=choice.label)
            shown[part.how] = told_settings(choice)
            shown[part.temperature] = choice.temperature
            shown[part.top_p] = choice.top_p
            shown[part.repetition_penalty] = choice.repetition_penalty
            shown[part.system] = choice.system or ""
        return shown

    def composer(self, *, running: bool, empty: bool = False) -> Updates:
        """The composer with its one button: send, or stop while replies are written."""
        changes: dict[str, Any] = {"submit_btn": not running, "stop_btn": running}
        if empty:
            changes["value"] = None
        return {self._parts.composer: gr.MultimodalTextbox(**changes)}

    def given_back(self, text: str, files: Sequence[Path]) -> Updates:
        """What was refused, in the composer again."""
        value: dict[str, str | list[Any]] = {"text": text, "files": [str(file) for file in files]}
        shown = gr.MultimodalTextbox(value=value, submit_btn=True, stop_btn=False)
        return {self._parts.composer: shown}

    def sentence(self, text: str) -> Updates:
        """One sentence that says what could not be done; "" puts an earlier one away."""
        return {self._parts.notice: notice(text, "error")}
