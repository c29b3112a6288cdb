"""The adapter's files give what was trained, here and by peft on transformers' own class."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import LlavaForConditionalGeneration

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import GenerationSettings, whole_reply
from llava_chat.engine.local import LocalEngine, open_engine
from llava_chat.errors import CheckpointError, LlavaChatError
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.tokens import tokenize
from llava_chat.training.adapter import lora as lora_module
from llava_chat.training.adapter.lessons import Lesson
from llava_chat.training.adapter.lora import Lora, put_on, save_adapter
from llava_chat.training.adapter.training import AdapterOptions, train_adapter

PICTURE = picture_from_image(Image.new("RGB", (40, 30), "red"))
ASKED = Conversation((Turn("user", "What is in the picture?", (PICTURE,)),))
LESSON = Lesson(Conversation((*ASKED.turns, Turn("assistant", "A large red circle, below it a"))))
GREEDY = GenerationSettings(temperature=0, max_new_tokens=24)


@pytest.fixture(params=[Lora(4, 8), Lora(4, 6, head=True)], ids=["layers", "layers and head"])
def lora(request: pytest.FixtureRequest) -> Lora:
    shape: Lora = request.param
    return shape


@pytest.fixture
def base(tmp_path: Path, random_checkpoint: Callable[..., Checkpoint]) -> Path:
    save_checkpoint(random_checkpoint(), tmp_path / "base")
    return tmp_path / "base"


def trained(base: Path, lora: Lora, folder: Path) -> Checkpoint:
    checkpoint = load_checkpoint(str(base), device="cpu", dtype="float32")
    options = AdapterOptions(lora=lora, lr=0.01, steps=8, batch_size=1)
    train_adapter(checkpoint, [LESSON], [], options, folder.parent / "checkpoints")
    save_adapter(checkpoint.model, lora, folder, base=str(base))
    return checkpoint


def answered(engine: LocalEngine) -> tuple[int, ...]:
    try:
        return whole_reply(engine.stream(ASKED, GREEDY)).token_ids
    finally:
        engine.close(grace_s=0)


@torch.no_grad()
def logits(checkpoint: Checkpoint) -> torch.Tensor:
    model = checkpoint.model
    features = model.image_features(checkpoint.pixels(PICTURE))
    found: torch.Tensor = model(model.embed(ids(checkpoint), features))
    return found


def ids(checkpoint: Checkpoint) -> torch.Tensor:
    prompt = tokenize(
        ASKED,
        checkpoint.tokenizer,
        template=checkpoint.template,
        picture_tokens=lambda _: checkpoint.model.tokens_per_picture,
        image_token_id=checkpoint.model.config.image_token_id,
    )
    return torch.tensor([prompt.ids])


def test_the_files_give_the_tokens_of_the_model_that_was_trained(
    base: Path, lora: Lora, tmp_path: Path
) -> None:
    without = load_checkpoint(str(base), device="cpu", dtype="float32")
    plain = answered(LocalEngine(without))
    checkpoint = trained(base, lora, tmp_path / "out")
    learned = answered(LocalEngine(checkpoint))
    assert learned != plain
    on_top = open_engine(str(base), adapter=str(tmp_path / "out"), device="cpu", dtype="float32")
    assert on_top.model.adapter is not None and answered(on_top) == learned
    by_itself = open_engine(str(tmp_path / "out"), device="cpu", dtype="float32")
    assert answered(by_itself) == learned
    loaded = load_checkpoint(str(base), adapter=str(tmp_path / "out"), dtype="float32")
    assert torch.equal(logits(loaded), logits(checkpoint))


# Of peft, which asks transformers for it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_puts_the_files_on_transformers_own_class(
    base: Path, lora: Lora, tmp_path: Path
) -> None:
    checkpoint = trained(base, lora, tmp_path / "out")
    theirs = LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(theirs, str(tmp_path / "out")).eval()
    pixels = checkpoint.pixels(PICTURE)
    with torch.no_grad():
        found = adapted(input_ids=ids(checkpoint), pixel_values=pixels).logits
    assert torch.allclose(found, logits(checkpoint), atol=1e-5)
    names = {
        name.partition(".lora_")[0] for name, _ in adapted.named_parameters() if "lora" in name
    }
    assert len(names) == 2 * 7 + lora.head and not any("vision" in name for name in names)


def test_an_adapter_that_names_the_bundled_model_finds_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_chat.model.location.BUNDLED_FOLDER", base)
    checkpoint = trained(base, Lora(4, 8), tmp_path / "out")
    save_adapter(checkpoint.model, Lora(4, 8), tmp_path / "out", base="scenes")
    loaded = load_checkpoint(str(tmp_path / "out"), dtype="float32")
    assert torch.equal(logits(loaded), logits(checkpoint))


def test_a_crash_while_writing_leaves_no_adapter_and_no_number_no_file(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    checkpoint = trained(base, Lora(4, 8), folder)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(OSError, match="space"):
        patched.setattr(lora_module, "save_file", _full)
        save_adapter(checkpoint.model, Lora(4, 8), folder, base=str(base))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    replaced = os.replace
    with monkeypatch.context() as patched, pytest.raises(OSError, match="space"):
        patched.setattr(
            os,
            "replace",
            lambda one, two: _full() if two.name == "adapter_config.json" else replaced(one, two),
        )
        save_adapter(checkpoint.model, Lora(4, 8), folder, base=str(base))
    assert not (folder / "adapter_config.json").exists()
    with pytest.raises(CheckpointError):
        load_checkpoint(str(base), adapter=str(folder))
    next(p for n, p in checkpoint.model.named_parameters() if "lora_B" in n).data[0] = float("inf")
    with pytest.raises(LlavaChatError, match=r"lora_B.weight holds what is no finite number"):
        save_adapter(checkpoint.model, Lora(4, 8), tmp_path / "new", base=str(base))
    assert not (tmp_path / "new").exists()


def _full(*_: object, **__: object) -> None:
    raise OSError("No space left on device")


def test_the_configuration_says_what_it_is_for(base: Path, tmp_path: Path) -> None:
    trained(base, Lora(4, 8), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == (
        str(base),
        4,
        8,
    )
    modes = {path.stat().st_mode for path in (tmp_path / "out").glob("adapter_*")}
    assert len(modes) == 1


def test_the_same_seed_begins_with_the_same_matrices_and_disturbs_no_other(
    random_checkpoint: Callable[..., Checkpoint],
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    found = []
    for seed in (1, 1, 2):
        model = random_checkpoint().model
        torch.manual_seed(3)
        put_on(model, Lora(4, 8), seed)
        assert torch.equal(torch.rand(1), expected)
        found.append(next(p for n, p in model.named_parameters() if "lora_A" in n))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
