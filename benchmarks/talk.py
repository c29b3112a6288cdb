"""What is talked about: pictures that nobody saw before, and questions.

Imports torch, Pillow and `llava_chat`'s conversations and pictures.
"""

from __future__ import annotations

import random

import torch
from PIL import Image

from llava_chat.conversation import Conversation, Turn
from llava_chat.image import Picture, picture_from_image
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.world import random_scene

# About forty tokens of the bundled tokenizer: a question of some length.
QUESTION = (
    2 * "What is to the left of the large red circle, and how many of them are there in all? "
)
DESCRIBE = "Describe the picture."


def noise(seed: int, width: int = 400, height: int = 300) -> Picture:
    """A picture of noise, another one for every seed; sizes in pixels."""
    numbers = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=numbers, dtype=torch.uint8)
    return picture_from_image(Image.fromarray(pixels.numpy()))


def drawing(seed: int) -> Picture:
    """A drawing of shapes, which the bundled model has more to say about than noise."""
    drawn = random.Random(seed)
    return picture_from_image(draw_scene(random_scene(drawn), drawn))


def asked(
    conversation: Conversation, number: int, *pictures: Picture, question: str = QUESTION
) -> Conversation:
    """The conversation with one more question; its number keeps it apart from the others."""
    turn = Turn("user", f"{number}. {question}", pictures)
    return Conversation((*conversation.turns, turn))


def answered(
    conversation: Conversation, text: str, token_ids: tuple[int, ...] | None
) -> Conversation:
    """The conversation with the reply to its last question."""
    return Conversation((*conversation.turns, Turn("assistant", text, token_ids=token_ids)))
