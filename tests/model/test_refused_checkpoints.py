"""A checkpoint that cannot be used is refused with one sentence that names what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.inspection import inspect_checkpoint
from llava_chat.model.location import locate

Make = Callable[..., Checkpoint]
INDEX = "model.safetensors.index.json"
NORM = "language_model.model.norm.weight"


def refusal(name: Path | str) -> str:
    """The sentence that loading it ends with."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(str(name))
    sentence = str(error.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def single(make_checkpoint: Make, tmp_path: Path) -> Path:
    """A checkpoint in one file."""
    save_checkpoint(make_checkpoint(), tmp_path / "single", max_shard_bytes=10**9)
    return tmp_path / "single"


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights of a checkpoint in one file."""
    weights = {
        name: weight.clone() for name, weight in load_file(folder / "model.safetensors").items()
    }
    change(weights)
    save_file(weights, folder / "model.safetensors")


def test_names_of_no_model(tmp_path: Path) -> None:
    assert "There is no folder /nowhere" in refusal("/nowhere")
    assert "no folder ./models/x" in refusal("./models/x")
    assert "no folder ~nobody-of-that-name/x" in refusal("~nobody-of-that-name/x")
    assert "File name too long" in refusal("x" * 300)
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(tmp_path / "file")
    assert "holds no config.json" in refusal(tmp_path)


def test_a_hub_id_is_not_downloaded_where_it_must_not_be() -> None:
    with pytest.raises(CheckpointError, match="was not downloaded yet"):
        locate("nobody-here/no-such-model", download=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "blip"}, "describes a blip"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"text_config": {"quantization_config": {"bits": 4}}}, "quantised weights"),
        ({"model_type": "llava_llama"}, "does not name its vision tower"),
        ({"mm_vision_tower": "openai/clip"}, "needs the vision tower openai/clip"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"text_config": {"model_type": "gemma"}}, "gemma"),
        ({"text_config": {"model_type": "llama", "auto_map": {}}}, "auto_map"),
        ({"vision_config": 7}, "must be objects"),
        ({"llava_chat": []}, "must be an object"),
        ({"llava_chat": {"template": "none such"}}, "no template 'none such'"),
        ({"llava_chat": {"template": [1]}}, "no template [1]"),
        ({"llava_chat": {"image_aspect": "round"}}, "pad, square, stretch or anyres"),
        ({"vision_feature_layer": [-2, -3]}, "several layers"),
        ({"vision_feature_layer": -9}, "select_layer -9"),
        ({"vision_feature_select_strategy": "half"}, "half"),
        ({"projector_hidden_act": "relu"}, "gelu or linear, not relu"),
        ({"multimodal_projector_bias": False}, "without a bias"),
        ({"image_token_index": "many"}, "image_token_index"),
        ({"image_token_index": 10**30}, "image_token_index must be a number of 64 bits"),
        ({"text_config": {"model_type": "llama", "hidden_size": "big"}}, "hidden_size"),
        ({"text_config": {"model_type": "llama", "num_hidden_layers": 10**9}}, "1000000000 layers"),
    ],
)
def test_configurations(saved: Path, change: dict[str, Any], expected: str) -> None:
    edit(saved / "config.json", lambda content: content.update(change))
    assert expected in refusal(saved)


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        ("text_config", {"hidden_act": "wobble"}, "hidden_act in text_config"),
        ("vision_config", {"hidden_act": "wobble"}, "hidden_act in vision_config"),
        ("text_config", {"rope_parameters": {"rope_type": "spiral"}}, "rope_type in text_config"),
        ("text_config", {"pad_token_id": 10**6}, "pad_token_id in text_config"),
        ("text_config", {"max_position_embeddings": 0}, "max_position_embeddings in text_config"),
        ("text_config", {"max_position_embeddings": -9}, "max_position_embeddings in text_config"),
        ("text_config", {"rms_norm_eps": float("nan")}, "rms_norm_eps in text_config"),
        ("text_config", {"rms_norm_eps": 0.0}, "rms_norm_eps in text_config"),
        ("text_config", {"rope_parameters": {"rope_theta": 0.0}}, "rope_theta in text_config"),
        ("text_config", {"rope_parameters": {"rope_theta": "x"}}, "rope_theta in text_config"),
        ("text_config", {"num_key_value_heads": 0}, "config.json"),
        ("vision_config", {"layer_norm_eps": -1.0}, "layer_norm_eps in vision_config"),
        ("vision_config", {"patch_size": 0}, "patch_size must be"),
        ("vision_config", {"patch_size": 25}, "patch_size must be"),
        ("vision_config", {"image_size": -24}, "image_size must be"),
        ("vision_config", {"num_attention_heads": 5}, "config.json"),
    ],
)
def test_models_that_cannot_be_built(
    saved: Path, part: str, change: dict[str, Any], expected: str
) -> None:
    edit(saved / "config.json", lambda content: content[part].update(change))
    assert expected in refusal(saved)
    try:
        told = inspect_checkpoint(str(saved))["problems"]
    except CheckpointError as error:
        told = [str(error)]
    assert [expected in each for each in told] == [True]


def test_settings_that_change_nothing_here(saved: Path) -> None:
    """Some checkpoints have them: an empty field, and how transformers hands its results back."""

    def change(content: dict[str, Any]) -> None:
        content["quantization_config"] = None
        content["text_config"]["return_dict"] = content["vision_config"]["return_dict"] = False

    edit(saved / "config.json", change)
    model = load_checkpoint(str(saved)).model
    features = model.image_features(torch.zeros(1, 3, 24, 24))
    assert model(features).shape == (1, 9, model.config.text.vocab_size)


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert f"{tmp_path} does not say which base model it was trained on" in refusal(tmp_path)
    named = {"base_model_name_or_path": "nobody-here/no-such-model"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(named))
    sentence = refusal(tmp_path)
    assert "needs the base model nobody-here/no-such-model" in sentence
    assert "hf download nobody-here/no-such-model" in sentence and "--adapter" in sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00"])
def test_configuration_that_is_no_object(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    assert "config.json" in refusal(saved)


def test_no_weights(single: Path) -> None:
    (single / "model.safetensors").rename(single / "weights.gguf")
    sentence = refusal(single)
    assert "holds neither model.safetensors nor pytorch_model.bin" in sentence
    assert "convert them" in sentence


def test_incomplete_shards(saved: Path) -> None:
    shard = sorted(saved.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert f"lacks {shard.name}" in refusal(saved)
    (saved / INDEX).unlink()
    assert "shards but no model.safetensors.index.json" in refusal(saved)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../model.safetensors", "outside its folder"),
        ("/etc/passwd", "outside its folder"),
        ("..\\model.safetensors", "outside its folder"),
        ("model.bin", "is no .safetensors file"),
    ],
)
def test_index_that_leads_elsewhere(saved: Path, name: str, expected: str) -> None:
    edit(saved / INDEX, lambda content: content["weight_map"].update({NORM: name}))
    assert expected in refusal(saved)


def test_index_with_a_name_too_long_for_any_file(saved: Path) -> None:
    name = "x" * 300 + ".safetensors"
    edit(saved / INDEX, lambda content: content["weight_map"].update({NORM: name}))
    (problem,) = inspect_checkpoint(str(saved))["problems"]
    with pytest.raises(CheckpointError, match=f"lacks {name}") as error:
        load_checkpoint(str(saved))
    assert str(error.value) == problem


def test_index_without_map(saved: Path) -> None:
    edit(saved / INDEX, lambda content: content.pop("weight_map"))
    assert "no weight_map" in refusal(saved)


def test_damaged_files(single: Path) -> None:
    path = single / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(single)
    path.write_bytes(b"\xff" * 100)
    assert "damaged" in refusal(single)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refusal(single)


def test_files_that_may_not_be_read(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for the system's answer: root may read every file."""

    def denied(path: Path | str, *_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    path = single / "model.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("llava_chat.model.weight_files.safe_open", denied)
        patch.setattr("llava_chat.model.location.fingerprint", lambda _: "0")
        assert f"{path} cannot be read: Permission denied" in refusal(single)
    monkeypatch.setattr(Path, "open", denied)
    assert f"{single}/" in (sentence := refusal(single))
    assert "cannot be read: Permission denied" in sentence


def test_weights_that_do_not_fit(single: Path) -> None:
    edit_weights(single, lambda weights: weights.update(extra=torch.ones(2)))
    assert "unexpected extra" in refusal(single)
    edit_weights(single, lambda weights: (weights.pop("extra"), weights.pop(NORM)))
    assert f"missing {NORM}" in refusal(single)
    edit_weights(single, lambda weights: weights.update({NORM: torch.ones(7)}))
    assert f"{NORM} is (7,) instead of (48,)" in refusal(single)
    edit_weights(single, lambda weights: weights.update({NORM: torch.ones(48, dtype=torch.int8)}))
    assert f"{NORM} I8" in refusal(single)
    twice = "model.language_model.norm.weight"
    edit_weights(single, lambda w: w.update({NORM: torch.ones(48), twice: torch.ones(48)}))
    assert "two names of one weight" in refusal(single)


def test_many_missing_weights_are_counted_not_listed(single: Path) -> None:
    edit_weights(
        single,
        lambda weights: [weights.pop(name) for name in list(weights) if "vision_tower" in name],
    )
    assert "more" in refusal(single)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite(single: Path, value: float) -> None:
    edit_weights(single, lambda weights: weights[NORM].__setitem__(5, value))
    assert f"{NORM} has numbers that are not finite" in refusal(single)


def test_numbers_too_large_for_the_file_are_not_saved(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint()
    with torch.no_grad():
        checkpoint.model.language_model.model.norm.weight[0] = 1e30
    with pytest.raises(CheckpointError, match="not finite in float16"):
        save_checkpoint(checkpoint, tmp_path, dtype="float16")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_mean": [0.5]}, "not enough values"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "finite"),
        ({"image_mean": [10**400, 0, 0]}, "too large"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std must be above 0"),
        ({"image_std": [float("nan"), 0.5, 0.5]}, "finite"),
    ],
)
def test_picture_settings(saved: Path, change: dict[str, Any], expected: str) -> None:
    edit(saved / "preprocessor_config.json", lambda content: content.update(change))
    sentence = refusal(saved)
    assert "picture settings" in sentence and expected in sentence
    assert inspect_checkpoint(str(saved))["problems"] == [sentence]
