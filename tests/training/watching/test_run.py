"""A whole run, watched: it learns as one that nobody watches, and each step stands once."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.training.watching.tiny_run import STEPS, Runner, Watched


def told(output: Path) -> list[dict[str, float]]:
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def same_weights(one: Watched, other: Watched) -> bool:
    weights = (each.checkpoint.model.state_dict() for each in (one, other))
    return all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_a_run_learns_the_same_whoever_watches(train: Runner, tmp_path: Path) -> None:
    seen, unseen = train(tmp_path / "seen"), train(tmp_path / "unseen", watched=False)
    assert seen.losses == unseen.losses and len(seen.losses) == STEPS
    assert same_weights(seen, unseen)
    modes = [[part.training for part in each.checkpoint.model.modules()] for each in (seen, unseen)]
    assert modes[0] == modes[1] and {True, False} == set(modes[0])


def test_a_run_that_goes_on_equals_an_unbroken_one(train: Runner, tmp_path: Path) -> None:
    unbroken = train(tmp_path / "unbroken")
    train(tmp_path / "broken", stop=9)  # its last checkpoint is of step 6
    broken = tmp_path / "broken"
    assert [row["step"] for row in told(broken)] == [*range(1, 10)]
    with (broken / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        metrics.write('{"step": 10, "lo')  # killed while it wrote
    resumed = train(broken, resumed=True)
    assert same_weights(resumed, unbroken)
    assert told(broken) == told(tmp_path / "unbroken")
    assert [row["step"] for row in told(broken)] == [*range(1, STEPS + 1)]
    assert (broken / "samples.md").read_bytes() == (tmp_path / "unbroken/samples.md").read_bytes()
