"""What can answer in a comparison, and which two it is: models, adapters and how they are sampled.

Imports the engine that switches, the chat's options, feedback's names and errors; no gradio.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from llava_chat.engine.base import GenerationSettings
from llava_chat.engine.states import Ready
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import InputError
from llava_chat.feedback import contestant_name
from llava_chat.web.chat.options import Options, lively

ANY = "any"
"""Stands for a contestant that the server draws."""

_DRAWN = secrets.SystemRandom()


@dataclass(frozen=True)
class Contestant:
    """What answers on one side. label: as people read it once they have voted.

    settings: its model, adapter, sampling and system message.
    """

    label: str
    settings: Options


@dataclass(frozen=True)
class Offer:
    """One that can be chosen, by its label. model: the engine's name for it.

    adapter: what is put on it for a reply, None for the model as it was opened. shown: the model as
    a reply's record will call it, once that is known, and what it was opened with.
    """

    label: str
    model: str
    adapter: str | None = None
    shown: tuple[str, str | None] = ("", None)


@dataclass(frozen=True)
class Choice:
    """What a person chose for one contestant. label: of an Offer, or ANY."""

    label: str
    temperature: float
    top_p: float
    repetition_penalty: float
    system: str | None = None


class Contestants:
    """All that can answer on one server.

    engine: the page's. beside: those that were opened for comparisons alone, by name. defaults: how
    a contestant is asked unless somebody says otherwise.
    """

    def __init__(
        self,
        engine: SwitchingEngine,
        beside: Mapping[str, SwitchingEngine],
        defaults: Options,
    ) -> None:
        self._engine = engine
        self._beside = dict(beside)
        self._defaults = defaults

    def offered(self) -> tuple[Offer, ...]:
        """What can be chosen just now, the page's own model first, each with its adapters."""
        found: dict[str, Offer] = {}
        for name in dict.fromkeys((self._engine.state.name, *self._beside)):
            engine = self.engine(name)
            model, opened_with = _shown(engine, name)
            usable = [one.name for one in engine.adapters() if not one.problem]
            for adapter in (None, *usable):
                shown = (model, adapter or opened_with)
                label = contestant_name(*shown, {}, None)
                if label in found:
                    label = contestant_name(name, adapter, {}, None)
                found[label] = Offer(label, name, adapter, shown)
        return tuple(found.values())

    def first_two(self) -> tuple[Choice, Choice]:
        """What a new comparison begins with: the first two that are offered.

        Where there is one only, it is compared with itself sampled in another way.
        """
        offered, usual = self.offered(), self._defaults.generation
        other = usual
        if len(offered) == 1:
            other = lively(usual)
            if _sampling(other) == _sampling(usual):
                other = replace(usual, temperature=0.0)
        system = self._defaults.system
        return (
            Choice(offered[0].label, *_sampling(usual), system),
            Choice(offered[min(1, len(offered) - 1)].label, *_sampling(other), system),
        )

    def pair(self, choices: Sequence[Choice]) -> tuple[Contestant, Contestant]:
        """The two that were chosen or drawn, in the order that is drawn for them.

        Raises InputError for one that is not offered, and for two that are the same; SettingError
        for a setting that is out of its range.
        """
        first, second = (self._contestant(choice) for choice in self._drawn(choices))
        if first == second:
            raise InputError(
                "Both contestants are the same. Choose another one, or change a setting of one."
            )
        pair = [first, second]
        _DRAWN.shuffle(pair)
        return pair[0], pair[1]

    def engine(self, name: str | None) -> SwitchingEngine:
        """The engine of that model. Raises InputError where another one has taken its place."""
        if name is None or name == self._engine.state.name:
            return self._engine
        if name in self._beside:
            return self._beside[name]
        raise InputError(
            "A contestant of this comparison is not here any more: another model was chosen for "
            "this server. Begin a new comparison."
        )

    def _drawn(self, choices: Sequence[Choice]) -> list[Choice]:
        """The choices with what the server draws in place of ANY: two others, where there are."""
        taken = [choice.label for choice in choices if choice.label != ANY]
        left = [offer.label for offer in self.offered() if offer.label not in taken]
        _DRAWN.shuffle(left)
        drawn = []
        for choice in choices:
            if choice.label != ANY:
                drawn.append(choice)
                continue
            label = left.pop() if left else self.offered()[0].label
            drawn.append(replace(choice, label=label))
        return drawn

    def _contestant(self, choice: Choice) -> Contestant:
        # A page that was open before the model was there knows it by the name that opens it.
        known = [one for one in self.offered() if choice.label == one.label]
        known += [one for one in self.offered() if (choice.label, None) == (one.model, one.adapter)]
        offer = next(iter(known), None)
        if offer is None:
            raise InputError("That contestant is not offered here any more. Reload the page.")
        generation = replace(
            self._defaults.generation,
            temperature=choice.temperature,
            top_p=choice.top_p,
            repetition_penalty=choice.repetition_penalty,
            adapter=offer.adapter,
        )
        system = (choice.system or "").strip() or None
        settings = replace(self._defaults, system=system, generation=generation, model=offer.model)
        label = contestant_name(*offer.shown, asdict(generation), system)
        return Contestant(label, settings)


def _sampling(generation: GenerationSettings) -> tuple[float, float, float]:
    return generation.temperature, generation.top_p, generation.repetition_penalty


def _shown(engine: SwitchingEngine, name: str) -> tuple[str, str | None]:
    """What a reply's record will call the model, once that is known, and what is on it."""
    state = engine.state
    return (state.model.id, state.model.adapter) if isinstance(state, Ready) else (name, None)
