"""Which model answers, how far the next one is, and which there are to choose from.

What the header shows of that is made here too. Imports the engine that switches, what is offered,
errors and the page's elements; no gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from llava_chat.assembly import OfferedModel
from llava_chat.engine.base import ModelInfo, Opening
from llava_chat.engine.states import NotOpened, Ready, State, not_opened
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import InputError
from llava_chat.web.elements import attributes, plural
from llava_chat.web.icons import icon


class Models:
    """The models of one server. offered: what a page may switch to, each by its label."""

    def __init__(self, engine: SwitchingEngine, offered: Sequence[OfferedModel]) -> None:
        self._engine = engine
        self._offered = tuple(offered)

    @property
    def state(self) -> State:
        """What is there. Equal states show the same."""
        return self._engine.state

    @property
    def answering(self) -> ModelInfo | None:
        """The model that answers, None while there is none."""
        state = self.state
        return state.model if isinstance(state, Ready) else None

    def switch(self, label: str) -> None:
        """Begin to open the model of that label for everybody.

        Raises InputError for one that is not offered, EngineOpeningError, EngineClosedError.
        """
        if not self._choosable or label not in [model.label for model in self._offered]:
            raise InputError("That model is not offered here. Reload the page.")
        self._engine.switch(label)

    def problem(self, state: State | None) -> str:
        """Why there is not the model that was wanted, or ""."""
        match state:
            case Ready():
                return state.problem
            case NotOpened():
                return not_opened(state.name, state.error)
        return ""

    def header(self, state: State) -> str:
        """The model's name, which opens the list of the others; or how far it is."""
        match state:
            case Opening():
                return _opening(state)
            case NotOpened():
                return self._named("No model", not_opened(state.name, state.error), None)
            case Ready():
                return self._named(state.model.id, state.model.description, state.name)

    @property
    def _choosable(self) -> bool:
        return len(self._offered) > 1

    def _named(self, title: str, description: str, current: str | None) -> str:
        name = f"<strong>{escape(title)}</strong>"
        if self._choosable:
            name = self._menu(name, current)
        return (
            f'<div class="model" title="{escape(description)}">{name}'
            f'<span class="purpose">{escape(description)}</span></div>'
        )

    def _menu(self, name: str, current: str | None) -> str:
        items = "".join(_item(model, model.label == current) for model in self._offered)
        return (
            f'<details class="menu models"><summary title="Choose another model">{name}'
            f'{icon("chevron")}</summary><div class="items"><ul aria-label="Models">{items}</ul>'
            "<p>A choice holds for everybody who uses this server.</p></div></details>"
        )


def far(opening: Opening) -> str:
    """How far it is, in two words or three; "" while that is not known.

    >>> far(Opening("scenes", waiting_for=2)), far(Opening("scenes"))
    ('after 2 replies', '')
    """
    if opening.waiting_for:
        return f"after {plural(opening.waiting_for, 'reply', 'replies')}"
    share = opening.progress.share if opening.progress else None
    return "" if share is None else f"{share:.0%}".replace("%", " %")


def _item(model: OfferedModel, here: bool) -> str:
    shown = attributes({"data-value": model.label, "aria-current": "true" if here else None})
    needs = f"<span>{escape(model.needs)}</span>" if model.needs else ""
    return (
        f'<li><button type="button" data-click="switch"{shown}>'
        f"<strong>{escape(model.label)}</strong>{needs}</button></li>"
    )


def _opening(opening: Opening) -> str:
    share = opening.progress.share if opening.progress else None
    percent = None if share is None else str(round(100 * share))
    told = far(opening)
    bar = attributes(
        {
            "aria-label": f"Loading {opening.name}",
            "aria-valuemin": "0",
            "aria-valuemax": "100",
            "aria-valuenow": percent,
            "aria-valuetext": opening.progress.words if opening.progress else told or None,
        }
    )
    moves = "" if percent is not None else " unknown"
    return (
        f'<div class="model opening"><span>Loading <strong>{escape(opening.name)}</strong>'
        f'<span class="far">{escape(f": {told}" if told else "…")}</span></span>'
        f'<span class="track{moves}" role="progressbar"{bar}>'
        f'<span style="width:{percent or 0}%"></span></span></div>'
    )
