"""Stage 2 by a LoRA: its folder gives what was trained, wherever it is put on its base."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import LlavaForConditionalGeneration

from llava_chat.__main__ import main
from llava_chat.image import read_picture
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.conversion import convert
from llava_chat.model.quantization import Bits, Quantization
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.weights import load_model
from llava_chat.training import lora_and_projector
from llava_chat.training.adapter.lora import Lora
from llava_chat.training.checkpoints import STATE, Checkpoints, read
from llava_chat.training.loop import Setting
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.stages import StageOptions, run_stage
from tests.training.two_processes import Told, talk

New = Callable[[], Checkpoint]


@pytest.fixture(scope="module")
def folder(new_checkpoint: New, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in both layouts, and a row."""
    found = tmp_path_factory.mktemp("lora")
    save_checkpoint(new_checkpoint(), found / "hf")
    convert(str(found / "hf"), found / "original", layout="original")
    Image.new("RGB", (30, 20), "red").save(found / "red.png")
    asked = {"from": "human", "value": "<image>\nWhat is it?"}
    row = {"image": "red.png", "conversations": [asked, {"from": "gpt", "value": "Red."}]}
    (found / "data.json").write_text(json.dumps([row, row]), encoding="utf-8")
    return found


def asked(checkpoint: Checkpoint, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, pixels) of some words around the picture."""
    model = checkpoint.model
    picture = torch.full((1, model.tokens_per_picture), model.config.image_token_id)
    ids = torch.cat([torch.tensor([[1, 5]]), picture, torch.tensor([[7, 8, 9]])], 1)
    return ids, checkpoint.pixels(read_picture(folder / "red.png"))


@torch.no_grad()
def logits(checkpoint: Checkpoint, folder: Path) -> torch.Tensor:
    ids, pixels = asked(checkpoint, folder)
    model = checkpoint.model
    found: torch.Tensor = model(model.embed(ids, model.image_features(pixels)))
    return found


@pytest.mark.parametrize("bits", [4, 8])
def test_a_lora_learns_on_a_model_in_fewer_bits(bits: Bits, folder: Path, tmp_path: Path) -> None:
    name = str(folder / "hf")
    model = load_model(
        find_sources(name, Search()),
        device=torch.device("cpu"),
        dtype=torch.bfloat16,
        quantization=Quantization(bits),
    )
    checkpoint = replace(load_checkpoint(name, device="cpu"), model=model)
    before = {key: value.clone() for key, value in model.language_model.state_dict().items()}
    lora = Lora(4, 8, dropout=0.05)
    loop = LoopOptions(steps=12, lr=0.05, log_every=1)
    options = StageOptions(loop, 2, workers=0, lora=lora, seed=0, recompute_layers=1)
    seen = Told()
    run_stage(
        "finetune",
        checkpoint,
        lambda _: talk(1),
        options,
        tmp_path / "run",
        setting=Setting(watchers=[seen]),
    )
    newest = Checkpoints(tmp_path / "run").newest()
    assert newest is not None and read(newest / STATE)["run"]["bits"] == bits
    losses = [each[1] for each in seen.figures]
    assert losses[-1] < losses[0] - 0.2
    after = model.language_model.state_dict()
    assert all(
        torch.equal(after.get(key.replace("proj.", "proj.base_layer."), value), value)
        for key, value in before.items()
    )
    lora_and_projector.save_lora_and_projector(checkpoint, lora, tmp_path / "out", base=name)
    learned = load_checkpoint(name, adapter=str(tmp_path / "out"), device="cpu", dtype="float32")
    assert not torch.allclose(
        logits(learned, folder), logits(load_checkpoint(name, device="cpu"), folder), atol=1e-2
    )


@pytest.fixture(params=["hf", "original"])
def trained(
    request: pytest.FixtureRequest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Checkpoint, Path, Path]:
    """(as it was in memory, its base, its folder)."""
    kept: list[Checkpoint] = []
    original = lora_and_projector.save_lora_and_projector

    def saved(checkpoint: Checkpoint, lora: Lora, *rest: Path, **named: Any) -> None:
        kept.append(checkpoint)
        assert lora == Lora(4, 8, dropout=0.05)
        original(checkpoint, lora, *rest, **named)

    monkeypatch.setattr(lora_and_projector, "save_lora_and_projector", saved)
    base = folder / str(request.param)
    words = (
        "--recipe llava-1.5-lora --batch-size 2 --epochs 4 --lora-rank 4 --lora-alpha 8 --lr 0.1"
    )
    running = "--projector-lr 0.1 --device cpu --precision float32 --workers 0 --no-tensorboard"
    files = ("--model", base, "--data", folder / "data.json", "--images", folder)
    command = f"train finetune {words} {running} --samples 0".split()
    assert main([*command, *map(str, files), "--output", str(tmp_path)]) == 0
    return kept[0], base, tmp_path


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's
def test_on_its_base_it_is_what_was_trained(
    trained: tuple[Checkpoint, Path, Path], folder: Path
) -> None:
    learned, base, output = trained
    before = load_checkpoint(str(base), device="cpu")
    loaded = load_checkpoint(str(base), adapter=str(output), device="cpu")
    assert torch.allclose(logits(loaded, folder), logits(learned, folder), atol=1e-4)
    assert not torch.allclose(logits(before, folder), logits(learned, folder), atol=1e-2)
    # It names its base, so that its folder alone does as well.
    alone = load_checkpoint(str(output), device="cpu")
    assert torch.equal(logits(alone, folder), logits(loaded, folder))
    assert alone.template == before.template
    if base.name == "hf":
        ids, pixels = asked(loaded, folder)
        theirs = PeftModel.from_pretrained(
            LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.float32), output
        )
        with torch.no_grad():
            found = theirs(input_ids=ids, pixel_values=pixels).logits
        assert torch.allclose(found, logits(loaded, folder), atol=1e-4)
    assert "A LoRA adapter for" in (output / "README.md").read_text(encoding="utf-8")


def test_its_names_are_those_that_the_authors_code_and_peft_look_for(
    trained: tuple[Checkpoint, Path, Path],
) -> None:
    """As llava/model/builder.py strips them (haotian-liu/LLaVA), and as peft does."""
    from safetensors.torch import load_file

    _, base, output = trained
    beside = torch.load(output / "non_lora_trainables.bin", weights_only=True)
    stripped = {name.removeprefix("base_model.") for name in beside}
    stripped = {name.removeprefix("model.") for name in stripped}
    assert stripped == {
        f"model.mm_projector.{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")
    }
    layer = "language_model.layers" if base.name == "hf" else "layers"
    names = set(load_file(output / "adapter_model.safetensors"))
    assert f"base_model.model.model.{layer}.1.mlp.up_proj.lora_B.weight" in names
    assert len(names) == 2 * 2 * 7 + (4 if base.name == "hf" else 0)
    assert (output / "config.json").exists() == (base.name == "original")
