"""What only a GPU can show: the same replies there, and every part of training runs there."""

import gc
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings
from llava_chat.engine.local import LocalEngine, open_engine
from llava_chat.engine.local.decoder import RowDecoder
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.sizing import layer_shapes
from llava_chat.engine.local.step import RecordedStep, Step
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.model.llava import LlavaModel
from llava_chat.model.placement import Devices
from llava_chat.model.quantization import quantised_layers
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.recipe import train_scenes
from llava_chat.training.scenes.world import random_scene
from tests.training.scenes.test_recipe import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA here: `pytest -m gpu` where there is"
    ),
]
QUESTIONS = ("Describe the picture.", "How many objects are there?", "What did I just ask about?")


def replies(engine: LocalEngine, seed: int) -> list[tuple[int, ...]]:
    """The ids of three greedy replies in one conversation about a drawing."""
    picture = picture_from_image(draw_scene(random_scene(rng := random.Random(seed)), rng))
    turns: tuple[Turn, ...] = ()
    for number, question in enumerate(QUESTIONS):
        turns = (*turns, Turn("user", question, () if number else (picture,)))
        *_, done = engine.stream(Conversation(turns), GenerationSettings(temperature=0))
        assert isinstance(done, Done), done
        turns = (*turns, Turn("assistant", done.text, token_ids=done.token_ids))
    return [turn.token_ids or () for turn in turns if turn.role == "assistant"]


def test_replies_are_those_of_the_cpu() -> None:
    engines = [open_engine("scenes", device=name, dtype="float32") for name in ("cpu", "cuda")]
    try:
        assert engines[1].model.device.startswith("cuda")
        for seed in range(5):
            on_cpu, on_gpu = (replies(engine, seed) for engine in engines)
            assert on_cpu == on_gpu
    finally:
        for engine in engines:
            engine.close(grace_s=0)


def test_auto_takes_the_gpu_in_a_format_that_it_multiplies() -> None:
    engine = open_engine("scenes")
    try:
        assert engine.model.device.startswith("cuda")
        assert engine.model.dtype in ("bfloat16", "float16")
        assert all(ids for ids in replies(engine, 7))
    finally:
        engine.close(grace_s=0)


def together(engine: LocalEngine, seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """The ids of greedy replies to questions of unequal length, all asked at once."""
    streams = []
    for seed in seeds:
        picture = picture_from_image(draw_scene(random_scene(rng := random.Random(seed)), rng))
        asked = Turn("user", QUESTIONS[seed % 3] * (1 + seed % 5), (picture,))
        streams.append(engine.stream(Conversation((asked,)), GenerationSettings(temperature=0)))
    found = []
    for stream in streams:
        *_, done = stream
        assert isinstance(done, Done), done
        found.append(done.token_ids)
    return found


def test_recorded_steps_write_what_steps_write() -> None:
    checkpoint = load_checkpoint("scenes", device="cuda", dtype="float32")
    plain, recorded = (LocalEngine(checkpoint, slots=5, capture=how) for how in ("off", "on"))
    try:
        for seed in range(3):
            assert replies(recorded, seed) == replies(plain, seed)
        alone = [together(plain, [seed])[0] for seed in range(8)]
        for _ in range(2):  # more than there are slots, and again from what is in the rows
            assert together(recorded, range(8)) == alone
    finally:
        plain.close(grace_s=0)
        recorded.close(grace_s=0)


def test_logits_of_a_recorded_step_are_those_of_a_step() -> None:
    model = load_checkpoint("scenes", device="cuda", dtype="float32").model
    device, random_ids = torch.device("cuda"), torch.Generator().manual_seed(0)
    with torch.inference_mode():
        cache = RowCache(layer_shapes(model), 6, 512)
        decoder = RowDecoder(model, cache, device)
        lengths = [3, 200, 77, 300, 140]
        for row, length in enumerate(lengths):
            ids = torch.randint(3, 1000, (1, length), generator=random_ids)
            decoder.read(model.words(ids.to(device)), row, 0)
        step, recorded = Step(decoder, cache, device), RecordedStep(decoder, cache, device)
        for count in (1, 2, 3, 5):
            asked = list(range(10, 10 + count)), lengths[:count]
            expected = step.write(*asked).clone()
            assert (recorded.write(*asked) - expected).abs().max() < 1e-4


def test_what_is_reserved_is_all_that_is_taken() -> None:
    checkpoint = load_checkpoint("scenes", device="cuda", dtype="bfloat16")
    engine = LocalEngine(checkpoint, slots=4)
    try:
        together(engine, range(4))
        torch.cuda.synchronize()
        taken = torch.cuda.memory_allocated()
        for _ in range(3):
            together(engine, range(4, 12))
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() <= taken + engine.load().reserved_bytes // 8
    finally:
        engine.close(grace_s=0)


def cut_in_two(model: LlavaModel, *_: object) -> Devices:
    """The decoder's second half on the CPU, which to the hooks is a device like any other."""
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    decoder = "language_model.model"
    count = len(model.language_model.model.layers)
    return {
        "tower": gpu,
        "projector": gpu,
        f"{decoder}.embed_tokens": gpu,
        f"{decoder}.rotary_emb": gpu,
        **{f"{decoder}.layers.{n}": gpu if n < count // 2 else cpu for n in range(count)},
        f"{decoder}.norm": cpu,
        "language_model.lm_head": gpu,  # where the words are read, should they be one table
    }


def test_a_model_on_two_devices_replies_as_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_engine("scenes", device="cpu", dtype="float32")
    monkeypatch.setattr("llava_chat.model.weights.place", cut_in_two)
    cut = open_engine("scenes", device="cuda", dtype="float32")
    try:
        assert cut.model.device == "cuda:0, cpu"
        for seed in range(3):
            assert replies(cut, seed) == replies(whole, seed)
    finally:
        whole.close(grace_s=0)
        cut.close(grace_s=0)


@pytest.mark.parametrize(("quantize", "saved_share"), [("8bit", 0.4), ("4bit", 0.65)])
def test_fewer_bits_save_memory_and_still_answer(quantize: str, saved_share: float) -> None:
    pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")

    def taken(quantize: str) -> tuple[Checkpoint, int]:
        gc.collect()
        before = torch.cuda.memory_allocated()
        checkpoint = load_checkpoint("scenes", device="cuda", dtype="float16", quantize=quantize)
        return checkpoint, torch.cuda.memory_allocated() - before

    whole, full_bytes = taken("none")
    layers = quantised_layers(whole.model).values()
    layer_bytes = sum(layer.weight.nbytes for layer in layers)
    fewer, fewer_bytes = taken(quantize)
    assert full_bytes - fewer_bytes > saved_share * layer_bytes
    engine = LocalEngine(fewer)
    try:
        assert all(ids for ids in replies(engine, 7))
    finally:
        engine.close(grace_s=0)


def test_scenes_are_trained_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    train_scenes(TINY, work=tmp_path / "work", output=folder, device=torch.device("cuda"))
    model = load_checkpoint(str(folder), device="cuda").model
    assert all(weight.isfinite().all() and weight.is_cuda for weight in model.parameters())
