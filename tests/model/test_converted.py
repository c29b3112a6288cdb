"""Every published row, converted, is what transformers loads by itself, with the same logits."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from llava_chat.__main__ import main
from tests.model.published.layouts import Written, write
from tests.model.published.reference import logits
from tests.model.published.rows import OTHERS, ROWS, V1_5, Row
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


@pytest.fixture
def umask() -> Iterator[int]:
    """One that lets a group read."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
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


def test_a_stretched_picture_is_called_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SigLIP's processor, which the authors' code then leaves alone, makes a square."""
    written = write(OTHERS[1], tmp_path / "model", tmp_path / "hub")
    convert(written, tmp_path / "original", "original")
    content = json.loads((tmp_path / "original" / "config.json").read_text())
    assert content["image_aspect_ratio"] == "square"
    assert (
        made(replace(written, folder=tmp_path / "original")).checkpoint.pixels.aspect == "stretch"
    )


def test_the_files_are_for_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    convert(write(V1_5[2], tmp_path / "model", tmp_path / "hub"), tmp_path / "hf", "hf")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "hf").iterdir()}
    assert set(modes.values()) == {0o666 & ~umask}, modes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path, number: int) -> None:
    written = write(V1_5[2], tmp_path / "model", tmp_path / "hub")
    stopped = f"""
import os, sys
from llava_chat.model import conversion
conversion.write_companions = lambda *_, **__: os.kill(os.getpid(), {int(number)})
from llava_chat.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    target = tmp_path / "made" / "hf"
    arguments = ["convert", str(written.folder), str(target), "--layout", "hf"]
    done = subprocess.run(
        [sys.executable, "-c", stopped, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert list(target.parent.iterdir()) == []
