"""A LLaVA begun: a language model, a tower, and a projector that knows nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionModel,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from llava_chat.__main__ import main
from llava_chat.model.checkpoint import load_checkpoint
from tests.model.conftest import tiny_config

SIZES = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2}


@pytest.fixture
def parts(llama_like: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A folder with `words`, a language model, and `tower`, as transformers writes them."""
    config = tiny_config()
    config.text.vocab_size = len(llama_like)
    torch.manual_seed(0)
    LlamaForCausalLM(config.text).save_pretrained(tmp_path / "words")
    llama_like.save_pretrained(tmp_path / "words")
    CLIPVisionModel(config.vision).save_pretrained(tmp_path / "tower")
    return tmp_path


def begin(parts: Path, *more: str, source: str = "words") -> int:
    words = f"convert {parts / source} {parts / 'new'} --layout hf --vision-tower {parts / 'tower'}"
    return main([*words.split(), *more])


@pytest.mark.parametrize(
    ("kind", "aspect", "weights"),
    [
        ("mlp2x_gelu", "pad", {"0.weight", "0.bias", "2.weight", "2.bias"}),
        ("linear", "square", {"weight", "bias"}),
    ],
)
def test_the_parts_become_one_model(parts: Path, kind: str, aspect: str, weights: set[str]) -> None:
    assert begin(parts, "--new-projector", kind, "--template", "vicuna_v1") == 0
    begun = load_checkpoint(str(parts / "new"), device="cpu", dtype="float32")
    config = begun.model.config
    assert (config.projector, config.image_aspect, config.select_layer) == (kind, aspect, -2)
    assert begun.template == "vicuna_v1"
    words = LlamaForCausalLM.from_pretrained(parts / "words")
    ids = torch.tensor([[1, 5, 9, 11]])
    with torch.inference_mode():
        alone = words(ids).logits
        together = begun.model(begun.model.embed(ids, None))
    assert torch.allclose(together[..., : alone.shape[-1]], alone, atol=1e-6)
    tower = CLIPVisionModel.from_pretrained(parts / "tower")
    pixels = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        seen = begun.model.tower(pixels)
        expected = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    assert torch.allclose(seen, expected, atol=1e-6)
    projector = begun.model.projector.state_dict()
    assert projector.keys() == weights
    assert all(weight.std() > 0 for weight in projector.values())


def test_transformers_loads_what_was_begun(parts: Path) -> None:
    assert begin(parts, "--new-projector", "mlp2x_gelu") == 0
    theirs, told = AutoModelForImageTextToText.from_pretrained(
        parts / "new", output_loading_info=True
    )
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert theirs.config.image_token_index < theirs.config.text_config.vocab_size


def test_a_language_model_alone_tells_how_to_begin(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(parts) == 1
    said = capsys.readouterr().err
    assert "a language model alone" in said and "--new-projector" in said


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (["--adapter", "x"], 2, "without --adapter and --base"),
        (["--vision-tower", ""], 2, "--new-projector needs --vision-tower"),
        (["--vision-tower", "/nowhere"], 1, "There is no folder /nowhere"),
    ],
)
def test_what_cannot_begin_is_said(
    parts: Path, more: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(parts, "--new-projector", "linear", *more) == code
    assert sentence in capsys.readouterr().err
    assert not (parts / "new").exists()


def test_a_width_that_is_none_is_named(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parts / "words" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": "64"}))
    assert begin(parts, "--new-projector", "linear") == 1
    assert f"{config}: hidden_size" in capsys.readouterr().err


def test_a_model_with_a_projector_gets_no_second_one(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(parts, "--new-projector", "mlp2x_gelu") == 0
    (parts / "new").rename(parts / "begun")
    assert begin(parts, "--new-projector", "linear", source="begun") == 1
    assert "has a projector already" in capsys.readouterr().err


def test_other_kinds_of_language_models(
    parts: Path, llama_like: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = len(llama_like)
    text = Qwen2Config(vocab_size=rows, num_attention_heads=4, num_key_value_heads=2, **SIZES)
    Qwen2ForCausalLM(text).save_pretrained(parts / "qwen")
    llama_like.save_pretrained(parts / "qwen")
    assert begin(parts, "--new-projector", "mlp2x_gelu", source="qwen") == 0
    assert load_checkpoint(str(parts / "new"), device="cpu").template == "qwen_1_5"
    config = json.loads((parts / "qwen" / "config.json").read_text())
    (parts / "qwen" / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    (parts / "new").rename(parts / "begun")
    assert begin(parts, "--new-projector", "mlp2x_gelu", source="qwen") == 1
    assert "llama, mistral, qwen2" in capsys.readouterr().err
