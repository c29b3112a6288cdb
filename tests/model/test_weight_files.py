"""Weights in .bin files: read right, with nothing run, and refused in one sentence."""

import os
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.model.weight_files import read_headers, read_weights, weight_files
from llava_chat.progress import Progress

CPU = torch.device("cpu")
NAME = "pytorch_model.bin"


def save(content: Any, path: Path, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def read(*files: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return dict(read_weights(read_headers(files), device=CPU, dtype=dtype))


def refusal(*files: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read(*files)
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence) < 400
    assert str(files[-1]) in sentence
    return sentence


@pytest.mark.parametrize("old", [False, True])
def test_every_kind_of_tensor_is_read_right(tmp_path: Path, old: bool) -> None:
    torch.manual_seed(0)
    table = torch.randn(6, 4)
    weights = OrderedDict(
        table=table,
        tied=table,
        row=table[2],
        turned=table.t(),
        column=table[:, 1],
        half=torch.randn(5).half(),
        brain=torch.randn(5).bfloat16(),
        double=torch.randn(3).double(),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        number=torch.tensor(7.5),
        empty=torch.zeros(0, 3),
    )
    path = save(weights, tmp_path / NAME, old)
    headers = read_headers([path])
    assert {name: header.shape for name, header in headers.items()} == {
        name: tuple(weight.shape) for name, weight in weights.items()
    }
    formats = {name: header.number_format for name, header in headers.items()}
    assert formats["table"] == "F32" and formats["half"] == "F16"
    assert formats["brain"] == "BF16" and formats["double"] == "F64"
    found = read(path)
    for name, weight in weights.items():
        assert torch.equal(found[name], weight.detach().float()), name
        assert found[name].is_contiguous() and not found[name].requires_grad
    found["table"][0] = 9  # nothing shares its numbers with another, or with the file
    assert torch.equal(found["tied"], table)
    assert torch.equal(read(path)["table"], table)


def test_files_of_both_kinds_are_laid_over_one_another(tmp_path: Path) -> None:
    save({"a": torch.ones(2), "b": torch.ones(3)}, tmp_path / "base.bin")
    save_file({"a": torch.zeros(2)}, tmp_path / "above.safetensors")
    base, above = (read_headers([tmp_path / name]) for name in ("base.bin", "above.safetensors"))
    laid = {"model.a": above["a"], "model.b": base["b"]}
    assert (laid["model.a"].name, laid["model.b"].file) == ("a", tmp_path / "base.bin")
    told: list[Progress] = []
    found = dict(read_weights(laid, device=CPU, dtype=torch.float16, report=told.append))
    assert {name: weight.tolist() for name, weight in found.items()} == {
        "model.a": [0, 0],
        "model.b": [1, 1, 1],
    }
    assert [(step.done, step.total, step.unit) for step in told] == [
        (8, 20, "bytes"),
        (20, 20, "bytes"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is counted in other units")
def test_headers_hold_no_numbers(tmp_path: Path) -> None:
    """A gigabyte of them, in a file with holes, and the process grows by less than a tenth."""
    import resource

    path = tmp_path / NAME
    with torch.serialization.skip_data():
        torch.save({"big": torch.empty(2**28), "small": torch.empty(4)}, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_headers([path])["big"].count == 2**28
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000  # kB


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    save({"a": torch.ones(1)}, tmp_path / NAME)
    assert weight_files(tmp_path) == (tmp_path / NAME,)
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "x.bin"}}')
    with pytest.raises(CheckpointError, match=r"lacks x.bin, which its pytorch_model.bin.index"):
        weight_files(tmp_path)
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert weight_files(tmp_path) == (tmp_path / "model.safetensors",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../x.bin", "outside its folder"),
        ("/etc/passwd", "outside its folder"),
        ("x.safetensors", "is no .bin file"),
        ("x" * 300 + ".bin", "lacks xxx"),
    ],
)
def test_an_index_that_leads_elsewhere(tmp_path: Path, name: str, expected: str) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(f'{{"weight_map": {{"a": "{name}"}}}}')
    with pytest.raises(CheckpointError, match=expected):
        weight_files(tmp_path)


def test_links_are_followed_and_lead_to_files_only(tmp_path: Path) -> None:
    """The cache of huggingface_hub consists of links, and people keep weights on other disks."""
    folder = tmp_path / "folder"
    folder.mkdir()
    save({"a": torch.ones(1)}, tmp_path / "elsewhere")
    (folder / NAME).symlink_to(tmp_path / "elsewhere")
    assert read(*weight_files(folder))["a"] == 1
    for target in (tmp_path / "nothing", tmp_path, Path("/dev/zero")):
        (folder / NAME).unlink()
        (folder / NAME).symlink_to(target)
        with pytest.raises(CheckpointError, match="holds neither"):
            weight_files(folder)


def test_a_name_in_two_shards(tmp_path: Path) -> None:
    files = [save({"a": torch.ones(1)}, tmp_path / f"{number}.bin") for number in "12"]
    assert refusal(*files) == f"{files[1]} holds a a second time."


class Code:
    """What a pickle of an attacker holds: any function, with any arguments."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("write", ["zip", "old", "pickle-2", "pickle-4", "in a tensor's place"])
def test_code_is_never_run(tmp_path: Path, write: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / NAME
    content: dict[str, Any] = {"a": torch.ones(1), "b": Code(trace)}
    if write.startswith("pickle"):
        path.write_bytes(pickle.dumps(content["b"], protocol=int(write[-1])))
    else:
        save(content, path, old=write == "old")
    sentence = refusal(path)
    assert not trace.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if write.startswith("pickle"):
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
    assert trace.exists()  # so it was a real one
    if write != "pickle-4":  # whose opcodes are refused before what they ask for
        assert "asks for posix.system while it is read, which may run code" in sentence


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.ones(1)], "holds a list, not weights by name"),
        (torch.ones(1), "holds a Tensor, not weights by name"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict', a dict, where only weights"),
        ({"a": torch.ones(1), "epoch": 3}, "'epoch', a int"),
        ({7: torch.ones(1)}, "'7', a Tensor"),
        ({"a": torch.ones(2, 2).to_sparse()}, "sparse or quantised"),
        ({"a": torch.ones(1).expand(10**9)}, "few numbers repeated to (1000000000,)"),
    ],
)
def test_other_things_than_weights(tmp_path: Path, content: Any, expected: str) -> None:
    assert expected in refusal(save(content, tmp_path / NAME))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_told_with_their_file(tmp_path: Path, value: float) -> None:
    path = save({"a": torch.tensor([1, value])}, tmp_path / NAME)
    assert refusal(path) == (f"The weight a has numbers that are not finite in float32, in {path}.")


def test_whole_numbers_are_told_by_their_format(tmp_path: Path) -> None:
    path = save({"a": torch.ones(1, dtype=torch.int8)}, tmp_path / NAME)
    assert read_headers([path])["a"].number_format == "I8"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return save({"a": torch.zeros(50_000), "b": torch.ones(3)}, tmp_path / NAME)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_is_cut_off(whole: Path, share: float, old: bool) -> None:
    if old:
        save({"a": torch.zeros(50_000), "b": torch.ones(3)}, whole, old=True)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(share * len(content))])
    assert "download it again" in refusal(whole)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"<html>404</html>", b"PK\x03\x04" + b"x" * 99])
def test_a_file_of_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert "download it again" in refusal(tmp_path / NAME)


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in refusal(tmp_path / NAME)


def rewritten(path: Path, change: Callable[[str, bytes], bytes], compression: int = 0) -> Path:
    """The same archive, each part changed."""
    target = path.with_name("changed.bin")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as written:
        for entry in source.infolist():
            written.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return target


def test_an_archive_that_would_unpack_to_more_than_it_is(whole: Path) -> None:
    bomb = rewritten(whole, lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 5000
    assert "is a compressed archive" in refusal(bomb)


def test_an_archive_that_lists_more_numbers_than_it_holds(whole: Path) -> None:
    def shorten(name: str, content: bytes) -> bytes:
        return content[:4] if name.endswith("data/1") else content

    assert "holds fewer numbers than it lists" in refusal(rewritten(whole, shorten))


def test_a_program(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / NAME))
    assert "TorchScript program, which is never run" in refusal(tmp_path / NAME)


def test_a_file_that_goes_away_before_it_is_read(whole: Path) -> None:
    headers = read_headers([whole])
    whole.unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        dict(read_weights(headers, device=CPU, dtype=torch.float32))


def test_files_of_any_bytes_end_in_a_sentence(whole: Path) -> None:
    """Each part of the list of names overwritten in turn: it is refused, or read as other names."""
    where = whole.read_bytes().index(b"ctorch._utils")
    original = whole.read_bytes()
    for place in range(where - 20, where + 220):
        broken = bytearray(original)
        broken[place] ^= 0x55
        whole.write_bytes(broken)
        try:
            read(whole)
        except CheckpointError as error:
            assert str(whole) in str(error)
