"""A published folder that was tampered with or damaged is refused in one sentence, nothing is run.

The readers of single files have tests of their own; here is the whole road, from what --model
names to the sentence and the exit code of the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat.__main__ import main
from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import load_checkpoint
from tests.model.published.copies import Copies, Copy, edit_json, edit_weights, file_with
from tests.model.published.layouts import in_cache
from tests.model.published.rows import CLIP_336

V1_5, INSIDE = "llava-v1.5-7b-original", "llava-v1.5-trained-on-original"
V1_6, V1_6_HF = "llava-v1.6-mistral-7b-original", "llava-v1.6-mistral-7b-hf-hf4"
NORM, WORDS = "model.norm.weight", "model.embed_tokens.weight"
LORA = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"

Ask = Callable[[str], Copy]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("rows"))


@pytest.fixture
def a_copy(copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """A row to damage; its cache is all of the Hub that there is."""

    def make(name: str) -> Copy:
        copy = copies.make(name, tmp_path / "copy")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(copy.hub))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return copy

    return make


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Loading ends with one sentence that says all of `expected`, and the chat with exit code 1."""

    def check(copy: Copy, *expected: str) -> None:
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(str(copy.folder), device="cpu", dtype="float32", template="vicuna_v1")
        sentence = str(error.value)
        assert "\n" not in sentence and len(sentence) < 500, sentence
        for part in expected:
            assert part in sentence
        capsys.readouterr()
        arguments = ["--model", str(copy.folder), "--device", "cpu", "--template", "vicuna_v1"]
        assert main(["chat", *arguments, "--dtype", "float32", "--message", "Hi"]) == 1
        shown, told = capsys.readouterr()
        assert shown == ""
        assert sentence in told and "Traceback" not in told

    return check


def not_finite(name: str, value: float = float("nan")) -> Callable[[dict[str, Any]], object]:
    return lambda weights: weights[name].view(-1).__setitem__(0, value)


@pytest.mark.parametrize("name", [V1_5, INSIDE, V1_6, V1_6_HF, "lora-bin", "projector-only"])
def test_what_is_damaged_below_is_whole_before(a_copy: Ask, name: str) -> None:
    copy = a_copy(name)
    assert load_checkpoint(str(copy.folder), device="cpu", template="vicuna_v1").model is not None


# Code


@pytest.mark.parametrize("name", [V1_5, V1_6_HF, "lora-bin", "projector-only"])
def test_config_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    edit_json(copy.folder / "config.json", lambda c: c.update(auto_map={"AutoModel": "evil.Evil"}))
    refused(copy, "config.json", "auto_map")


@pytest.mark.parametrize("name", [V1_5, V1_6_HF])
def test_tokenizer_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    path = copy.folder / "tokenizer_config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoTokenizer": ["evil.Evil", None]}))
    refused(copy, "tokenizer_config.json", "auto_map")


@pytest.mark.parametrize("name", ["lora-bin", "peft-5"])
def test_adapter_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    path = copy.folder / "adapter_config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoPeftModel": "evil.Evil"}))
    refused(copy, "adapter_config.json", "auto_map")


def test_tower_with_code(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy(V1_5)
    path = copy.repository(CLIP_336) / "config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoModel": "evil.Evil"}))
    refused(copy, "config.json", "auto_map")


