"""Which captions are kept, counted in another way than the code does."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings, strategies as st

from llava_chat.training.captions.choice import LEAST, MOST, chosen_captions
from llava_chat.training.captions.coverage import coverage
from llava_chat.training.captions.phrases import gathered

Captions = list[list[str]]
SOME = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=40)


def plainly(captions: Captions, least: int, most: int) -> set[int]:
    """Those that must be kept whatever is drawn."""
    frequency = Counter(name for names in captions for name in set(names))
    return {
        place
        for place, names in enumerate(captions)
        if any(least <= frequency[name] <= most for name in names)
    }


@settings(max_examples=60)
@given(SOME, st.integers(1, 4), st.integers(1, 12), st.integers(0, 3))
def test_every_phrase_that_is_neither_rare_nor_drowning_stays_as_it_was(
    captions: Captions, least: int, most: int, seed: int
) -> None:
    phrases = gathered(captions)
    kept = chosen_captions(phrases, least=least, most=most, seed=seed)
    places = set(np.flatnonzero(kept).tolist())
    assert plainly(captions, least, most) <= places
    found = coverage(phrases, kept, least=least, most=most)
    for before, after in zip(found.before, found.after, strict=True):
        if before >= least:
            assert after >= min(before, most)
    frequency = Counter(name for names in captions for name in set(names))
    assert all(any(frequency[name] >= least for name in captions[place]) for place in places)


def test_the_papers_numbers() -> None:
    assert (LEAST, MOST) == (3, 100)
    captions = [["cat"]] * 1000 + [["dog"]] * 100 + [["owl"]] * 3 + [["emu"]] * 2 + [[]]
    kept = chosen_captions(gathered(captions))
    assert [int(part.sum()) for part in np.split(kept, [1000, 1100, 1103, 1105])] == [
        100, 100, 3, 0, 0,
    ]  # fmt: skip


def test_a_seed_draws_the_same_again() -> None:
    phrases = gathered([["cat"]] * 1000)
    first, again, other = (chosen_captions(phrases, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_no_captions() -> None:
    assert chosen_captions(gathered([])).tolist() == []
