"""Every published row, converted, is what transformers loads by itself, with the same logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from llava_chat.__main__ import main
from tests.model.published.layouts import Written, write
from tests.model.published.reference import logits
from tests.model.published.rows import ROWS, Row
from tests.model.test_published import (
    AFTER,
    BEFORE,
    ROUNDING,
    Loaded,
    check_logits,
    check_reply,
    made,
    noise,
    use_cache,
)


@pytest.fixture(params=ROWS, ids=lambda row: row.label)
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Written:
    """A row and its cache."""
    made = write(request.param, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, made.hub)
    return made


def convert(written: Written, target: Path, layout: str) -> None:
    named = [] if written.row.template else ["--template", "llava_v1"]
    assert main(["convert", str(written.folder), str(target), "--layout", layout, *named]) == 0


def test_transformers_loads_it(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(written, tmp_path / "hf", "hf")
    use_cache(monkeypatch, tmp_path / "none")  # what it needs it holds
    theirs, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "hf", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours = made(replace(written, folder=tmp_path / "hf"))
    check_logits(ours, (37, 20))
    for size in ((10, 10), (24, 72)):
        check_same(ours, theirs, size)


def check_same(ours: Loaded, theirs: AutoModelForImageTextToText, size: tuple[int, int]) -> None:
    """The twin of what was written against the model that transformers read."""
    views = ours.checkpoint.pixels(noise(size))
    expected = logits(ours.twin, BEFORE, views, size, AFTER)
    found = logits(theirs, BEFORE, views, size, AFTER)[..., : expected.shape[-1]]
    assert (found - expected).abs().max() <= ROUNDING


# The authors' layout has no word for a stretched picture.
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.aspect != "stretch"], ids=lambda row: row.label
)
def test_the_authors_layout_is_read_again(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(row, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    convert(written, tmp_path / "original", "original")
    use_cache(monkeypatch, tmp_path / "none")
    again = made(replace(written, folder=tmp_path / "original"))
    check_logits(again, (37, 20))
    check_reply(again)
