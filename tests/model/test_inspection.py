"""What is told of a checkpoint that is not loaded, and which known models are here."""

import json
import shutil
from pathlib import Path

import pytest

from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.inspection import inspect_checkpoint, known_models

NAME = "llava-hf/llava-1.5-7b-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_inspection_tells_what_is_there(saved: Path) -> None:
    found = inspect_checkpoint(str(saved))
    assert found["problems"] == []
    assert json.loads(json.dumps(found)) == found
    assert found["template"] == "vicuna_v1" and found["template_named_by_checkpoint"]
    assert found["tokens_per_picture"] == 9
    model = load_checkpoint(str(saved)).model
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())
    memory = found["memory_bytes"]
    assert memory["float32"] == 4 * found["parameters"] == found["stored_bytes"]
    assert memory["float32"] > memory["bfloat16"] > memory["int8"] > memory["int4"]


def test_inspection_lists_problems_instead_of_raising(saved: Path) -> None:
    sorted(saved.glob("model-*.safetensors"))[0].unlink()
    (saved / "tokenizer.json").unlink()
    tokenizer, weights = inspect_checkpoint(str(saved))["problems"]
    assert "lacks model-00001" in weights
    assert "no tokenizer.json" in tokenizer


def test_known_models_begin_with_the_bundled_one() -> None:
    names = [model.name for model in known_models()]
    assert names[0] == "scenes"
    assert "llava-hf/llava-1.5-7b-hf" in names


@pytest.fixture
def downloaded(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of that model in a cache of huggingface_hub's layout."""
    cache = tmp_path / "cache"
    repository = cache / f"models--{NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(saved, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return snapshot


def is_present() -> bool:
    return next(model.present for model in known_models() if model.name == NAME)


def test_a_whole_download_is_present(downloaded: Path) -> None:
    assert is_present()


@pytest.mark.parametrize(
    "lacking", ["config.json", "tokenizer.json", "model-00001-*", "model*", "*.json", "*"]
)
def test_a_download_that_was_interrupted_is_not(downloaded: Path, lacking: str) -> None:
    for path in downloaded.glob(lacking):
        path.unlink()
    assert not is_present()


def test_nothing_is_present_in_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not is_present()
