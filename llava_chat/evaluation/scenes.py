"""`evaluate scenes`: how well a model answers about drawings that it was not trained on."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import ChatEngine, GenerationSettings, whole_reply
from llava_chat.evaluation.answers import say
from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.meaning import box_overlap, means
from llava_chat.image import Picture, picture_from_image
from llava_chat.training.scenes.dialogue import Dialogue
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.exchange import Exchange
from llava_chat.training.scenes.other_pictures import draw_other
from llava_chat.training.scenes.talk import blind_talk, non_scene_talk, scene_talk
from llava_chat.training.scenes.wording import full_description
from llava_chat.training.scenes.world import CORE, World, random_scene

GREEDY = GenerationSettings(temperature=0, max_new_tokens=160, deadline_s=600)
NON_SCENE_MARK = "does not look like a drawing"
# What the bundled model is held to, as shares ("box": the mean overlap, intersection over union);
# kinds that are not here are only shown.
GOALS = {
    "colour": 0.97,
    "shape": 0.97,
    "existence": 0.97,
    "count": 0.93,
    "where": 0.93,
    "relation": 0.93,
    "back-reference": 0.93,
    "describe": 0.75,
    "reading": 0.9,
    "box": 0.7,
    "non-scene": 0.97,
    "taken for no scene": 0.01,
}
_OTHER_SHARE = 0.15
_BLIND_SHARE = 0.05


@dataclass
class Tally:
    """Right and asked, by kind; the wrong ones to look at."""

    right: dict[str, float] = field(default_factory=lambda: defaultdict(int))
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[dict[str, str]] = field(default_factory=list)

    def add(self, kind: str, right: float) -> None:
        """Count one answer: 1 for a right one, 0 for a wrong one; of a box its overlap."""
        self.asked[kind] += 1
        self.right[kind] += right

    def share(self, kind: str) -> float:
        """Right answers of a kind, 0 to 1."""
        return self.right[kind] / max(1, self.asked[kind])


def held_out(number: int, seed: int, turns: int, world: World = CORE) -> Dialogue:
    """Dialogue `number` of the held-out set. Its random numbers are no training sample's."""
    rng = random.Random(f"held out:{seed}:{number}")
    lot = rng.random()
    if lot < _BLIND_SHARE:
        return Dialogue(tuple(blind_talk(rng, turns, world)))
    if lot < _BLIND_SHARE + _OTHER_SHARE:
        kind, pixels = draw_other(rng)
        return Dialogue(tuple(non_scene_talk(rng, 2, world)), other_kind=kind, pixels=pixels)
    scene = random_scene(rng, world)
    pixels = draw_scene(scene, rng)
    return Dialogue(tuple(scene_talk(scene, rng, turns, world)), scene=scene, pixels=pixels)


def _own_kind(exchange: Exchange) -> str:
    return exchange.kind


def evaluate_scenes(
    engine: ChatEngine,
    *,
    pictures: int = 1000,
    turns: int = 6,
    seed: int = 2024,
    world: World = CORE,
    kind_of: Callable[[Exchange], str] = _own_kind,
    at_once: int = 1,
) -> Tally:
    """Ask everything, turn by turn, the model's own earlier answers in its context.

    kind_of: under which an exchange is counted. at_once: how many conversations the engine is given
    at a time; greedy replies are the same. Raises the error of a reply that failed.
    """
    tally = Tally()
    asked = talks(engine, lambda number: held_out(number, seed, turns, world), pictures, at_once)
    for number, (dialogue, answers) in enumerate(asked):
        for exchange, answer in answers:
            _judge(tally, number, dialogue, exchange, answer, kind_of(exchange))
        if (number + 1) % 50 == 0:
            say(f"evaluate scenes {number + 1}/{pictures}")
    return tally


