"""Pictures that are no scenes."""

import random
from collections import Counter

import numpy as np
import pytest

from llava_chat.training.scenes.other_pictures import KINDS, clouds, draw_other

DRAWN = [draw_other(random.Random(seed)) for seed in range(80)]


def test_every_kind_is_drawn() -> None:
    counted = Counter(kind for kind, _ in DRAWN)
    assert set(counted) == set(KINDS)
    assert counted["photograph"] > counted["page"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_shows_something_each_time_anew(kind: str) -> None:
    pictures = [picture for drawn, picture in DRAWN if drawn == kind]
    for picture in pictures:
        assert picture.mode == "RGB" and min(picture.size) >= 80
        assert np.asarray(picture).std() > 3
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_the_same_seed_gives_the_same_bytes() -> None:
    for seed in range(10):
        kind, picture = draw_other(random.Random(seed))
        assert (kind, picture.tobytes()) == (DRAWN[seed][0], DRAWN[seed][1].tobytes())


def test_clouds_are_coarse_and_normalised() -> None:
    field = clouds(64, 48, np.random.default_rng(0))
    assert field.shape == (48, 64) and field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3) and field.std() == pytest.approx(1, abs=1e-3)
    # Neighbours of noise would differ by 1.13 on average.
    assert np.abs(np.diff(field, axis=1)).mean() < 0.7
