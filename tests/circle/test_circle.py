"""The circle closes: a word that an annotator puts for another is what the next adapter says.

A smaller one than docs/adapters.md measures: fewer rows, fewer pictures, coarser bounds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from llava_chat.__main__ import main
from llava_chat.feedback import ComparisonVote, votes
from tests.circle.circle import PROJECT, annotate, compare, opened
from tests.circle.taught import OLD, corrections

ROWS, PICTURES = 30, 12


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """What else runs on the machine would make several wait for one another."""
    torch.set_num_threads(1)


def winner(vote: ComparisonVote) -> str | None:
    return {"left": vote.left, "right": vote.right}.get(vote.choice)


def test_what_annotators_correct_is_what_the_adapter_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    with opened(data) as (store, engine):
        assert annotate(store, engine, corrections(ROWS)) == ROWS
        assert engine.adapters() == ()

    shape = ("--steps", "24", "--batch-size", "4", "--lr", "5e-3", "--keep-old", "60")
    rows = ("--from-feedback", "--project", PROJECT, "--data-dir", str(data), "--held-out", "0.2")
    train = ("train", "adapter", *rows, *shape, "--pictures", "20", "--device", "cpu")
    assert main([*train, "--name", "crimson", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changed_words"] == [OLD]
    assert report["before"]["lessons"]["exact"] == 0
    skills, kept = (report[when]["old"]["all that was to stay"] for when in ("before", "after"))
    assert kept["right"] > skills["right"] - 0.06 and kept["asked"] > 60

    with opened(data) as (store, engine):
        assert [choice.name for choice in engine.adapters()] == ["crimson"]
        colours = compare(store, engine, "crimson", PICTURES)["colour"]
        assert colours["right"]["scenes"] == 0
        (new,) = (name for name in colours["right"] if "crimson" in name)
        assert colours["right"][new] >= 0.8 * PICTURES
        kept_votes = list(votes(store))
    assert len(kept_votes) == 2 * PICTURES and all(vote.blind for vote in kept_votes)
    assert sum(winner(vote) == new for vote in kept_votes) >= 0.8 * PICTURES
