"""`models` and `inspect`: what is here and what it holds, without loading or downloading it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.model.checkpoint import load_checkpoint


def test_models_are_a_line_each_the_bundled_one_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("scenes ")
    assert any(line.startswith("llava-hf/llava-1.5-7b-hf ") for line in lines)

    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)
    assert [line.split()[0] for line in lines] == [model["name"] for model in models]
    for model in models:
        assert {"name", "description", "parameters", "memory_bytes", "template", "present"} <= set(
            model
        )


def test_inspect_tells_what_loading_gives(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny_checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    model = load_checkpoint(str(tiny_checkpoint), device="cpu").model
    assert found["problems"] == []
    assert found["template"] == "vicuna_v1"
    assert found["context_tokens"] == 1024
    assert found["tokens_per_picture"] == model.tokens_per_picture == 9
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())

    assert main(["inspect", str(tiny_checkpoint)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "context tokens: 1,024" in shown
    assert "  image size: 24" in shown
    assert shown[-1] == "problems: none"


def test_a_damaged_checkpoint_is_described_and_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "tokenizer.json").unlink()
    assert main(["inspect", str(folder), "--json"]) == 1
    shown, told = capsys.readouterr()
    assert len(json.loads(shown)["problems"]) == 1
    assert told.startswith(f"llava_chat: error: {folder} cannot be loaded: ")


@pytest.mark.parametrize("name", ["/no/such/folder", "nobody/nothing", __file__])
def test_what_is_not_here_is_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", name]) == 1
    shown, told = capsys.readouterr()
    assert shown == ""
    assert told.startswith("llava_chat: error: ")
    assert name in told
    assert told.count("\n") == 1
