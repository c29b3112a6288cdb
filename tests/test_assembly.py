"""Settings become the dataclasses that the parts take; the defaults are the parts' own."""

from __future__ import annotations

import argparse

import pytest

from llava_chat.assembly import generation_settings, open_engine, picture_limits
from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import UsageError
from llava_chat.image import PictureLimits
from llava_chat.settings import Settings, load_settings


def settings(**values: str) -> Settings:
    return load_settings(argparse.Namespace(**values))


def test_without_options_the_parts_get_their_own_defaults() -> None:
    assert generation_settings(settings()) == GenerationSettings()
    assert picture_limits(settings()) == PictureLimits()


def test_options_reach_the_parts() -> None:
    chosen = settings(temperature="0", max_new_tokens="7", seed="3", max_picture_bytes="1MiB")
    assert generation_settings(chosen) == GenerationSettings(
        temperature=0, max_new_tokens=7, seed=3
    )
    assert picture_limits(chosen) == PictureLimits(max_bytes=2**20)


def test_an_unknown_template_is_told_before_a_model_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"no template 'vicuna'.*vicuna_v1"):
        open_engine(settings(template="vicuna", model="/no/such/model"))
