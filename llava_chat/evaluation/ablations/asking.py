"""The held-out questions that every run is asked, and what it said to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llava_chat.engine.local import LocalEngine
from llava_chat.evaluation.ablations.sizes import Size
from llava_chat.evaluation.meaning import means
from llava_chat.evaluation.scenes import held_out, talks
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.scenes.dialogue import Dialogue
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.reasoned import Order, reasoned_exchange
from llava_chat.training.scenes.world import World, random_scene

HELD_OUT_SEED = 2024  # as `evaluate scenes` has it
_SLOTS = 16
SCENES, REASONED = "scenes", "reasoned"
"""Which questions: those of `evaluate scenes`, or those with reasoning."""


@dataclass(frozen=True)
class Said:
    """One answer. asked: SCENES or REASONED; picture: its number among those."""

    asked: str
    picture: int
    kind: str
    question: str
    expected: str
    answer: str
    right: bool


def ask_held_out(checkpoint: Checkpoint, size: Size, order: Order | None) -> Iterator[Said]:
    """Every held-out conversation, greedily; order: of the reasoned questions, None asks none."""
    world = size.recipe.world
    longest = int(checkpoint.model.config.text.max_position_embeddings)
    engine = LocalEngine(checkpoint, slots=_SLOTS, context_tokens=longest, max_waiting=_SLOTS)
    try:
        yield from _ask(
            engine, SCENES, lambda n: held_out(n, HELD_OUT_SEED, size.turns, world), size.pictures
        )
        if order is not None:
            yield from _ask(engine, REASONED, lambda n: reasoned(n, order, world), size.reasoned)
    finally:
        engine.close(grace_s=0)


def reasoned(number: int, order: Order, world: World) -> Dialogue:
    """Question `number` of those with reasoning: the same one, whatever the order."""
    rng = random.Random(f"held out, reasoned:{HELD_OUT_SEED}:{number}")
    while True:
        scene = random_scene(rng, world)
        exchange = reasoned_exchange(scene, rng, order)
        if exchange is not None:
            return Dialogue((exchange,), scene=scene, pixels=draw_scene(scene, rng))


def _ask(
    engine: LocalEngine, asked: str, dialogue_of: Callable[[int], Dialogue], count: int
) -> Iterator[Said]:
    for number, (_, answers) in enumerate(talks(engine, dialogue_of, count, _SLOTS)):
        for exchange, answer in answers:
            yield Said(
                asked,
                number,
                exchange.kind,
                exchange.question,
                exchange.answer,
                answer,
                means(answer, exchange.meaning),
            )
