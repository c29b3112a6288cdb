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
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from llava_chat.__main__ import main
from llava_chat.model.sources import named_headers
from llava_chat.model.weight_files import read_weights, weight_files
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
    load,
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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_there_and_back(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, and of config.json all that decides what the authors' code computes."""
    written = write(row, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    there, back = ("hf", "original") if row.layout == "original" else ("original", "hf")
    convert(written, tmp_path / there, there)
    assert main(["convert", str(tmp_path / there), str(tmp_path / back), "--layout", back]) == 0
    before, after = weights(written.folder), weights(tmp_path / back)
    assert before.keys() <= after.keys()
    assert all(name.startswith("tower.") for name in after.keys() - before.keys())
    for name, weight in before.items():
        assert (weight.dtype, weight.shape) == (after[name].dtype, after[name].shape), name
        assert torch.equal(weight, after[name]), name
    if row.layout == "original":
        was, is_now = (
            json.loads((folder / "config.json").read_text())
            for folder in (written.folder, tmp_path / back)
        )
        for name, value in {**_TOLD, **was}.items():
            if name in _TOLD and value is not None:
                assert is_now[name] == value, name


_TOLD: dict[str, Any] = {
    "mm_use_im_start_end": False, "mm_projector_type": "linear", "mm_patch_merge_type": None,
    "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2, "image_aspect_ratio": None,
    "image_grid_pinpoints": None, "rope_theta": 10_000.0, "rms_norm_eps": None,
    "max_position_embeddings": None, "num_key_value_heads": None, "vocab_size": None,
    "sliding_window": None, "tie_word_embeddings": None,
}  # fmt: skip
"""Fields that decide what is computed, with what the authors' code takes where they are absent."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those of numbers with a point, by their names in LlavaModel."""
    headers = named_headers(weight_files(folder))
    found = dict(read_weights(headers, device=torch.device("cpu"), dtype=None))
    return {name: weight for name, weight in found.items() if weight.is_floating_point()}


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_transformers_4_reads_the_same_rotary_base(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its configurations know no rope_parameters, and would take another base."""
    text = {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 500_000.0}
    row = replace(V1_5[1], fields={**V1_5[1].fields, **text})
    written = write(row, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    convert(written, tmp_path / layout, layout)
    content = json.loads((tmp_path / layout / "config.json").read_text())
    told = content["text_config"] if layout == "hf" else content
    assert told["rope_theta"] == 500_000.0
    assert told["rope_scaling"] == text["rope_scaling"] | {"rope_type": "linear"}
    again = load(replace(written, folder=tmp_path / layout), None).model.config.text
    assert again.rope_parameters == told["rope_scaling"] | {"rope_theta": 500_000.0}


def test_generation_ends_where_the_engine_ends(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.words == "llama_3" and row.layout == "hf4")
    written = write(row, tmp_path / "model", tmp_path / "hub")
    convert(written, tmp_path / "hf", "hf")
    ends = written.tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    told = json.loads((tmp_path / "hf" / "generation_config.json").read_text())
    assert told["eos_token_id"] == ends


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
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins without it
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
