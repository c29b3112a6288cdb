"""Rows to damage, and what a refusal must be: one sentence, from --model to the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import load_checkpoint
from tests.model.published.copies import Ask, Copies, Copy


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("rows"))


@pytest.fixture
def a_copy(copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """A row to damage; its cache is all of the Hub that there is."""

    def make(name: str) -> Copy:
        copy = copies.make(name, tmp_path / "copy")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(copy.hub))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return copy

    return make


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Loading ends with one sentence that says all of `expected`, and the chat with exit code 1."""

    def check(copy: Copy, *expected: str) -> None:
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(str(copy.folder), device="cpu", dtype="float32", template="vicuna_v1")
        sentence = str(error.value)
        assert "\n" not in sentence and len(sentence) < 500, sentence
        for part in expected:
            assert part in sentence
        capsys.readouterr()
        arguments = ["--model", str(copy.folder), "--device", "cpu", "--template", "vicuna_v1"]
        assert main(["chat", *arguments, "--dtype", "float32", "--message", "Hi"]) == 1
        shown, told = capsys.readouterr()
        assert shown == ""
        assert sentence in told and "Traceback" not in told

    return check
