"""What is said, as frozen data. Imports pictures only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llava_chat.image import Picture

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """One message. A picture belongs to the turn that brought it.

    token_ids: for a reply, the ids that were generated (text tokenised again may differ);
    None where only the text is known.
    """

    role: Role
    text: str
    images: tuple[Picture, ...] = ()
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Conversation:
    """Turns that alternate user, assistant, user...

    system: None means the template's own system message, '' none at all.
    template: a name of TEMPLATES; None means the one the model names.
    """

    turns: tuple[Turn, ...] = ()
    system: str | None = None
    template: str | None = None
