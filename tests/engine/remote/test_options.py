"""From the settings to a remote engine: which options go together, and what is told when not."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.assembly import (
    OF_THIS_PROCESS,
    OfferedModel,
    check_model,
    for_model,
    offered_models,
    open_engine,
)
from llava_chat.engine.remote import RemoteEngine
from llava_chat.errors import SettingError
from llava_chat.settings import Settings, flag, load_settings
from tests.engine.remote.conftest import MakeServer

ROOT = Path(__file__).resolve().parents[3]
NOBODY = "http://127.0.0.1:9/v1"


def settings(**values: str) -> Settings:
    return load_settings(argparse.Namespace(**values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"engine": "remote"}, "--engine-url must name a server"),
        ({"engine_url": NOBODY}, "--engine-url is for --engine remote; give that too"),
        ({"engine": "remote", "engine_url": "host:8000"}, "--engine-url must be addresses like"),
        ({"engine": "remote", "engine_url": f"{NOBODY},ftp://x"}, "the second one is none"),
        ({"engine": "remote", "engine_url": "http://a:b@c/v1"}, "must hold no name or password"),
    ],
)
def test_addresses_that_do_not_fit_are_refused(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_model(settings(**values))


GIVEN = {
    "adapter": "lora",
    "vision_tower": "clip",
    "quantize": "4bit",
    "device": "cpu",
    "dtype": "float32",
    "template": "vicuna_v1",
    "models": "scenes",
    "slots": "2",
    "context_tokens": "1000",
    "cache_bytes": "1GiB",
    "adapters": "crimson=/adapters/crimson",
    "compare_with": "scenes",
    "max_adapters": 2,
    "capture": "off",
}


@pytest.mark.parametrize("name", OF_THIS_PROCESS)
def test_what_the_server_decides_is_refused_here(name: str) -> None:
    asked = settings(engine="remote", engine_url=NOBODY, **{name: GIVEN[name]})
    for refuses in (check_model, open_engine):
        with pytest.raises(SettingError, match=f"^{flag(name)} is for a model in this process"):
            refuses(asked)


def test_the_settings_open_what_the_server_offers(make_server: MakeServer) -> None:
    server = make_server(models=[{"id": "a/b"}, {"id": "c"}])
    asked = settings(engine="remote", engine_url=server.url, model="a/b")
    assert offered_models(asked) == (OfferedModel("a/b", "a/b", ""),)
    engine = open_engine(for_model(asked, "a/b"))
    assert isinstance(engine, RemoteEngine) and engine.model.id == "a/b"
    engine.close()
    unnamed = settings(engine="remote", engine_url=server.url)
    for refuses in (offered_models, open_engine):
        with pytest.raises(SettingError, match=r"^--model must name one of those"):
            refuses(unnamed)


def test_the_command_line_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for options, status, sentence in (
        (["--engine", "remote"], 2, "--engine-url must name a server"),
        (["--engine", "remote", "--engine-url", NOBODY], 1, f"{NOBODY} cannot be reached"),
    ):
        assert main(["chat", *options, "--message", "Hi"]) == status
        told = capsys.readouterr().err
        assert sentence in told and told.count("\n") == 1


def test_the_page_does_not_start_without_its_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llava_chat", "serve", "--engine", "remote"]
    command += ["--engine-url", NOBODY, "--data-dir", str(tmp_path / "data")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 1 and ended.stdout == ""
    assert f"{NOBODY} cannot be reached" in ended.stderr and "Traceback" not in ended.stderr
