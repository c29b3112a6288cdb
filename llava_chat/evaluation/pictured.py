"""Questions about one picture each, which lies in a folder by the name that their row gives it.

Imports conversation, image and `question`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llava_chat.conversation import Conversation, Turn
from llava_chat.evaluation.question import Question
from llava_chat.image import Picture, file_below, read_picture


def picture_in(folder: Path, name: str) -> Callable[[], Picture]:
    """What reads the picture `name` when its turn comes; it raises PictureError."""
    return lambda: read_picture(file_below(folder, name))


def pictured(id_: str, prompt: str, folder: Path, image: str) -> Question:
    """A question whose picture goes with it, as LLaVA is asked."""
    read = picture_in(folder, image)
    return Question(id_, prompt, lambda: Conversation((Turn("user", prompt, (read(),)),)))
