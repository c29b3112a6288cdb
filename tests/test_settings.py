"""Flags, variables, defaults and help have one definition; wrong values name their source."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from pydantic import ValidationError

from llava_chat.engine.base import GenerationSettings
from llava_chat.errors import SettingError
from llava_chat.settings import (
    ACCESS_FIELDS,
    CONVERSATION_FIELDS,
    GENERATION_FIELDS,
    LIMIT_FIELDS,
    MODEL_FIELDS,
    SECRET_FIELDS,
    SERVER_FIELDS,
    SLOT_FIELDS,
    Settings,
    add_arguments,
    flag,
    load_settings,
    on_space,
    variables,
)

FLAGS = (
    *MODEL_FIELDS,
    *SLOT_FIELDS,
    *CONVERSATION_FIELDS,
    *GENERATION_FIELDS,
    *SERVER_FIELDS,
    *ACCESS_FIELDS,
    *LIMIT_FIELDS,
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        for variable in variables(name):
            monkeypatch.delenv(variable, raising=False)


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, FLAGS)
    return load_settings(parser.parse_args(arguments))


def test_every_field_but_the_keys_is_a_flag_with_a_default_and_help() -> None:
    assert sorted(FLAGS) == sorted(Settings.model_fields.keys() - set(SECRET_FIELDS))
    for name, field in Settings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


def test_the_defaults_are_those_of_the_engine() -> None:
    settings, generation = load_settings(), GenerationSettings()
    for name in GENERATION_FIELDS:
        assert getattr(settings, name) == getattr(generation, name), name


def test_a_space_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert not on_space()
    monkeypatch.setenv("SPACE_ID", "somebody/llava_chat")
    assert on_space()


def test_the_help_shows_flag_default_and_variable() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, FLAGS)
    words = " ".join(parser.format_help().split())
    for name in FLAGS:
        assert flag(name) in words
        assert variables(name)[0] in words
    assert "(default: 0.7; LLAVA_CHAT_TOP_P)" in words


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert parse().top_p == 0.7
    monkeypatch.setenv("LLAVA_CHAT_TOP_P", "0.5")
    assert parse().top_p == 0.5
    assert parse("--top-p", "0.9").top_p == 0.9
    monkeypatch.setenv("LLAVA_CHAT_TOP_P", "")
    assert parse().top_p == 0.7


def test_models_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse().models is None
    assert parse("--models", "scenes, a/b,").models == ("scenes", "a/b")
    monkeypatch.setenv("LLAVA_CHAT_MODELS", "/models/c")
    assert parse().models == ("/models/c",)


def test_several_addresses_and_keys_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse().engine_url == ()
    assert parse("--engine-url", "http://a/v1, http://b/v1").engine_url == (
        "http://a/v1",
        "http://b/v1",
    )
    monkeypatch.setenv("LLAVA_CHAT_API_KEYS", "one,two")
    assert parse().api_keys == ("one", "two")
    assert "two" not in repr(parse())


def test_the_port_is_ours_then_gradios_then_7860(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse().port == 7860
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7001")
    assert parse().port == 7001
    monkeypatch.setenv("LLAVA_CHAT_PORT", "7002")
    assert parse().port == 7002
    assert parse("--port", "7003").port == 7003


def test_a_space_tells_the_host_through_gradios_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse().host == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert parse().host == "0.0.0.0"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("temperature", "-1", "must be greater than or equal to 0, not '-1'"),
        ("temperature", "nan", "must be a finite number, not 'nan'"),
        ("top_p", "0", "must be greater than 0, not '0'"),
        ("max_new_tokens", "1000000000", "must be less than or equal to 4096, not '1000000000'"),
        ("max_new_tokens", "many", "must be a valid integer, not 'many'"),
        ("deadline_s", "inf", "must be a finite number, not 'inf'"),
        ("seed", "-3", "must be greater than or equal to 0, not '-3'"),
        ("port", "70000", "must be less than or equal to 65535, not '70000'"),
        ("device", "tpu", "must be auto (CUDA, then MPS, then CPU), cpu, mps, cuda or cuda:N"),
        ("cache_bytes", "5 XB", "must be a number of bytes, like 20000000 or 20MiB, not '5 XB'"),
        ("max_picture_bytes", "x" * 200, "not '" + "x" * 56 + "..."),
    ],
)
def test_a_wrong_value_names_its_flag_or_its_variable(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError) as refused:
        parse(flag(name), value)
    assert refused.value.field == flag(name)
    assert problem in refused.value.problem
    assert refused.value.exit_code == 2

    monkeypatch.setenv(variables(name)[-1], value)
    with pytest.raises(SettingError) as refused:
        parse()
    assert refused.value.field == variables(name)[-1]
    assert problem in refused.value.problem


def test_a_variable_outside_the_choices_is_told_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAVA_CHAT_DTYPE", "int3")
    with pytest.raises(
        SettingError, match="must be 'auto', 'float32', 'float16' or 'bfloat16', not 'int3'"
    ):
        parse()


def test_sizes_are_read_with_units() -> None:
    assert parse("--cache-bytes", "64MiB").cache_bytes == 64 * 2**20
    assert parse("--cache-bytes", "0").cache_bytes == 0


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]


def test_the_database_lies_in_the_data_folder_unless_an_address_is_given(tmp_path: Path) -> None:
    assert parse("--data-dir", str(tmp_path)).database == f"sqlite:///{tmp_path}/llava_chat.db"
    assert parse("--database-url", "postgresql://host/name").database == "postgresql://host/name"


def test_a_short_signing_key_is_refused_and_no_key_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAVA_CHAT_SECRET", "hunter2")
    with pytest.raises(SettingError) as refused:
        load_settings()
    assert str(refused.value) == "LLAVA_CHAT_SECRET must have at least 16 characters"
    monkeypatch.setenv("LLAVA_CHAT_SECRET", "correct horse battery staple")
    assert "horse" not in repr(load_settings())
