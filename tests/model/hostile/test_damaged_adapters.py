"""LoRA, projectors and deltas that are wrong, or of another model, are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat.__main__ import main
from tests.model.published.copies import Ask, edit_json, edit_weights, file_with

NORM = "model.norm.weight"
LORA = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"


@pytest.mark.parametrize(
    ("matrix", "shape"),
    [("A", (5, 48)), ("B", (48, 5)), ("A", (4, 7)), ("B", (7, 4)), ("A", (48,)), ("B", (0, 4))],
)
@pytest.mark.parametrize("name", ["lora-bin", "lora-safetensors"])
def test_lora_of_the_wrong_shape(
    a_copy: Ask,
    refused: Callable[..., None],
    name: str,
    matrix: str,
    shape: tuple[int, ...],
) -> None:
    copy, weight = a_copy(name), LORA.format(matrix)
    wrong = {weight: torch.zeros(shape)}
    edit_weights(file_with(copy.folder, weight), lambda weights: weights.update(wrong))
    refused(copy, "layers.1.self_attn.q_proj")


def test_half_a_lora(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("lora-bin")
    path = copy.folder / "adapter_model.bin"
    edit_weights(path, lambda weights: weights.pop(LORA.format("B")))
    refused(copy, "layers.1.self_attn.q_proj")


def test_lora_of_layers_that_there_are_not(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("lora-bin")

    def move(weights: dict[str, Any]) -> None:
        for matrix in "AB":
            moved = LORA.format(matrix).replace("layers.1.", "layers.77.")
            weights[moved] = weights.pop(LORA.format(matrix))

    edit_weights(copy.folder / "adapter_model.bin", move)
    refused(copy, "layers.77.self_attn.q_proj")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"r": 8}, "r"),
        ({"r": 0}, "r"),
        ({"r": "many"}, "r"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_alpha": "much"}, "lora_alpha"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": None}, "None"),
        ({"peft_type": "evil.Evil"}, "evil.Evil"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["lora-bin", "peft-5"])
def test_lora_settings(
    a_copy: Ask,
    refused: Callable[..., None],
    name: str,
    change: dict[str, Any],
    expected: str,
) -> None:
    copy = a_copy(name)
    edit_json(copy.folder / "adapter_config.json", lambda content: content.update(change))
    refused(copy, "adapter", expected)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "7"])
@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_files_that_hold_no_object(
    a_copy: Ask, refused: Callable[..., None], file: str, text: str
) -> None:
    copy = a_copy("lora-bin")
    (copy.folder / file).write_text(text)
    refused(copy, file)


def test_a_whole_model_as_an_adapter(a_copy: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    whole = str(a_copy("llava-1.5-7b-hf-hf4").folder)
    assert main(["inspect", whole, "--adapter", whole]) == 1
    assert f"{whole} is no adapter and no projector" in capsys.readouterr().err


def test_a_projector_of_another_model(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("projector-only")
    path = copy.folder / "mm_projector.bin"
    edit_weights(path, lambda weights: weights.update({"model.mm_projector.0.bias": torch.ones(9)}))
    refused(copy, "mm_projector.0.bias")
    edit_weights(path, lambda weights: weights.pop("model.mm_projector.0.bias"))
    refused(copy, "mm_projector.0.bias")


@pytest.mark.parametrize("damage", ["shape", "nothing to add to"])
def test_deltas_of_another_model(
    a_copy: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    copy = a_copy("v0-delta")
    assert copy.base is not None
    if damage == "shape":
        other = file_with(copy.folder, NORM)
        edit_weights(other, lambda weights: weights.update({NORM: torch.ones(9)}))
    else:
        edit_weights(file_with(copy.base, NORM), lambda weights: weights.pop(NORM))
    target = tmp_path / "whole"
    arguments = [str(copy.folder), str(target), "--layout", "hf", "--base", str(copy.base)]
    assert main(["convert", *arguments, "--template", "llava_v0"]) == 1
    told = capsys.readouterr().err
    assert NORM in told and "Traceback" not in told
    assert not target.exists()
