"""Layers in 8 and 4 bits: what is rounded and by how much, what is not, and where it is refused.

bitsandbytes computes on a CPU as well, only slower than without: so the machinery runs here, though
`--quantize` is refused there.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

from llava_chat.errors import CheckpointError, SettingError
from llava_chat.model import quantization
from llava_chat.model.adapters import apply_adapter, read_adapter
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.llava import LlavaModel, parameter_count
from llava_chat.model.quantization import (
    Bits,
    Quantization,
    bits_of,
    quantised_layers,
    quantize_kind,
)
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.weights import load_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# The largest gap between two of NF4's sixteen values is 0.304 of a block's largest weight (arXiv
# 2305.14314, appendix E); half of it is the largest error, and the scales are rounded as well.
NF4_ERROR = 0.304 / 2 + 0.02


@pytest.fixture
def folder(
    make_checkpoint: Callable[..., Checkpoint],
    make_llava: Callable[..., LlavaModel],
    tmp_path: Path,
) -> Path:
    """A checkpoint whose layers are whole blocks of 64, which the CPU's 4-bit kernel wants."""
    checkpoint = make_checkpoint()
    text = LlamaConfig(
        vocab_size=checkpoint.model.config.text.vocab_size,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    model = make_llava(text=text, image_token_id=checkpoint.model.config.image_token_id)
    save_checkpoint(replace(checkpoint, model=model), tmp_path / "wide")
    return tmp_path / "wide"


def loaded(folder: Path, bits: Bits | None = None) -> LlavaModel:
    if bits is not None:
        pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    kind = Quantization(bits) if bits else None
    sources = find_sources(str(folder), Search())
    return load_model(sources, device=CPU, dtype=torch.float32, quantization=kind)


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.05), (4, 0.3)])
def test_logits_are_near_those_of_all_bits(folder: Path, bits: Bits, bound: float) -> None:
    exact, rounded = loaded(folder), loaded(folder, bits)
    embeds = torch.randn(2, 20, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, found = exact(embeds), rounded(embeds)
    difference = float((found - wanted).norm() / wanted.norm())
    assert 1e-4 < difference < bound  # rounded indeed, and not too far
    if bits == 8:
        assert float((found.argmax(-1) == wanted.argmax(-1)).float().mean()) > 0.9


@pytest.mark.parametrize("bits", [8, 4])
def test_everything_but_the_decoders_layers_is_the_same_bit_for_bit(
    folder: Path, bits: Bits
) -> None:
    exact, rounded = loaded(folder).state_dict(), loaded(folder, bits)
    names = {f"{name}.weight" for name in quantised_layers(rounded)}
    assert len(names) == 3 * 7  # q, k, v, o, gate, up, down of three layers
    kept = {name: weight for name, weight in rounded.state_dict().items() if name in exact}
    assert kept.keys() == exact.keys()
    for name in exact.keys() - names:
        assert torch.equal(kept[name], exact[name]), name
    assert {kept[name].dtype for name in names} == {torch.int8 if bits == 8 else torch.uint8}


def test_eight_bits_round_each_row_by_half_a_step_at_most(folder: Path) -> None:
    exact, rounded = quantised_layers(loaded(folder)), quantised_layers(loaded(folder, 8))
    for name, layer in rounded.items():
        weight: Any = layer.weight
        wanted, scales = exact[name].weight, weight.SCB[:, None]
        assert torch.allclose(scales, wanted.abs().amax(1, keepdim=True), rtol=1e-3)
        error = (weight.data * scales / 127 - wanted).abs()
        # The largest weight of a row is a float16 before, with 11 bits.
        assert bool((error <= scales * (0.5 / 127 + 2**-11)).all()), name


def test_four_bits_round_each_block_of_64_to_the_nearest_of_sixteen(folder: Path) -> None:
    exact, rounded = quantised_layers(loaded(folder)), quantised_layers(loaded(folder, 4))
    import bitsandbytes as bnb

    for name, layer in rounded.items():
        weight: Any = layer.weight
        wanted = exact[name].weight.detach()
        found = bnb.functional.dequantize_4bit(weight.data, weight.quant_state)
        largest = wanted.reshape(-1, 64).abs().amax(1, keepdim=True)
        error = (found.float() - wanted).reshape(-1, 64).abs()
        assert bool((error <= largest * NF4_ERROR).all()), name
        assert float(error.mean() / largest.mean()) < 0.05


def test_the_bytes_of_eight_bits(folder: Path) -> None:
    model = loaded(folder, 8)
    for layer in quantised_layers(model).values():
        weight: Any = layer.weight
        assert weight.nbytes == layer.in_features * layer.out_features
        assert weight.SCB.nbytes == 4 * layer.out_features
    assert bits_of(model) == 8
    assert parameter_count(model) == parameter_count(loaded(folder))


def test_the_bytes_of_four_bits(folder: Path) -> None:
    model = loaded(folder, 4)
    for layer in quantised_layers(model).values():
        count = layer.in_features * layer.out_features
        weight: Any = layer.weight
        state = weight.quant_state
        assert weight.nbytes == count // 2
        assert state.absmax.nbytes == count // 64  # a byte for each block, by double quantisation
        assert state.state2.absmax.nbytes == 4 * -(-count // (64 * 256))
    assert bits_of(model) == 4
    assert parameter_count(model) == parameter_count(loaded(folder))


def test_a_weight_is_quantised_as_it_is_read_and_not_all_at_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def put(model: LlavaModel, name: str, weight: torch.Tensor) -> bool:
        # The one before has its bits before the next is read.
        before = [quantised_layers(model)[path].weight for path in taken]
        assert all(each.device.type == "cpu" and each.dtype == torch.int8 for each in before)
        if done := quantization.put(model, name, weight):
            taken.append(name.removesuffix(".weight"))
        return done

    monkeypatch.setattr("llava_chat.model.weights.put", put)
    loaded(folder, 8)
    assert len(taken) == 3 * 7


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.05), (4, 0.3)])
def test_an_adapter_goes_on_top_of_fewer_bits(
    folder: Path, bits: Bits, bound: float, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_{}.weight"
    pair = {name.format("A"): torch.randn(4, 128) / 4, name.format("B"): torch.randn(192, 4) / 4}
    save_file(pair, tmp_path / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["up_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    embeds, found = torch.randn(1, 20, 128), []
    for model in (loaded(folder), loaded(folder, bits)):
        with torch.inference_mode():
            before = model(embeds)
        apply_adapter(model, read_adapter(tmp_path))
        with torch.inference_mode():
            found.append(model(embeds))
        assert float((found[-1] - before).norm() / before.norm()) > bound
    assert float((found[1] - found[0]).norm() / found[0].norm()) < bound
    assert bits_of(model) == bits
    changed = model.get_submodule("language_model.model.layers.1.mlp.up_proj")
    assert type(changed).__module__ == "peft.tuners.lora.bnb"


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantised_model_is_not_saved(
    make_checkpoint: Callable[..., Checkpoint], folder: Path, bits: Bits, tmp_path: Path
) -> None:
    checkpoint = replace(make_checkpoint(), model=loaded(folder, bits))
    with pytest.raises(CheckpointError, match=r"fewer bits cannot be saved.*without --quantize"):
        save_checkpoint(checkpoint, tmp_path / "again")


def test_without_quantisation_there_are_no_bits(tiny: LlavaModel) -> None:
    assert quantize_kind("none", CPU) is None
    assert bits_of(tiny) is None


@pytest.mark.parametrize("name", ["8bit", "4bit"])
def test_with_bitsandbytes_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda _: object())
    kind = quantize_kind(name, CUDA)
    assert kind is not None and f"{kind.bits}bit" == name


def test_without_bitsandbytes_its_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match="not installed: pip install bitsandbytes") as told:
        quantize_kind("4bit", CUDA)
    assert told.value.field == "quantize"


@pytest.mark.parametrize(
    ("device", "way_out"), [("cpu", "--dtype bfloat16 halves"), ("mps", "use none")]
)
def test_where_it_does_not_help_it_is_refused(device: str, way_out: str) -> None:
    with pytest.raises(SettingError, match=f"4bit needs a CUDA GPU: on {device}.*{way_out}"):
        quantize_kind("4bit", torch.device(device))


def test_a_name_of_none(saved: Path) -> None:
    with pytest.raises(SettingError, match="quantize must be none, 8bit, 4bit, not '2bit'"):
        load_checkpoint(str(saved), device="cpu", quantize="2bit")
