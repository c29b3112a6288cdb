"""How a conversation is answered: what the settings panel says, and what a new version needs.

Imports the engine's interface and the store.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from llava_chat.engine.base import GenerationSettings
from llava_chat.store import ChatOptions, StoredConversation

# Regenerating at LLaVA's own default of 0.2 mostly gives the reply that is there already.
LIVELY_TEMPERATURE = 0.7
LIVELY_TOP_P = 0.9


@dataclass(frozen=True)
class Options:
    """What the settings panel says: system and template None for the model's own.

    kept: whether a conversation that begins with it is. model: which of several answers, None for
    the page's, whichever that is.
    """

    system: str | None
    template: str | None
    generation: GenerationSettings
    kept: bool = True
    model: str | None = None

    def to_keep(self) -> ChatOptions:
        """As the conversation keeps them."""
        settings = asdict(self.generation)
        if self.model is not None:
            settings["model"] = self.model
        return ChatOptions(self.system, self.template, settings)


def options_of(stored: StoredConversation, defaults: Options) -> Options:
    """What a conversation was last asked with; what it does not say is the default."""
    known = {
        name: value
        for name, value in stored.settings.items()
        if name in GenerationSettings.__dataclass_fields__ and name != "deadline_s"
    }
    generation = replace(defaults.generation, **known)
    model = stored.settings.get("model")
    return Options(stored.system, stored.template, generation, model=model)


def lively(generation: GenerationSettings) -> GenerationSettings:
    """Sampling warm enough that another reply can differ from the one before."""
    return replace(
        generation,
        temperature=max(generation.temperature, LIVELY_TEMPERATURE),
        top_p=max(generation.top_p, LIVELY_TOP_P),
    )
