"""A checkpoint that cannot be used is refused with one sentence that names what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.inspection import inspect_checkpoint, known_models
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
        ({"model_type": "llava_llama"}, "original LLaVA layout"),
        ({"mm_vision_tower": "openai/clip"}, "original LLaVA layout"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"text_config": {"model_type": "gemma"}}, "gemma"),
        ({"text_config": {"model_type": "llama", "auto_map": {}}}, "auto_map"),
        ({"vision_config": 7}, "must be objects"),
        ({"llava_chat": []}, "must be an object"),
        ({"llava_chat": {"template": "none such"}}, "no template 'none such'"),
        ({"llava_chat": {"image_aspect": "round"}}, "pad or square"),
        ({"vision_feature_layer": [-2, -3]}, "several layers"),
        ({"vision_feature_layer": -9}, "select_layer -9"),
        ({"vision_feature_select_strategy": "half"}, "half"),
        ({"projector_hidden_act": "relu"}, "relu"),
        ({"image_token_index": "many"}, "image_token_index"),
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
        ("text_config", {"num_key_value_heads": 0}, "config.json"),
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


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00"])
def test_configuration_that_is_no_object(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    assert "config.json" in refusal(saved)


def test_no_weights_or_only_pickles(single: Path) -> None:
    (single / "model.safetensors").rename(single / "pytorch_model.bin")
    assert "only safetensors" in refusal(single)
    (single / "pytorch_model.bin").unlink()
    assert "holds neither model.safetensors nor" in refusal(single)


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
        ("model.bin", "only safetensors"),
    ],
)
def test_index_that_leads_elsewhere(saved: Path, name: str, expected: str) -> None:
    edit(saved / INDEX, lambda content: content["weight_map"].update({NORM: name}))
    assert expected in refusal(saved)


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


@pytest.mark.parametrize("text", [None, "", "{}", '{"model": 1}'])
def test_tokenizer_missing_or_damaged(saved: Path, text: str | None) -> None:
    (saved / "tokenizer.json").unlink()
    if text is not None:
        (saved / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(saved)


def test_tokenizer_with_code_of_its_own(saved: Path) -> None:
    edit(saved / "tokenizer_config.json", lambda content: content.update(auto_map={}))
    assert "auto_map" in refusal(saved)


@pytest.mark.parametrize("token", ["▁the", "</s>"])
def test_a_picture_token_that_is_a_word(
    saved: Path, llama_like: PreTrainedTokenizerFast, token: str
) -> None:
    word = llama_like.get_vocab()[token]
    edit(saved / "config.json", lambda content: content.update(image_token_index=word))
    sentence = refusal(saved)
    assert f"is {word}, which its tokenizer uses for {token!r}" in sentence
    assert inspect_checkpoint(str(saved))["problems"] == [sentence]


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
    weights, tokenizer = inspect_checkpoint(str(saved))["problems"]
    assert "lacks model-00001" in weights
    assert "no tokenizer.json" in tokenizer


def test_known_models_begin_with_the_bundled_one() -> None:
    names = [model.name for model in known_models()]
    assert names[0] == "scenes"
    assert "llava-hf/llava-1.5-7b-hf" in names
