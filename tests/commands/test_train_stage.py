"""The options of `train align` and `train finetune`: the papers' recipes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from llava_chat.__main__ import main
from llava_chat.errors import UsageError
from llava_chat.training.recipes import RECIPES, Stage, StageSettings, settings_for

CONFIGS = sorted((Path(__file__).parents[2] / "docs" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize(
    ("recipe", "stage", "batch_size", "lr", "epochs"),
    [
        ("llava-1", "align", 128, 2e-3, 1),
        ("llava-1", "finetune", 32, 2e-5, 3),
        ("llava-1.5", "align", 256, 1e-3, 1),
        ("llava-1.5", "finetune", 128, 2e-5, 1),
        ("llava-1.5-lora", "align", 256, 1e-3, 1),
        ("llava-1.5-lora", "finetune", 128, 2e-4, 1),
    ],
)
def test_recipes_are_the_papers(
    recipe: str, stage: Stage, batch_size: int, lr: float, epochs: float
) -> None:
    settings = RECIPES[recipe][stage]
    assert (settings.batch_size, settings.lr, settings.epochs) == (batch_size, lr, epochs)
    assert (settings.warmup_share, settings.weight_decay, settings.max_tokens) == (0.03, 0, 2048)
    assert settings.lora == (recipe == "llava-1.5-lora" and stage == "finetune")
    if settings.lora:
        assert (settings.lora_rank, settings.lora_alpha, settings.lora_dropout) == (128, 256, 0.05)
        assert settings.projector_lr == 2e-5


def test_whatever_is_asked_for_takes_the_place_of_the_recipes() -> None:
    asked = {"epochs": 0.5, "batch_size": 7, "lr": 1.0, "lora": False, "recompute_layers": 0}
    settings = settings_for("finetune", "llava-1.5-lora", {**asked, "clip_norm": None})
    assert {name: getattr(settings, name) for name in asked} == asked
    assert settings == RECIPES["llava-1.5-lora"]["finetune"].changed(asked)
    assert settings_for("align", None, {}) == StageSettings(lr=1e-3)


def test_lora_is_for_stage_two() -> None:
    with pytest.raises(UsageError, match="align leaves the language model as it is"):
        settings_for("align", None, {"lora": True})


@pytest.mark.parametrize(
    ("stage", "words", "sentence"),
    [
        ("finetune", "--quantize 4bit", "--quantize needs --lora"),
        ("finetune", "--quantize 4bit --lora", "--quantize 4bit needs a CUDA GPU, not cpu"),
        ("finetune", "--lora --lora-rank 0", "--lora-rank must be above 0"),
        ("finetune", "--lora --lora-dropout 1", "--lora-dropout must be a share from 0 up to"),
        ("align", "--warmup-share 1.5", "--warmup-share must be a share from 0 to 1"),
        ("align", "--beta2 1", "--beta2 must be between 0 and 1"),
        ("align", "--micro-batch-size 0", "--micro-batch-size must be above 0"),
        ("align", "--keep 0", "--keep must be above 0"),
        ("align", "--save-every 0", "--save-every must be above 0"),
        ("align", "--feature-cache-gb -1", "--feature-cache-gb must be above 0"),
        ("align", "--recompute-layers -1", "--recompute-layers must not be below 0"),
        ("align", "--weight-decay nan", "--weight-decay must not be below 0"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    stage: str, words: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--model", "/no/model", "--data", "/no/data", "--output", str(tmp_path / "out")]
    assert main(["train", stage, *paths, "--device", "cpu", *words.split()]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"llava_chat: error: {sentence}")


def test_the_settings_for_accelerate_are_such(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [str(load_config_from_file(str(file)).distributed_type) for file in CONFIGS]
    wanted = ["MULTI_GPU", "DEEPSPEED", "DEEPSPEED", "FSDP"]
    assert [kind.removeprefix("DistributedType.") for kind in kinds] == wanted