def test_the_library_that_an_adapter_names_is_not_imported(
    a_copy: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peft writes `auto_mapping` itself, and some of its classes import what stands there."""
    (tmp_path / "evil_library.py").write_text("class Evil: ...")
    monkeypatch.syspath_prepend(tmp_path)
    copy = a_copy("peft-5")
    named = {"base_model_class": "Evil", "parent_library": "evil_library"}
    edit_json(copy.folder / "adapter_config.json", lambda c: c.update(auto_mapping=named))
    try:
        load_checkpoint(str(copy.folder), device="cpu")
    except CheckpointError as error:
        assert "auto_map" in str(error)
    assert "evil_library" not in sys.modules


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (V1_5, "pytorch_model-00001-of-00002.bin"),
        (V1_5, "the tower"),
        ("lora-bin", "adapter_model.bin"),
        ("lora-bin", "non_lora_trainables.bin"),
        ("projector-only", "mm_projector.bin"),
    ],
)
def test_pickles_that_run_code(
    a_copy: Ask, refused: Callable[..., None], tmp_path: Path, name: str, file: str
) -> None:
    copy, mark = a_copy(name), tmp_path / "mark"
    tower = copy.repository(CLIP_336) / "pytorch_model.bin"
    path = tower if file == "the tower" else copy.folder / file
    held = torch.load(path, weights_only=True)
    torch.save(held | {"evil": Evil(mark)}, path)
    refused(copy, path.name)
    assert not mark.exists()


# Names that lead elsewhere


@pytest.mark.parametrize(
    "tower",
    ["../clip", "/nowhere", "openai/../../clip", "./clip", "~/clip", "C:\\clip", "..", ".", "",
     "a" * 5000, "a\nb/c", "nobody/no-such-tower", 7, None, ["openai/clip"]],
    ids=lambda tower: str(tower)[:30],
)  # fmt: skip
def test_towers_that_are_no_repository(
    a_copy: Ask, refused: Callable[..., None], tower: object
) -> None:
    copy = a_copy(V1_5)
    edit_json(copy.folder / "config.json", lambda c: c.update(mm_vision_tower=tower))
    refused(copy, "tower")


def test_only_a_local_checkpoint_names_a_tower_elsewhere_on_the_disk(
    a_copy: Ask, refused: Callable[..., None]
) -> None:
    """What was downloaded must not say what is read of this machine."""
    copy = a_copy(V1_5)
    elsewhere = {"mm_vision_tower": str(copy.repository(CLIP_336).resolve())}
    edit_json(copy.folder / "config.json", lambda content: content.update(elsewhere))
    assert load_checkpoint(str(copy.folder), device="cpu", template="vicuna_v1").model is not None
    kept = in_cache(copy.hub, "somebody/model")
    for path in copy.folder.iterdir():
        path.rename(kept / path.name)
    refused(replace(copy, folder=Path("somebody/model")), "tower")


@pytest.mark.parametrize("name", ["lora-bin", "peft-5"])
@pytest.mark.parametrize(
    "base", ["itself", ".", "", "..", None, 7, "nobody/no-such-base", "a" * 999]
)
def test_adapters_without_a_base(
    a_copy: Ask, refused: Callable[..., None], name: str, base: object
) -> None:
    copy = a_copy(name)
    named = str(copy.folder) if base == "itself" else base
    path = copy.folder / "adapter_config.json"
    edit_json(path, lambda content: content.update(base_model_name_or_path=named))
    if (copy.folder / "config.json").is_file():  # the authors' script names it there as well
        edit_json(copy.folder / "config.json", lambda content: content.update(_name_or_path=named))
    refused(copy)


def test_two_adapters_that_name_each_other(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("lora-bin")
    other = copy.folder.parent / "other"
    other.mkdir()
    for path in copy.folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    for here, there in ((copy.folder, other), (other, copy.folder)):
        named = {"base_model_name_or_path": str(there)}
        edit_json(here / "adapter_config.json", lambda content, named=named: content.update(named))
    refused(copy, "adapter")


# Weights


@pytest.mark.parametrize(
    ("name", "weight", "shape"),
    [
        (V1_5, NORM, (7,)),
        (V1_5, "model.mm_projector.0.weight", (32, 48)),
        (INSIDE, "model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias", (7,)),
        (INSIDE, "lm_head.weight", (48,)),
        (V1_6, "model.image_newline", (7,)),
        (V1_6_HF, "image_newline", (1, 48)),
    ],
)
def test_wrong_shapes(
    a_copy: Ask, refused: Callable[..., None], name: str, weight: str, shape: tuple[int, ...]
) -> None:
    copy = a_copy(name)
    path = file_with(copy.folder, weight)
    edit_weights(path, lambda weights: weights.update({weight: torch.zeros(shape)}))
    refused(copy, weight)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        (V1_5, NORM),
        (V1_5, "model.mm_projector.2.bias"),
        (INSIDE, "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding"),
        (V1_6, "model.image_newline"),
        (V1_6_HF, "image_newline"),
    ],
)
def test_missing_weights(a_copy: Ask, refused: Callable[..., None], name: str, weight: str) -> None:
    copy = a_copy(name)
    edit_weights(file_with(copy.folder, weight), lambda weights: weights.pop(weight))
    refused(copy, "missing", weight.rpartition("vision_model.")[2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "weight"),
    [(V1_5, NORM), (V1_5, "model.mm_projector.2.bias"), (V1_6, "model.image_newline")],
)
def test_numbers_that_are_not_finite(
    a_copy: Ask, refused: Callable[..., None], name: str, weight: str, value: float
) -> None:
    copy = a_copy(name)
    edit_weights(file_with(copy.folder, weight), not_finite(weight, value))
    refused(copy, weight, "not finite")


@pytest.mark.parametrize(
    ("name", "file", "weight"),
    [
        (V1_5, "the tower", "vision_model.pre_layrnorm.bias"),
        ("lora-bin", "adapter_model.bin", LORA.format("A")),
        ("lora-safetensors", "adapter_model.safetensors", LORA.format("B")),
        ("lora-bin", "non_lora_trainables.bin", "base_model.model.model.mm_projector.0.bias"),
        ("projector-only", "mm_projector.bin", "model.mm_projector.0.bias"),
    ],
)
def test_numbers_that_are_not_finite_in_what_is_added(
    a_copy: Ask, refused: Callable[..., None], name: str, file: str, weight: str
) -> None:
    copy = a_copy(name)
    tower = copy.repository(CLIP_336) / "pytorch_model.bin"
    edit_weights(tower if file == "the tower" else copy.folder / file, not_finite(weight))
    refused(copy, weight, "not finite")


def test_a_tower_of_another_size(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy(V1_5)
    path = copy.repository(CLIP_336) / "pytorch_model.bin"
    wrong = {"vision_model.embeddings.position_embedding.weight": torch.zeros(5, 32)}
    edit_weights(path, lambda weights: weights.update(wrong))
    refused(copy, "position_embedding")


@pytest.mark.parametrize("name", [V1_5, V1_6])
def test_missing_shards(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    shard = sorted(
        [*copy.folder.glob("*-00002-of-*.bin"), *copy.folder.glob("*-00002-of-*.safet*")]
    )
    shard[0].unlink()
    refused(copy, shard[0].name)


@pytest.mark.parametrize(
    "shard", ["../../../etc/passwd", "/etc/passwd", "a.pth", "x" * 300 + ".bin"]
)
def test_index_that_leads_elsewhere(a_copy: Ask, refused: Callable[..., None], shard: str) -> None:
    copy = a_copy(V1_5)
    path = copy.folder / "pytorch_model.bin.index.json"
    edit_json(path, lambda content: content["weight_map"].update({NORM: shard}))
    refused(copy, shard[:30])


# LoRA


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


def test_a_projector_of_another_model(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("projector-only")
    path = copy.folder / "mm_projector.bin"
    edit_weights(path, lambda weights: weights.update({"model.mm_projector.0.bias": torch.ones(9)}))
    refused(copy, "mm_projector.0.bias")
    edit_weights(path, lambda weights: weights.pop("model.mm_projector.0.bias"))
    refused(copy, "mm_projector.0.bias")


def test_deltas_of_another_model(
    a_copy: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = a_copy("v0-delta")
    edit_weights(
        file_with(copy.folder, NORM), lambda weights: weights.update({NORM: torch.ones(9)})
    )
    target = tmp_path / "whole"
    arguments = [str(copy.folder), str(target), "--layout", "hf", "--base", str(copy.base)]
    assert main(["convert", *arguments, "--template", "llava_v0"]) == 1
    told = capsys.readouterr().err
    assert NORM in told and "Traceback" not in told
    assert not target.exists()


# config.json of the authors' layout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mm_projector_type": "mlp9x_gelu"}, "mm_projector_type"),
        ({"mm_projector_type": "../../evil"}, "mm_projector_type"),
        ({"mm_projector_type": ["linear"]}, "mm_projector_type"),
        ({"mm_vision_select_layer": 99}, "99"),
        ({"mm_vision_select_layer": "last"}, "config.json"),
        ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature"),
        ({"image_aspect_ratio": "highres"}, "image_aspect_ratio"),
        ({"image_aspect_ratio": ["pad"]}, "image_aspect_ratio"),
        ({"mm_patch_merge_type": "maxpool2x2"}, "mm_patch_merge_type"),
        ({"image_grid_pinpoints": "__import__('os')"}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": []}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": None}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[0, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[-24, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[25, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[24, 24, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[24 * 10**6, 24]]}, "image_grid_pinpoints"),
        ({"model_type": "llava_mpt", "architectures": ["LlavaMptForCausalLM"]}, "llava_mpt"),
        ({"hidden_size": 47}, "config.json"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers"),
        ({"vocab_size": 7}, "7"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
    ids=str,
)
def test_fields_of_the_authors_layout(
    a_copy: Ask, refused: Callable[..., None], change: dict[str, Any], expected: str
) -> None:
    copy = a_copy(V1_6)
    edit_json(copy.folder / "config.json", lambda content: content.update(change))
    refused(copy, expected)


def test_through_a_process_of_its_own(a_copy: Ask, tmp_path: Path) -> None:
    """As somebody runs it."""
    copy = a_copy(V1_5)
    edit_json(copy.folder / "config.json", lambda c: c.update(mm_vision_tower="../clip"))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "llava_chat",
            "chat",
            "--model",
            str(copy.folder),
            "--message",
            "Hi",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_CACHE": str(copy.hub), "HF_HUB_OFFLINE": "1"},
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "tower" in ran.stderr and "Traceback" not in ran.stderr
    assert json.loads((copy.folder / "config.json").read_text())["mm_vision_tower"] == "../clip"
