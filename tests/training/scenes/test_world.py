"""What a scene may hold, and what may be said of it, on many random scenes and some by hand."""

import random
from itertools import combinations, pairwise

import pytest

from llava_chat.training.scenes.boxes import apart
from llava_chat.training.scenes.world import (
    COLOURS,
    DIRECTIONS,
    MAX_OBJECTS,
    PLACES,
    SHAPES,
    SIZE_RANGES,
    SIZES,
    Direction,
    Scene,
    SceneObject,
    random_scene,
)

SCENES = [random_scene(random.Random(seed)) for seed in range(300)]
EVERYWHERE = [place for row in PLACES for place in row]


def dot(x: float, y: float, size_px: float = 10) -> SceneObject:
    return SceneObject("circle", "red", "small", x, y, size_px, size_px)


def test_the_same_seed_gives_the_same_scene() -> None:
    again = [random_scene(random.Random(seed)) for seed in range(300)]
    assert again == SCENES
    assert len(set(SCENES)) > 290


def test_every_word_and_every_number_of_objects_occurs() -> None:
    objects = [item for scene in SCENES for item in scene.objects]
    assert {len(scene.objects) for scene in SCENES} == set(range(MAX_OBJECTS + 1))
    assert {item.shape for item in objects} == set(SHAPES)
    assert {item.colour for item in objects} == set(COLOURS)
    assert {item.size for item in objects} == set(SIZES)
    assert {s.place(item) for s in SCENES for item in s.objects} == set(EVERYWHERE)
    assert {s.width > s.height for s in SCENES} == {True, False}


def test_objects_lie_inside_and_apart() -> None:
    for scene in SCENES:
        longer = max(scene.width, scene.height)
        for item in scene.objects:
            left, top, right, bottom = item.box
            assert min(left, top, scene.width - right, scene.height - bottom) >= 0.014 * longer
        for one, other in combinations(scene.objects, 2):
            assert apart(one.drawn_box, other.drawn_box, 0.014 * longer)


def test_a_size_is_a_share_of_the_longer_side() -> None:
    for scene in SCENES:
        for item in scene.objects:
            share = max(item.width, item.height) / max(scene.width, scene.height)
            low, high = SIZE_RANGES[item.size]
            assert (
                0.79 * low <= share <= high
            )  # a diamond is up to a fifth narrower than it is high


def test_places_and_orders_are_never_close_calls() -> None:
    for scene in SCENES:
        xs = [item.x / scene.width for item in scene.objects]
        assert xs == sorted(xs)
        assert all(later - earlier >= 0.034 for earlier, later in pairwise(xs))
        for item in scene.objects:
            for share in (item.x / scene.width, item.y / scene.height):
                assert min(abs(share - 1 / 3), abs(share - 2 / 3)) >= 0.024


@pytest.mark.parametrize(("number", "place"), list(enumerate(EVERYWHERE)))
def test_a_place_is_a_third_of_each_side(number: int, place: str) -> None:
    row, column = divmod(number, 3)
    item = dot(50 + 100 * column, 20 + 40 * row)
    assert Scene(300, 120, (item,)).place(item) == place


@pytest.mark.parametrize(
    ("direction", "found"),
    [("left of", (0,)), ("right of", (2,)), ("above", (2,)), ("below", (0,))],
)
def test_related_objects(direction: Direction, found: tuple[int, ...]) -> None:
    dots = (dot(20, 80), dot(50, 50), dot(80, 20))
    assert Scene(100, 100, dots).related(dots[1], direction) == tuple(dots[n] for n in found)


def test_what_is_nearly_level_has_no_relation() -> None:
    dots = (dot(20, 51), dot(80, 50))
    scene = Scene(100, 100, dots)
    assert scene.related(dots[0], "above") is None
    assert scene.related(dots[0], "right of") == (dots[1],)


def test_relations_have_opposites() -> None:
    opposite = dict(zip(DIRECTIONS, ("right of", "left of", "below", "above"), strict=True))
    for scene in SCENES:
        for one, other in combinations(scene.objects, 2):
            for direction in DIRECTIONS:
                related = scene.related(one, direction)
                back = scene.related(other, opposite[direction])  # type: ignore[arg-type]
                if related is not None and back is not None:
                    assert (other in related) == (one in back)


def test_the_nearest_object() -> None:
    dots = (dot(10, 50), dot(30, 50), dot(80, 50))
    assert Scene(100, 100, dots).nearest(dots[0]) is dots[1]
    assert Scene(100, 100, dots[:1]).nearest(dots[0]) is None


def test_two_objects_almost_as_near_are_a_doubt() -> None:
    dots = (dot(30, 50), dot(50, 50), dot(73, 50))
    assert Scene(100, 100, dots).nearest(dots[1]) is None


def test_a_centre_nearer_than_an_edge_is_a_doubt() -> None:
    middle, small, large = dot(50, 50), dot(20, 50), dot(88, 50, size_px=60)
    assert Scene(100, 100, (small, middle, large)).nearest(middle) is None
