"""Both stages on a tiny model: what moves, what stays, and that they learn; then by command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from llava_chat.__main__ import main
from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import TrainingDataError
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from llava_chat.model.encoder import VisionTower
from llava_chat.training.batch import collate, next_token_loss, token_sample
from llava_chat.training.recipes import Stage
from llava_chat.training.schedule import LoopOptions
from llava_chat.training.stages import (
    StageOptions,
    forget_projector,
    run_stage,
)

OPTIONS = StageOptions(LoopOptions(steps=30, lr=0.02, bf16=False), batch_size=2, workers=0)
New = Callable[[], Checkpoint]


def shown(colour: str) -> Conversation:
    picture = picture_from_image(Image.new("RGB", (30, 20), colour))
    asked = Turn("user", "What is in the picture?", (picture,))
    return Conversation((asked, Turn("assistant", f"A large {colour} circle.")))


SAMPLES = (shown("red"), shown("blue"))


def conversation_of(number: int) -> Conversation:
    return SAMPLES[number % 2]


@torch.no_grad()
def loss(checkpoint: Checkpoint, template: str) -> float:
    model = checkpoint.model
    samples = [
        token_sample(
            conversation,
            checkpoint.tokenizer,
            template=template,
            tokens_per_picture=model.tokens_per_picture,
            image_token_id=model.config.image_token_id,
            pixels=lambda picture: checkpoint.pixels(picture).numpy(),
            max_tokens=512,
        )
        for conversation in SAMPLES
    ]
    batch = collate(samples)
    assert batch.pixels is not None
    embeds = model.embed(batch.ids, model.image_features(batch.pixels))
    hidden = model.language_model.model(inputs_embeds=embeds).last_hidden_state
    return float(next_token_loss(hidden, batch.labels, model.language_model.lm_head))


def weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in checkpoint.model.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {
        name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])
    }


@pytest.mark.parametrize(
    ("stage", "template", "parts"),
    [
        ("align", "plain", {"projector"}),
        ("finetune", "vicuna_v1", {"projector", "language_model"}),
    ],
)
def test_a_stage_moves_its_parts_and_learns(
    new_checkpoint: New, tmp_path: Path, stage: Stage, template: str, parts: set[str]
) -> None:
    checkpoint = new_checkpoint()
    before, loss_before = weights(checkpoint), loss(checkpoint, template)
    run_stage(stage, checkpoint, conversation_of, OPTIONS, tmp_path / "run")
    assert moved(before, weights(checkpoint)) == parts
    assert loss(checkpoint, template) < {"align": 0.99, "finetune": 0.5}[stage] * loss_before
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    assert not checkpoint.model.training


def test_align_goes_on_where_it_stopped(new_checkpoint: New, tmp_path: Path) -> None:
    options = StageOptions(
        LoopOptions(steps=6, lr=0.02, save_every=3, bf16=False), batch_size=2, workers=0
    )

    def broken(number: int) -> Conversation:
        if number >= 8:
            raise KeyboardInterrupt
        return conversation_of(number)

    unbroken, stopped, resumed = new_checkpoint(), new_checkpoint(), new_checkpoint()
    run_stage("align", unbroken, conversation_of, options, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run_stage("align", stopped, broken, options, tmp_path / "run")
    run_stage("align", resumed, conversation_of, options, tmp_path / "run")
    assert moved(weights(unbroken), weights(resumed)) == set()


def test_reused_batches_go_on_where_they_stopped(new_checkpoint: New, tmp_path: Path) -> None:
    colours = ("red", "blue", "green", "black", "white", "yellow", "purple")
    options = StageOptions(
        LoopOptions(steps=50, lr=0.02, save_every=44, bf16=False), batch_size=1, workers=0, reuse=2
    )

    def one_of(number: int) -> Conversation:
        return shown(colours[number % len(colours)])

    def broken(number: int) -> Conversation:
        if number >= 44:
            raise KeyboardInterrupt
        return one_of(number)

    unbroken, stopped, resumed = new_checkpoint(), new_checkpoint(), new_checkpoint()
    run_stage("align", unbroken, one_of, options, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run_stage("align", stopped, broken, options, tmp_path / "run")
    run_stage("align", resumed, one_of, options, tmp_path / "run")
    assert moved(weights(unbroken), weights(resumed)) == set()


def test_text_alone_is_learned_too(new_checkpoint: New, tmp_path: Path) -> None:
    checkpoint = new_checkpoint()
    talk = Conversation((Turn("user", "Hi"), Turn("assistant", "Hello.")))
    mixed = {0: talk, 1: talk, 2: talk, 3: SAMPLES[0]}
    options = StageOptions(LoopOptions(steps=2, lr=0.01, bf16=False), batch_size=2, workers=0)
    before = weights(checkpoint)
    run_stage("finetune", checkpoint, mixed.__getitem__, options, tmp_path / "run")
    assert moved(before, weights(checkpoint)) == {"projector", "language_model"}


def test_a_sample_that_does_not_fit_is_named(new_checkpoint: New, tmp_path: Path) -> None:
    options = StageOptions(OPTIONS.loop, batch_size=2, workers=0, max_tokens=20)
    with pytest.raises(TrainingDataError, match=r"sample 0: .* 20 tokens"):
        run_stage("finetune", new_checkpoint(), conversation_of, options, tmp_path / "run")


def test_a_projector_is_forgotten_and_nothing_else(new_checkpoint: New) -> None:
    checkpoint = new_checkpoint()
    before = weights(checkpoint)
    forget_projector(checkpoint)
    assert moved(before, weights(checkpoint)) == {"projector"}


@pytest.fixture
def data(new_checkpoint: New, tmp_path: Path) -> Path:
    """A folder with a checkpoint, two pictures and the JSON about them."""
    save_checkpoint(new_checkpoint(), tmp_path / "model")
    rows = []
    for colour in ("red", "blue"):
        Image.new("RGB", (30, 20), colour).save(tmp_path / f"{colour}.png")
        asked = {"from": "human", "value": "<image>\nWhat is it?"}
        said = {"from": "gpt", "value": f"A large {colour} circle."}
        rows.append({"id": colour, "image": f"{colour}.png", "conversations": [asked, said]})
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def arguments(data: Path, stage: str, output: str) -> list[str]:
    words = f"train {stage} --batch-size 2 --epochs 3 --lr 0.01 --device cpu --max-tokens 200"
    paths = ("--model", "model", "--data", "data.json", "--images", "", "--output", output)
    return words.split() + [word if word.startswith("--") else str(data / word) for word in paths]


@pytest.mark.parametrize(
    ("stage", "parts"), [("align", {"projector"}), ("finetune", {"projector", "language_model"})]
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_checkpoint_in_checkpoint_out(
    data: Path, stage: str, parts: set[str], workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(data, stage, "out"), "--workers", workers]) == 0
    out, err = capsys.readouterr()
    assert out == f"{data / 'out'}\n"
    assert f"{stage} 3/3" in err
    before = load_checkpoint(str(data / "model"), device="cpu")
    after = load_checkpoint(str(data / "out"), device="cpu")
    assert moved(weights(before), weights(after)) == parts
    assert after.template == "vicuna_v1"
    assert not [*(data / "out" / "checkpoints").rglob("*.pt")]


def test_a_fresh_projector_by_command(data: Path) -> None:
    assert main([*arguments(data, "align", "out"), "--workers", "0", "--lr", "1e-9"]) == 0
    fresh = [*arguments(data, "align", "new"), "--workers", "0", "--lr", "1e-9"]
    assert main([*fresh, "--fresh-projector"]) == 0
    near = weights(load_checkpoint(str(data / "out"), device="cpu"))["projector.0.weight"]
    far = weights(load_checkpoint(str(data / "new"), device="cpu"))["projector.0.weight"]
    old = weights(load_checkpoint(str(data / "model"), device="cpu"))["projector.0.weight"]
    assert torch.allclose(near, old, atol=1e-5)
    assert not torch.allclose(far, old, atol=1e-2)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (["--seed", "5"], "seed 0 there, 5 here"),
        (["--lr", "0.02"], "lr 0.01 there, 0.02 here"),
        (["--epochs", "1"], "steps 3 there, 1 here"),
        (["--fresh-projector"], "fresh_projector False there, True here"),
        (["--model"], "model "),
        (["--data"], "data "),
    ],
)
def test_another_run_does_not_go_on_from_a_state_left_behind(
    data: Path,
    changed: list[str],
    difference: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    begun = [*arguments(data, "align", "out"), "--workers", "0"]
    with monkeypatch.context() as patched:
        patched.setattr("llava_chat.model.checkpoint.save_checkpoint", interrupted)
        assert main(begun) == 130
    if changed == ["--model"]:
        other = load_checkpoint(str(data / "model"), device="cpu")
        forget_projector(other)
        save_checkpoint(other, data / "other")
        changed = ["--model", str(data / "other")]
    if changed == ["--data"]:
        rows = json.loads((data / "data.json").read_text(encoding="utf-8"))
        (data / "other.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
        changed = ["--data", str(data / "other.json")]
    assert main([*begun, *changed]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    state = data / "out" / "checkpoints"
    assert said.startswith(f"llava_chat: error: {state} was written by another run ({difference}")
    assert "delete it to start again" in said
    assert main(begun) == 0
    assert "align: going on from step 3" in capsys.readouterr().err


def test_align_needs_a_picture_in_every_row(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads((data / "data.json").read_text(encoding="utf-8"))
    talk = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
    (data / "data.json").write_text(json.dumps([*rows, {"conversations": talk}]), encoding="utf-8")
    assert main([*arguments(data, "align", "out"), "--workers", "0"]) == 1
    said = capsys.readouterr().err
    assert "data.json, row 2, image: there is none" in said and "leave the row out" in said
    assert main([*arguments(data, "finetune", "out"), "--workers", "0"]) == 0


def test_a_broken_picture_stops_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "blue.png").write_bytes(b"no picture")
    assert main([*arguments(data, "align", "out"), "--workers", "1"]) == 0
    asked = ["--samples", "1", "--workers", "0"]  # of two rows the second is held out
    assert main([*arguments(data, "align", "asked"), *asked]) == 0
    assert "align: not asked about: " in capsys.readouterr().err
    assert not (data / "asked" / "samples.md").exists()


@pytest.mark.parametrize(
    ("extra", "code", "sentence"),
    [
        (["--epochs", "0"], 2, "--epochs must be above 0"),
        (["--batch-size", "-1"], 2, "--batch-size must be above 0"),
        (["--lr", "nan"], 2, "--lr must be above 0"),
        (["--workers", "-1"], 2, "--workers must not be below 0"),
        (["--seed", "-1"], 2, "--seed must not be below 0"),
        (["--max-tokens", "3"], 1, "data.json, row 0: a picture lies beyond the limit of 3 tokens"),
        (["--data", "none.json"], 1, "none.json"),
        (["--model", "/nowhere"], 1, "/nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    data: Path, extra: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(data, "align", "out"), "--workers", "1", *extra]) == code
    out, err = capsys.readouterr()
    said = err.splitlines()[-1]
    assert out == "" and said.startswith("llava_chat: error: ") and sentence in said
    assert "Traceback" not in err


def test_stage_one_reads_each_picture_once_by_the_tower(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = VisionTower.forward

    def counted(self: VisionTower, pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        found: Tensor = original(self, pixels)
        return found

    monkeypatch.setattr(VisionTower, "forward", counted)
    plain = ["--workers", "0", "--precision", "float32", "--samples", "0", "--no-tensorboard"]
    assert main([*arguments(data, "align", "cached"), *plain]) == 0
    assert sum(seen) == 2  # of three epochs over two pictures
    assert not (data / "cached" / "features").exists()
    kept = ["--feature-cache", str(data / "features")]
    assert main([*arguments(data, "align", "one"), *plain, *kept]) == 0
    assert main([*arguments(data, "align", "two"), *plain, *kept]) == 0
    assert sum(seen) == 4 and len([*(data / "features").rglob("*.safetensors")]) == 2
    assert main([*arguments(data, "finetune", "three"), *plain]) == 0
    assert sum(seen) == 10
    found = [weights(load_checkpoint(str(data / name), device="cpu")) for name in ("cached", "two")]
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_every_setting_is_told_before_a_run_and_kept_with_it(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["--recipe", "llava-1", "--workers", "0", "--samples", "0", "--no-tensorboard"]
    assert main([*arguments(data, "finetune", "out"), *recipe]) == 0
    told = capsys.readouterr().err
    for line in ("recipe: llava-1", "lr: 0.01", "epochs: 3.0", "beta2: 0.999", "clip norm: 1.0"):
        assert f"  {line}\n" in told
    facts = json.loads((data / "out" / "run.json").read_text(encoding="utf-8"))
    assert facts["recipe"] == "llava-1" and facts["settings"]["recompute layers"] == 1
    card = (data / "out" / "README.md").read_text(encoding="utf-8")
    assert "- recompute layers: 1" in card and "A model trained from" in card
