"""How to name one object of a scene so that no other can be meant."""

from __future__ import annotations

import random

from llava_chat.training.scenes.world import PLACES, Scene, SceneObject


def references(scene: Scene, item: SceneObject, hide: str = "") -> list[str]:
    """The ways to name `item` alone, without its `hide` ('colour', 'shape', 'size', 'where')."""
    ways = [("shape",), ("colour", "shape"), ("colour",), ("size", "shape"), ("size", "colour")]
    ways += [("size", "colour", "shape")]
    found = []
    for way in ways:
        if hide in way:
            continue
        alike = [o for o in scene.objects if _words_of(o, way) == _words_of(item, way)]
        if len(alike) == 1:
            noun = item.shape if "shape" in way else "object"
            adjectives = [getattr(item, part) for part in way if part != "shape"]
            found.append(" ".join(["the", *adjectives, noun]))
    if hide != "where":
        found += [f"the object {place}" for place in _places_alone(scene, item)]
    return found


def _words_of(item: SceneObject, way: tuple[str, ...]) -> list[str]:
    return [getattr(item, part) for part in way]


def _places_alone(scene: Scene, item: SceneObject) -> list[str]:
    """The places where people would look for `item` and find nothing else.

    What is at the top left is also at the top, and on the left.
    """
    return [
        phrase
        for row in PLACES
        for phrase in row
        if [o for o in scene.objects if _is_at(scene, o, phrase)] == [item]
    ]


def _is_at(scene: Scene, item: SceneObject, phrase: str) -> bool:
    return set(phrase.split()[2:]) <= set(scene.place(item).split()[2:])


def asked_item(scene: Scene, rng: random.Random, hide: str) -> tuple[SceneObject, str] | None:
    """An object that can be named alone, and its name."""
    for item in rng.sample(scene.objects, len(scene.objects)):
        names = references(scene, item, hide)
        if names:
            return item, rng.choice(names)
    return None


def two_items(
    scene: Scene, rng: random.Random, hide: str = ""
) -> tuple[tuple[SceneObject, str], tuple[SceneObject, str]] | None:
    """Two objects, each with a name of its own."""
    if len(scene.objects) < 2:
        return None
    one, other = rng.sample(scene.objects, 2)
    names, other_names = references(scene, one, hide), references(scene, other, hide)
    if not names or not other_names:
        return None
    return (one, rng.choice(names)), (other, rng.choice(other_names))
