"""A published folder that was tampered with runs no code, and reads nothing it should not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import load_checkpoint
from tests.model.published.copies import Ask, edit_json
from tests.model.published.layouts import in_cache
from tests.model.published.rows import CLIP_336

V1_5 = "llava-v1.5-7b-original"
INSIDE = "llava-v1.5-trained-on-original"
V1_6 = "llava-v1.6-mistral-7b-original"
V1_6_HF = "llava-v1.6-mistral-7b-hf-hf4"


@pytest.mark.parametrize("name", [V1_5, INSIDE, V1_6, V1_6_HF, "lora-bin", "projector-only"])
def test_what_is_damaged_below_is_whole_before(a_copy: Ask, name: str) -> None:
    copy = a_copy(name)
    assert load_checkpoint(str(copy.folder), device="cpu", template="vicuna_v1").model is not None


# Code


@pytest.mark.parametrize("name", [V1_5, V1_6_HF, "lora-bin", "projector-only"])
def test_config_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    edit_json(copy.folder / "config.json", lambda c: c.update(auto_map={"AutoModel": "evil.Evil"}))
    refused(copy, "config.json", "auto_map")


@pytest.mark.parametrize("name", [V1_5, V1_6_HF])
def test_tokenizer_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    path = copy.folder / "tokenizer_config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoTokenizer": ["evil.Evil", None]}))
    refused(copy, "tokenizer_config.json", "auto_map")


@pytest.mark.parametrize("name", ["lora-bin", "peft-5"])
def test_adapter_with_code(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    path = copy.folder / "adapter_config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoPeftModel": "evil.Evil"}))
    refused(copy, "adapter_config.json", "auto_map")


def test_tower_with_code(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy(V1_5)
    path = copy.repository(CLIP_336) / "config.json"
    edit_json(path, lambda c: c.update(auto_map={"AutoModel": "evil.Evil"}))
    refused(copy, "config.json", "auto_map")


def test_the_library_that_an_adapter_names_is_not_imported(
    a_copy: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peft writes `auto_mapping` itself, and some of its classes import what stands there."""
    (tmp_path / "evil_library.py").write_text("class Evil: ...")
    monkeypatch.syspath_prepend(tmp_path)
    copy = a_copy("peft-5")
    named = {"base_model_class": "Evil", "parent_library": "evil_library"}
    edit_json(copy.folder / "adapter_config.json", lambda c: c.update(auto_mapping=named))
    try:
        load_checkpoint(str(copy.folder), device="cpu")
    except CheckpointError as error:
        assert "auto_map" in str(error)
    assert "evil_library" not in sys.modules


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (V1_5, "pytorch_model-00001-of-00002.bin"),
        (V1_5, "the tower"),
        ("lora-bin", "adapter_model.bin"),
        ("lora-bin", "non_lora_trainables.bin"),
        ("projector-only", "mm_projector.bin"),
    ],
)
def test_pickles_that_run_code(
    a_copy: Ask, refused: Callable[..., None], tmp_path: Path, name: str, file: str
) -> None:
    copy, mark = a_copy(name), tmp_path / "mark"
    tower = copy.repository(CLIP_336) / "pytorch_model.bin"
    path = tower if file == "the tower" else copy.folder / file
    held = torch.load(path, weights_only=True)
    torch.save(held | {"evil": Evil(mark)}, path)
    refused(copy, path.name)
    assert not mark.exists()


# Names that lead elsewhere


@pytest.mark.parametrize(
    "tower",
    ["../clip", "/nowhere", "openai/../../clip", "./clip", "~/clip", "C:\\clip", "..", ".", "",
     "a" * 5000, "a\nb/c", "nobody/no-such-tower", 7, None, ["openai/clip"]],
    ids=lambda tower: str(tower)[:30],
)  # fmt: skip
def test_towers_that_are_no_repository(
    a_copy: Ask, refused: Callable[..., None], tower: object
) -> None:
    copy = a_copy(V1_5)
    edit_json(copy.folder / "config.json", lambda c: c.update(mm_vision_tower=tower))
    refused(copy, "tower")


def test_only_a_local_checkpoint_names_a_tower_elsewhere_on_the_disk(
    a_copy: Ask, refused: Callable[..., None]
) -> None:
    """What was downloaded must not say what is read of this machine."""
    copy = a_copy(V1_5)
    elsewhere = {"mm_vision_tower": str(copy.repository(CLIP_336).resolve())}
    edit_json(copy.folder / "config.json", lambda content: content.update(elsewhere))
    assert load_checkpoint(str(copy.folder), device="cpu", template="vicuna_v1").model is not None
    kept = in_cache(copy.hub, "somebody/model")
    for path in copy.folder.iterdir():
        path.rename(kept / path.name)
    refused(replace(copy, folder=Path("somebody/model")), "tower")


@pytest.mark.parametrize("name", ["lora-bin", "peft-5"])
@pytest.mark.parametrize(
    "base", ["itself", ".", "", "..", None, 7, "nobody/no-such-base", "a" * 999]
)
def test_adapters_without_a_base(
    a_copy: Ask, refused: Callable[..., None], name: str, base: object
) -> None:
    copy = a_copy(name)
    named = str(copy.folder) if base == "itself" else base
    path = copy.folder / "adapter_config.json"
    edit_json(path, lambda content: content.update(base_model_name_or_path=named))
    if (copy.folder / "config.json").is_file():  # the authors' script names it there as well
        edit_json(copy.folder / "config.json", lambda content: content.update(_name_or_path=named))
    refused(copy)


def test_two_adapters_that_name_each_other(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy("lora-bin")
    other = copy.folder.parent / "other"
    other.mkdir()
    for path in copy.folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    for here, there in ((copy.folder, other), (other, copy.folder)):
        named = {"base_model_name_or_path": str(there)}
        edit_json(here / "adapter_config.json", lambda content, named=named: content.update(named))
    refused(copy, "adapter")


def test_through_a_process_of_its_own(a_copy: Ask, tmp_path: Path) -> None:
    """As somebody runs it."""
    copy = a_copy(V1_5)
    edit_json(copy.folder / "config.json", lambda c: c.update(mm_vision_tower="../clip"))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "llava_chat",
            "chat",
            "--model",
            str(copy.folder),
            "--message",
            "Hi",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_CACHE": str(copy.hub), "HF_HUB_OFFLINE": "1"},
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "tower" in ran.stderr and "Traceback" not in ran.stderr
    assert json.loads((copy.folder / "config.json").read_text())["mm_vision_tower"] == "../clip"
