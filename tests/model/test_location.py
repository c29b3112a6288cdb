"""Where a model is, and its fingerprint: it changes with the model, and with nothing else."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llava_chat.model.location import WHOLE_BYTES, fingerprint

MEGABYTE = 2**20
PROJECTOR_BYTES = 64
# Weights too large to read whole: one huge tensor on each side of a projector.
HUGE_BYTES = WHOLE_BYTES // 2


def large_weights(path: Path) -> int:
    """A file with holes in place of most numbers; returns where its tensors begin."""
    ends = [HUGE_BYTES, HUGE_BYTES + PROJECTOR_BYTES, 2 * HUGE_BYTES + PROJECTOR_BYTES]
    spans = zip(("before", "projector", "after"), [0, *ends], ends, strict=False)
    header = json.dumps(
        {"__metadata__": {"format": "pt"}}
        | {
            name: {"dtype": "F32", "shape": [(last - first) // 4], "data_offsets": [first, last]}
            for name, first, last in spans
        }
    ).encode()
    with path.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        data = opened.tell()
        opened.truncate(data + ends[-1])
    return data


def write_at(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as opened:
        opened.seek(place)
        opened.write(content)


def test_any_number_of_a_small_model_changes_it(tmp_path: Path) -> None:
    weights = {"tower": torch.zeros(8 * MEGABYTE), "projector": torch.zeros(16)}
    prints = set()
    for place in (None, 0, 1 * MEGABYTE, 3 * MEGABYTE, 7 * MEGABYTE, 8 * MEGABYTE - 1):
        if place is not None:
            weights["tower"][place] += 1
        save_file(weights, tmp_path / "model.safetensors")
        prints.add(fingerprint(tmp_path))
    weights["projector"][7] = 1
    save_file(weights, tmp_path / "model.safetensors")
    assert len({*prints, fingerprint(tmp_path)}) == 7


def test_another_small_tensor_changes_a_large_model(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    data = large_weights(path)
    assert path.stat().st_size > WHOLE_BYTES
    prints = [fingerprint(tmp_path)]
    for place in (HUGE_BYTES, HUGE_BYTES // 2, 0, 2 * HUGE_BYTES + PROJECTOR_BYTES - 1):
        write_at(path, data + place, b"!")
        prints.append(fingerprint(tmp_path))
    assert len(set(prints)) == 5
    write_at(path, data + HUGE_BYTES // 3, b"!")  # between the samples: it is not read whole
    assert fingerprint(tmp_path) == prints[-1]


def test_any_number_of_a_large_bin_file_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the checksums at its end; large is here above a megabyte, for the test's speed."""
    monkeypatch.setattr("llava_chat.model.location.WHOLE_BYTES", MEGABYTE)
    prints = set()
    for place in (None, 0, MEGABYTE + 7, 2 * MEGABYTE - 1):
        weights = {"a": torch.zeros(2 * MEGABYTE), "b": torch.zeros(16)}
        if place is not None:
            weights["a"][place] = 1
        torch.save(weights, tmp_path / "pytorch_model.bin")
        prints.add(fingerprint(tmp_path))
    assert len(prints) == 4


@pytest.mark.parametrize(
    "name",
    ["mm_projector.bin", "non_lora_trainables.bin", "adapter_model.bin", "adapter_config.json"],
)
def test_the_parts_of_a_checkpoint_count_too(saved: Path, name: str) -> None:
    prints = {fingerprint(saved)}
    for content in ("a", "b"):
        (saved / name).write_text(content)
        prints.add(fingerprint(saved))
    assert len(prints) == 3


def with_length(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def spanning(first: object, last: object) -> bytes:
    return with_length(json.dumps({"a": {"data_offsets": [first, last]}}).encode())


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        with_length(b"[]"),
        with_length(b'{"a": {}}'),
        b"\x01" + bytes(7),
        spanning(-(10**6), 10),
        spanning(0, -1),
        spanning(10, 0),
        spanning(0, 10**30),
        spanning(10**30, 10**30),
        spanning(0.5, 2.5),
        spanning("0", "1"),
        spanning(None, None),
    ],
)
def test_a_large_file_that_is_damaged_has_a_fingerprint_too(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as opened:
        opened.write(header)
        opened.truncate(WHOLE_BYTES + 1)
    assert len(fingerprint(tmp_path)) == 12


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("config.json", True),
        ("tokenizer.json", True),
        ("tokenizer_config.json", True),
        ("preprocessor_config.json", True),
        ("chat_template.jinja", True),
        ("model.safetensors.index.json", True),
        ("evaluation.json", False),
        ("evaluation-further.json", False),
        ("README.md", False),
    ],
)
def test_what_is_read_with_the_weights_counts_and_nothing_else(
    saved: Path, name: str, matters: bool
) -> None:
    (saved / name).touch()
    before = fingerprint(saved)
    with (saved / name).open("a") as opened:
        opened.write(" ")
    assert (fingerprint(saved) != before) == matters


def test_a_copy_has_the_fingerprint_of_its_original(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == fingerprint(saved)
