"""The ablations in miniature, through the command; and what their figures say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llava_chat.__main__ import main
from llava_chat.evaluation.ablations.asking import REASONED, SCENES, Said
from llava_chat.evaluation.ablations.intervals import Estimate, estimate
from llava_chat.evaluation.ablations.runs import SAID, Judged
from llava_chat.evaluation.ablations.sizes import SIZES, Size
from llava_chat.evaluation.ablations.table import markdown, rows, sentences
from llava_chat.evaluation.ablations.variants import VARIANTS
from llava_chat.training.scenes import recipe
from llava_chat.training.scenes.recipe import Part

ROOT = Path(__file__).parents[2]
NAMED = {variant.name: variant for variant in VARIANTS}
TWO_STEPS = Part(2, 2, 1e-3, 1e-3)
TINY = Size(
    replace(
        SIZES["small"].recipe,
        image_px=48, vision_width=32, vision_layers=2, text_width=32, text_layers=1, head_width=16,
        encoder=TWO_STEPS, language=TWO_STEPS, align=TWO_STEPS, finetune=TWO_STEPS,
        workers=0, compile_decoder=False,
    ),
    pictures=2, turns=1, reasoned=2,
)  # fmt: skip


def one_after_the_other(parts: Mapping[str, Callable[[], object]]) -> None:
    """What processes of their own would do; starting those takes longer than all the rest."""
    for part in parts.values():
        part()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the size `small` is tiny."""
    monkeypatch.setitem(SIZES, "small", TINY)
    monkeypatch.setattr(recipe, "side_by_side", one_after_the_other)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for file in (ROOT / "assets" / "scenes").glob("tokenizer*"):
        shutil.copy(file, tokenizer)
    return tmp_path


def ablations(work: Path, *options: str) -> int:
    arguments = ["--work", str(work), "--seeds", "1", "--device", "cpu", *options]
    return main(["evaluate", "ablations", *arguments])


def test_they_go_on_where_they_ended(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ("--variant", "reasoning first")
    assert ablations(work, *first) == 0
    capsys.readouterr()
    said = work / "seed-1" / "reasoning-first" / SAID
    kept = said.read_bytes()
    said.unlink()  # as if it had been killed before it was judged

    assert ablations(work, *first, "--variant", "answer first") == 0
    shown, told = capsys.readouterr()
    assert said.read_bytes() == kept
    assert "run 2 of 2: answer first, seed 1" in told
    assert told.count("align: going on from step 2") == 2  # stage 1 is of both
    assert re.search(r"\| answer first \| 1 \| [\d.]+ \| [+-][\d.]+ from reasoning first \|", shown)
    assert (work / "ablations.md").read_text(encoding="utf-8") == shown
    asked = [one["asked"] for one in json.loads(kept)["said"]]
    assert asked.count(SCENES) >= 2 and asked.count(REASONED) == 2

    before = (work / "ablations.json").read_text(encoding="utf-8")
    options = (*first, "--variant", "answer first", "--table-only", "--json")
    assert ablations(work, *options) == 0
    shown, told = capsys.readouterr()
    assert shown == before and "run 1" not in told
    assert [row["variant"]["name"] for row in json.loads(shown)["rows"]] == [
        "reasoning first",
        "answer first",
    ]


def test_a_broken_result_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = work / "seed-1" / "as-it-is" / SAID
    said.parent.mkdir(parents=True)
    said.write_text('{"of": ', encoding="utf-8")
    assert ablations(work, "--table-only") == 1
    assert f"{said} is not JSON" in capsys.readouterr().err


def test_what_is_changed_is_changed(work: Path) -> None:
    names = ("last layer", "linear projector", "half the data", "without stage 1")
    assert ablations(work, *(option for name in names for option in ("--variant", name))) == 0
    seed = work / "seed-1"
    assert sorted(path.name for path in seed.glob("align*")) == [
        "align-linear--2",
        "align-mlp2x_gelu--1",
        "align-mlp2x_gelu--2",
    ]
    learned = {
        name: sorted((seed / name.replace(" ", "-") / "finetune").iterdir())[-1] for name in names
    }
    assert learned["half the data"].name == "step-00000001"
    state = torch.load(learned["linear projector"] / "state.pt", weights_only=True)
    assert any(name.endswith("projector.weight") for name in state["modules"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seeds", "0"), "--seeds must be above 0"),
        (("--variant", "no tower"), "--variant: 'no tower' is none of as it is, last layer"),
        (("--table-only",), "nothing is judged in"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    options: tuple[str, ...], named: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablations(work, *options) == 2
    assert named in capsys.readouterr().err


def test_an_interval_holds_both_kinds_of_chance() -> None:
    everywhere = np.ones(100)
    even = np.tile([1.0, 0.0], 50)
    pictures_alone = estimate(np.stack([even, even, even]), everywhere)
    # A share of one half in 100 pictures: 1.96 times the root of 0.25 / 100.
    assert pictures_alone.margin == pytest.approx(0.098, abs=0.005)
    seeds_alone = estimate(np.stack([everywhere * share for share in (0.4, 0.5, 0.6)]), everywhere)
    # Student's t of two degrees of freedom, 4.303, times 0.1 over the root of 3.
    assert seeds_alone.mean == pytest.approx(0.5)
    assert seeds_alone.margin == pytest.approx(0.2484, abs=0.0005)
    # With eleven seeds the normal distribution's 1.960 would be too narrow: Student's t is 2.228.
    eleven = estimate(np.stack([everywhere * share / 10 for share in range(11)]), everywhere)
    scatter = np.std(np.arange(11) / 10, ddof=1) / np.sqrt(11)
    assert eleven.margin is not None and 2.228 <= eleven.margin / scatter < 2.3
    both = estimate(np.stack([even * 0.8, even, even * 1.2]), everywhere)
    assert both.margin is not None and both.margin > 0.2484
    assert Estimate(0.3, both.margin).clear() and not Estimate(0.1, both.margin).clear()


def test_differences_are_between_runs_of_one_seed() -> None:
    judged = [
        Judged(name, seed, tuple(_said(picture, picture % 10 < right) for picture in range(100)))
        for seed in (1, 2, 3)
        for name, right in (("as it is", 5 + seed), ("last layer", 3 + seed))
    ]
    found = rows(VARIANTS, judged)
    assert [row.variant.name for row in found] == ["as it is", "last layer"]
    best, last = found
    assert best.difference is None and last.difference is not None
    assert best.by_seed == {1: 0.6, 2: 0.7, 3: 0.8}
    # Seeds differ by tenths, the two variants by two tenths with each of them.
    assert best.right.margin is not None and best.right.margin > 0.2
    assert last.difference.mean == pytest.approx(-0.2)
    assert last.difference.margin is not None and last.difference.margin < 0.1
    assert sentences(found) == ["last layer against as it is: worse."]
    assert "| last layer | 3 | 50.0 ± " in markdown(found)
    assert "| -20.0 ± " in markdown(found) and "| 89.96 | -0.96 |" in markdown(found)
    assert last.kinds == {"colour": (150, 300)}


def test_every_variant_is_held_against_one_that_differs_in_one_thing() -> None:
    for variant in VARIANTS:
        if variant.against:
            other = NAMED[variant.against]
            told = ("name", "against", "paper", "paper_difference", "source")
            same = {field: getattr(other, field) for field in told}
            changed = replace(variant, **same)
            differing = [f for f in vars(other) if getattr(changed, f) != getattr(other, f)]
            assert len(differing) == 1, variant.name


def _said(picture: int, right: bool) -> Said:
    return Said(SCENES, picture, "colour", "What colour is it?", "It is red.", "red", right)
