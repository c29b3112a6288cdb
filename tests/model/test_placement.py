"""Several devices: who lies where by made-up memories, and a model cut in two on one machine.

The second device is `meta`, which computes shapes and refuses whatever lies elsewhere: so the cut
is a real one where there is no GPU.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig

from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.sizing import layer_shapes
from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.llava import LlavaConfig, LlavaModel
from llava_chat.model.placement import (
    Devices,
    cache_bytes,
    connect,
    device_of,
    place,
    plan,
    weight_bytes,
)

CPU, META = torch.device("cpu"), torch.device("meta")
GB = 10**9
WORDS = "language_model.model.embed_tokens"
ROTARY = "language_model.model.rotary_emb"
HEAD = "language_model.lm_head"
LAYERS = tuple(f"language_model.model.layers.{number}" for number in range(3))
PARTS = (WORDS, ROTARY, *LAYERS, "language_model.model.norm", HEAD)


def without_memory(
    width: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tied: bool
) -> LlavaModel:
    """A LLaVA with CLIP L/14-336 before a decoder of this shape."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
    )
    with META:
        return LlavaModel(LlavaConfig(vision, text, image_token_id=32000))


def vicuna_7b(tied: bool = False) -> LlavaModel:
    return without_memory(4096, 11008, 32, 32, 32, 32064, tied)


def yi_34b() -> LlavaModel:
    return without_memory(7168, 20480, 60, 56, 8, 64064, False)


def bytes_on(model: LlavaModel, devices: Devices) -> dict[int, int]:
    """What each GPU holds; that every weight has a place is part of it."""
    held: dict[int, int] = {}
    for name, weight in model.state_dict().items():
        number = device_of(name, devices).index
        held[number] = held.get(number, 0) + 2 * weight.numel()
    return held


def planned(model: LlavaModel, *free_gb: float) -> Devices:
    return plan(model, torch.bfloat16, [int(free * GB) for free in free_gb])


def test_what_a_7b_takes() -> None:
    model = vicuna_7b()
    assert weight_bytes(model, torch.bfloat16) == pytest.approx(14.1 * GB, rel=0.01)
    assert weight_bytes(model, torch.float32) == pytest.approx(28.2 * GB, rel=0.01)
    assert cache_bytes(model, torch.bfloat16) == 4096 * 524_288  # half a mebibyte a token


def test_what_one_gpu_holds_stays_on_one() -> None:
    one = {"": torch.device("cuda", 0)}
    assert planned(vicuna_7b(), 24) == one
    assert planned(vicuna_7b(), 24, 24) == one
    assert planned(yi_34b(), 80, 80) == one


@pytest.mark.parametrize(
    ("make", "free_gb"),
    [
        (vicuna_7b, (12, 12)),
        (yi_34b, (24, 24, 24, 24)),
        (yi_34b, (48, 48)),
        (yi_34b, (60, 80)),
    ],
)
def test_a_larger_model_is_spread_evenly(
    make: Callable[[], LlavaModel], free_gb: tuple[float, ...]
) -> None:
    model = make()
    devices = planned(model, *free_gb)
    held = bytes_on(model, devices)
    assert sum(held.values()) == pytest.approx(weight_bytes(model, torch.bfloat16), rel=1e-4)
    assert sorted(held) == [*range(len(free_gb))]
    share = cache_bytes(model, torch.bfloat16) / len(free_gb)
    for number, free in enumerate(free_gb):
        assert held[number] + share < (free - 1) * GB
    assert max(held.values()) < 1.2 * min(held.values())


def test_uneven_gpus_are_filled_as_far_as_they_go() -> None:
    held = bytes_on(model := yi_34b(), planned(model, 24, 80))
    assert held[0] < 22.5 * GB < 40 * GB < held[1]


def test_layers_are_whole_and_in_their_order() -> None:
    model = vicuna_7b()
    devices = planned(model, 12, 12)
    layers = [
        {device_of(f"{name}.{weight}", devices).index for weight, _ in layer.named_parameters()}
        for name, layer in model.named_modules()
        if type(layer).__name__ in ("LlamaDecoderLayer", "VisionTower")
    ]
    assert all(len(places) == 1 for places in layers)
    order = [places.pop() for places in layers]
    assert order == sorted(order) and set(order) == {0, 1}
    # The frequencies go to every layer, and a prompt begins with the words.
    assert device_of(ROTARY, devices) == device_of(WORDS, devices) == torch.device("cuda", 0)


def test_one_table_of_words_lies_on_one_gpu() -> None:
    devices = planned(vicuna_7b(tied=True), 12, 12)
    assert device_of(HEAD, devices) == device_of(WORDS, devices)


def test_too_little_memory_is_told_with_how_much_is_missing() -> None:
    # 69.5 GB of weights and 1.0 GB for a conversation; 1.1 GB of each GPU is for computing.
    with pytest.raises(CheckpointError, match=r"needs 70\.5 GB.* 48\.0 GB .*24\.6 GB are missing"):
        planned(yi_34b(), 24, 24)
    with pytest.raises(CheckpointError, match="use --quantize 4bit, a smaller model or"):
        planned(vicuna_7b(), 8)


