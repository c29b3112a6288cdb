"""Settings become the dataclasses that the parts take; the defaults are the parts' own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.assembly import (
    OfferedModel,
    check_model,
    for_model,
    generation_settings,
    offered_models,
    open_engine,
    picture_limits,
)
from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import CheckpointError, SettingError, UsageError
from llava_chat.image import PictureLimits
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.settings import Settings, load_settings


def settings(**values: str) -> Settings:
    return load_settings(argparse.Namespace(**values))


def test_without_options_the_parts_get_their_own_defaults() -> None:
    assert generation_settings(settings()) == GenerationSettings()
    assert picture_limits(settings()) == PictureLimits()


def test_options_reach_the_parts() -> None:
    chosen = settings(temperature="0", max_new_tokens="7", top_k="40", max_picture_bytes="1MiB")
    assert generation_settings(chosen) == GenerationSettings(
        temperature=0, max_new_tokens=7, top_k=40
    )
    assert picture_limits(chosen) == PictureLimits(max_bytes=2**20)


def test_an_unknown_template_is_told_before_a_model_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"no template 'vicuna'.*vicuna_v1"):
        open_engine(settings(template="vicuna", model="/no/such/model"))


@pytest.fixture
def folder(tmp_path: Path, random_checkpoint: Callable[..., Checkpoint]) -> Path:
    """A checkpoint on disk."""
    save_checkpoint(random_checkpoint(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_good_model_passes(folder: Path) -> None:
    for name in ("scenes", str(folder)):
        check_model(settings(model=name))


def test_what_the_files_say_is_told_without_reading_weights(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_size"] = 60
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"The weights in {folder} .*: wrong shape"):
        check_model(settings(model=str(folder)))
    with pytest.raises(CheckpointError, match="There is no folder /no/such/model"):
        check_model(settings(model="/no/such/model"))
    with pytest.raises(SettingError, match="--device"):
        check_model(settings(device="cuda:99"))


def test_a_template_is_of_the_model_that_it_was_given_with() -> None:
    started = settings(model="scenes", template="llava_v1", dtype="float32")
    assert for_model(started, "scenes") == started
    other = for_model(started, "other")
    assert (other.model, other.template, other.dtype) == ("other", None, "float32")


def test_the_models_on_offer_are_those_that_were_listed(folder: Path) -> None:
    listed = settings(models=f"{folder}, somebody/never-downloaded", host="0.0.0.0")
    scenes, tiny, remote = offered_models(listed)
    assert (scenes.name, scenes.label) == ("scenes", "scenes")
    assert scenes.needs.endswith(" MB in bfloat16")
    assert (tiny.name, tiny.label, tiny.needs) == (str(folder), "tiny", "0 MB in bfloat16")
    assert remote == OfferedModel(*2 * ("somebody/never-downloaded",), "to be downloaded")
    with pytest.raises(CheckpointError, match="There is no folder /no/such/model"):
        offered_models(settings(models="/no/such/model"))


def test_what_is_here_is_offered_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert "scenes" in [model.name for model in offered_models(settings())]
    (started,) = offered_models(settings(host="0.0.0.0"))
    assert started.label == "scenes"
    monkeypatch.setenv("SPACE_ID", "somebody/llava_chat")
    assert offered_models(settings()) == (started,)
