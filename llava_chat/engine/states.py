"""What an engine that opens models can be in, and the sentences that tell of it.

Imports `engine.base` and errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from llava_chat.engine.base import ModelInfo, Opening
from llava_chat.errors import EngineClosedError, EngineError, EngineOpeningError, LlavaChatError


@dataclass(frozen=True)
class Ready:
    """The model of this name answers. problem: why it is not the one that was wanted, or ""."""

    name: str
    model: ModelInfo
    problem: str = ""


@dataclass(frozen=True)
class NotOpened:
    """There is no model: the one of this name could not be opened, and none was there before."""

    name: str
    error: Exception


State = Opening | Ready | NotOpened


def not_opened(name: str, error: Exception) -> str:
    """What a person may read of why a model could not be opened."""
    if isinstance(error, LlavaChatError):
        return str(error)
    return f"{name} could not be opened ({type(error).__name__}); the server's log tells more."


def not_ready(state: State) -> EngineError:
    """Why nothing can be asked of the engine just now."""
    match state:
        case NotOpened(name, error):
            return EngineError(not_opened(name, error))
        case Opening(name, progress):
            far = f" ({progress.words})" if progress else ""
            return EngineOpeningError(
                f"{name} is still being loaded{far}; what is asked now is answered after that."
            )
        case Ready(name):
            raise ValueError(f"{name} is ready")


def closed() -> EngineClosedError:
    """What whoever comes too late is told."""
    return EngineClosedError("The server is shutting down; send your message again in a minute.")