def test_memory_that_no_cut_between_layers_fits_is_too_little() -> None:
    # Sixty layers of 1.1 GB: forty GPUs with room for one and a half of them hold forty.
    model = yi_34b()
    held_gb = 69.5 / 40 + 1.1 + 1.0 / 40
    with pytest.raises(CheckpointError, match="are missing"):
        planned(model, *[held_gb] * 40)


def test_only_cuda_without_a_number_becomes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (12 * GB, 12 * GB))
    model = vicuna_7b()
    for device in (CPU, torch.device("mps"), torch.device("cuda", 1)):
        assert place(model, device, torch.bfloat16) == {"": device}
    assert len(set(place(model, torch.device("cuda"), torch.bfloat16).values())) == 2


def test_one_gpu_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert place(vicuna_7b(), torch.device("cuda"), torch.bfloat16) == {"": torch.device("cuda")}


def spread(model: LlavaModel, second: torch.device) -> LlavaModel:
    """The last two of the three layers, and what follows them, on a second device."""
    devices = dict.fromkeys(["tower", "projector", *PARTS], CPU)
    for name in PARTS[-4:]:
        devices[name] = second
        model.get_submodule(name).to(second)
    connect(model, devices)
    return model


def test_keys_and_values_lie_beside_their_layers(make_llava: Callable[..., LlavaModel]) -> None:
    model = spread(make_llava(), META)
    embeds = torch.randn(1, 20, 48)
    with torch.inference_mode():
        cache = RowCache(layer_shapes(model), 2, 30)
        decoder = RowDecoder(model, cache, CPU)
        assert decoder.read(embeds, 1, 0, last=False) is None
        assert [keys.device for keys, _ in cache.between(1, 0, 20)] == [CPU, META, META]
        cache.copy(1, 0, 15)
        decoder.read(embeds[:, 15:], 0, 15, last=False)


def test_a_decoder_in_two_parts_computes_what_it_does_in_one(
    make_llava: Callable[..., LlavaModel],
) -> None:
    # "cpu" and "cpu:0" are the same memory under two names.
    plain, parted = make_llava(), spread(make_llava(), torch.device("cpu", 0))
    embeds = torch.randn(1, 20, 48)
    with torch.inference_mode():
        found = []
        for model in (plain, parted):
            decoder = RowDecoder(model, RowCache(layer_shapes(model), 2, 30), CPU)
            for row in range(2):
                decoder.read(embeds[:, :15], row, 0, last=False)
                found.append(decoder.read(embeds[:, 15 : 18 + row], row, 15))
            ids, places = torch.tensor([7, 8]), torch.tensor([18, 19])
            found.append(decoder.write(ids, places, 20, alone=False))
    for wanted, told in zip(found[:3], found[3:], strict=True):
        assert wanted is not None and told is not None
        assert torch.equal(wanted, told)


def test_logits_come_back_to_where_the_embeds_were(make_llava: Callable[..., LlavaModel]) -> None:
    model = spread(make_llava(), META)
    with torch.inference_mode(), pytest.raises(NotImplementedError, match="out of meta tensor"):
        model(torch.randn(1, 5, 48))


def test_the_hooks_change_no_logits(make_llava: Callable[..., LlavaModel]) -> None:
    # "cpu" and "cpu:0" are the same memory under two names.
    plain, hooked = make_llava(), spread(make_llava(), torch.device("cpu", 0))
    pixels, ids = torch.randn(1, 3, 24, 24), torch.tensor([[1, *[64] * 9, 5, 6]])
    with torch.inference_mode():
        wanted, found = (
            model(model.embed(ids, model.image_features(pixels))) for model in (plain, hooked)
        )
    assert torch.equal(wanted, found)
    assert hasattr(hooked, "_hf_hook") and not hasattr(plain, "_hf_hook")


def test_a_checkpoint_is_loaded_onto_two_devices(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_checkpoint(str(saved), device="cpu", dtype="float32").model
    placed: list[tuple[str, torch.device]] = []

    def device_of_noted(name: str, devices: Devices) -> torch.device:
        placed.append((name, device_of(name, devices)))
        return placed[-1][1]

    second = torch.device("cpu", 0)
    cut = dict.fromkeys(["tower", "projector", *PARTS], CPU) | dict.fromkeys(PARTS[-3:], second)
    monkeypatch.setattr("llava_chat.model.weights.place", lambda *_: cut)
    monkeypatch.setattr("llava_chat.model.weights.device_of", device_of_noted)
    model = load_checkpoint(str(saved), device="cpu", dtype="float32").model
    assert model.state_dict().keys() <= {name for name, _ in placed}
    assert {name.startswith(PARTS[-3:]) for name, device in placed if device == second} == {True}
    embeds = torch.randn(1, 7, 48)
    with torch.inference_mode():
        assert torch.equal(model(embeds), whole(embeds))
    assert hasattr(model, "_hf_hook")


def test_on_one_device_there_are_no_hooks(tiny: LlavaModel) -> None:
    connect(tiny, {"": CPU})
    assert not any(hasattr(module, "_hf_hook") for module in tiny.modules())
