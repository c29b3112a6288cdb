"""What `convert` does besides: rows for the picture, shards, a folder that is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.conversion import ROWS_FIELD, convert
from llava_chat.model.layouts.names import Layout
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.weight_files import read_weights
from tests.model.published.adapters import WRITERS
from tests.model.published.layouts import write
from tests.model.published.rows import ROWS
from tests.model.test_published import check_logits, made, use_cache

CPU = torch.device("cpu")


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """Every weight as it is in the files, by its name in LlavaModel."""
    headers = find_sources(str(folder), Search(download=False)).headers()
    return dict(read_weights(headers, device=CPU, dtype=None))


def check_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert weight.dtype == other[name].dtype, name
        assert torch.equal(weight, other[name]), name


def test_rows_are_added_for_the_picture_and_are_never_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in ROWS if row.label == "llava-v1.5-trained-on-original")
    written = write(row, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    convert(str(written.folder), tmp_path / "hf", "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    rows = stored(written.folder)["language_model.lm_head.weight"].shape[0]
    assert config["text_config"]["vocab_size"] % 64 == 0
    assert rows <= config["image_token_index"] < config["text_config"]["vocab_size"]
    assert config["llava_chat"][ROWS_FIELD] == rows
    model = load_checkpoint(str(tmp_path / "hf"), device="cpu", dtype="float32").model
    embeds = torch.randn(3, 5, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = model(embeds)
    assert (logits[..., rows:].amax(-1) < logits[..., :rows].amax(-1)).all()


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_a_projector_alone_becomes_a_whole_checkpoint(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = WRITERS["projector-only"](tmp_path)
    use_cache(monkeypatch, written.hub)
    convert(str(written.folder), tmp_path / "whole", layout)
    use_cache(monkeypatch, tmp_path / "none")  # what it needs it holds
    check_logits(made(replace(written, folder=tmp_path / "whole")), (37, 20))


@pytest.fixture
def folder(make_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Path:
    """A tiny checkpoint in one file."""
    made: Checkpoint = make_checkpoint()
    save_checkpoint(made, tmp_path / "tiny", max_shard_bytes=10**9)
    return tmp_path / "tiny"


def test_shards_hold_as_much_as_they_may(folder: Path, tmp_path: Path) -> None:
    convert(str(folder), tmp_path / "shards", "original", max_shard_bytes=60_000)
    shards = sorted((tmp_path / "shards").glob("model-*.safetensors"))
    assert len(shards) > 2
    check_same_bits(stored(folder), stored(tmp_path / "shards"))


def test_a_weight_that_is_damaged_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["vision_tower.vision_model.post_layernorm.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"post_layernorm\.bias has numbers that are not"):
        convert(str(folder), tmp_path / "target", "original")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_nothing_is_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    convert(str(folder), tmp_path / "empty", "original")
    with pytest.raises(CheckpointError, match="is there already; name a new folder"):
        convert(str(folder), tmp_path / "empty", "hf")
    with pytest.raises(CheckpointError, match="is there already"):
        convert(str(folder), folder / "config.json", "hf")


def test_a_disk_that_is_too_full_is_told_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("llava_chat.model.conversion.shutil.disk_usage", lambda _: full)
    with pytest.raises(CheckpointError, match=r"its disk has 0\.0 GB left"):
        convert(str(folder), tmp_path / "a" / "b", "original")
    assert not (tmp_path / "a").exists()
