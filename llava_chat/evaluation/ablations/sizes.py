"""How large the models are, how long they learn, and how much they are asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llava_chat.training.scenes.recipe import RECIPES, Part, Recipe
from llava_chat.training.scenes.world import CORE


@dataclass(frozen=True)
class Size:
    """A recipe, and the held-out questions that every run is asked.

    pictures, turns: of the conversations about held-out pictures. reasoned: questions that the two
    orders of reasoning and answer are asked besides, each about a picture of its own.
    """

    recipe: Recipe
    pictures: int
    turns: int
    reasoned: int


SIZES = {
    # The bundled recipe in small, without printed words and boxes, which it would not learn.
    "small": Size(
        Recipe(
            image_px=128, patch_px=16, vision_width=128, vision_layers=4,
            text_width=128, text_layers=4, head_width=32, vocabulary=1024,
            encoder=Part(2000, 64, 1e-3, 3e-3, reuse=3), language=Part(2000, 16, 2e-3, 3e-3),
            align=Part(100, 32, 2e-3), finetune=Part(500, 16, 1e-3, 2e-3),
            turns=3, max_tokens=208, workers=1, world=CORE,
        ),
        pictures=400, turns=3, reasoned=600,
    ),
    # The bundled shapes, world and parts; a fifth of the bundled stage 2. Not run yet.
    "cpu": Size(
        replace(RECIPES["cpu"], finetune=Part(1500, 16, 1e-3, 2e-3)),
        pictures=1000, turns=4, reasoned=1000,
    ),
    # For one large GPU and 16 cores that draw. Not run yet.
    "gpu": Size(
        replace(RECIPES["gpu"], finetune=Part(1500, 128, 1e-3, 2e-3)),
        pictures=2000, turns=4, reasoned=2000,
    ),
}  # fmt: skip