def talks(
    engine: ChatEngine, dialogue_of: Callable[[int], Dialogue], count: int, at_once: int
) -> Iterator[tuple[Dialogue, list[tuple[Exchange, str]]]]:
    """Dialogues 0 to `count`, in their order, with what the engine says to each exchange.

    at_once: how many the engine is given at a time. Raises the error of a reply that failed.
    """

    def held(number: int) -> tuple[Dialogue, list[tuple[Exchange, str]]]:
        dialogue = dialogue_of(number)
        return dialogue, list(answers_of(engine, dialogue))

    pool = ThreadPoolExecutor(at_once)
    try:
        yield from pool.map(held, range(count))
    finally:
        pool.shutdown(cancel_futures=True)  # at once, where a reply failed


def _judge(
    tally: Tally, number: int, dialogue: Dialogue, exchange: Exchange, answer: str, kind: str
) -> None:
    right = means(answer, exchange.meaning)
    box = exchange.meaning.box
    tally.add(kind, right if box is None else box_overlap(answer, box))
    if dialogue.scene is not None:
        tally.add("taken for no scene", NON_SCENE_MARK in answer)
    if not right:
        tally.wrong.append(_report(number, dialogue, exchange, answer))


def answers_of(engine: ChatEngine, dialogue: Dialogue) -> Iterator[tuple[Exchange, str]]:
    """Every exchange with what the engine says to its question, turn by turn."""
    picture = picture_from_image(dialogue.pixels) if dialogue.pixels else None
    turns: tuple[Turn, ...] = ()
    for number, exchange in enumerate(dialogue.talk):
        images = (picture,) if picture is not None and number == 0 else ()
        turns += (Turn("user", exchange.question, images),)
        done = whole_reply(engine.stream(Conversation(turns), GREEDY))
        turns += (Turn("assistant", done.text, token_ids=done.known_ids),)
        yield exchange, done.text


def _report(number: int, dialogue: Dialogue, exchange: Exchange, answer: str) -> dict[str, str]:
    shown = full_description(dialogue.scene) if dialogue.scene else str(dialogue.other_kind)
    return {
        "picture": str(number),
        "kind": exchange.kind,
        "shown": shown,
        "question": exchange.question,
        "expected": exchange.answer,
        "answer": answer,
    }


def table(tally: Tally) -> str:
    """A Markdown table: kind, how many, right, goal."""
    lines = ["| kind of question | asked | right | goal |", "|---|---:|---:|---:|"]
    ordered = [*GOALS, *sorted(set(tally.asked) - set(GOALS))]
    for kind in ordered:
        if not tally.asked[kind]:
            continue
        goal = GOALS.get(kind)
        under = "< " if kind == "taken for no scene" else ""
        shown = "" if goal is None else f"{under}{goal:.0%}"
        lines.append(f"| {kind} | {tally.asked[kind]} | {tally.share(kind):.1%} | {shown} |")
    return "\n".join(lines)


def figures(tally: Tally) -> dict[str, Any]:
    """The same for programs."""
    kinds = {
        kind: {"asked": tally.asked[kind], "right": tally.right[kind], "share": tally.share(kind)}
        for kind in sorted(tally.asked)
    }
    return {"kinds": kinds, "goals": GOALS}


def wrong_cards(tally: Tally, seed: int, turns: int, world: World = CORE) -> list[Wrong]:
    """The wrong answers to look at, their pictures drawn again when they are shown."""

    def picture(number: int) -> Picture | None:
        pixels = held_out(number, seed, turns, world).pixels
        return picture_from_image(pixels) if pixels else None

    return [
        Wrong(
            f"picture {row['picture']}",
            row["kind"],
            row["question"],
            row["expected"],
            row["answer"],
            partial(picture, int(row["picture"])),
            {"what is shown": row["shown"]},
        )
        for row in tally.wrong
    ]


def write_wrong(wrong: Sequence[dict[str, str]], file: Path) -> None:
    """The wrong answers, a JSON object a line."""
    file.write_text("".join(json.dumps(row) + "\n" for row in wrong), encoding="utf-8")
