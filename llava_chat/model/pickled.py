"""Weights in .bin files, which are pickles: read without ever running what a pickle can ask for.

Only through `torch.load(weights_only=True)`, which builds tensors and refuses everything else. A
file of torch 1.6 or later is a zip that is mapped into memory, so that numbers are read when they
are used; one of an older torch is read whole. Imports torch, the memory module and errors.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.model.memory import out_of_memory

_ZIP_START = b"PK\x03\x04"
_LFS_START = b"version https://git-lfs"

# A 70B's list of names is below 1 MB; the safetensors library has the same limit for its own.
_MAX_PICKLE_BYTES = 100_000_000

# As torch says it: "Unsupported global: GLOBAL x.y", "unsupported GLOBAL x.y whose module x".
_ASKED_FOR = re.compile(r"GLOBAL (\S+)")

FORMATS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Number formats by the names that safetensors has for them."""


def number_format(weight: Tensor) -> str:
    """The name of a weight's number format, as safetensors' headers have it.

    >>> number_format(torch.ones(1)), number_format(torch.ones(1, dtype=torch.complex64))
    ('F32', 'COMPLEX64')
    """
    return FORMATS.get(weight.dtype, str(weight.dtype).removeprefix("torch.").upper())


def read_pickled(file: Path, *, numbers: bool = True) -> dict[str, Tensor]:
    """Every tensor of a .bin file by its name, on the CPU; views of the file where it is a zip.

    numbers: False for shapes alone (their device may be `meta`). Raises CheckpointError in a
    sentence that names the file, when it is damaged, asks for anything but tensors, or claims
    numbers that it does not hold; OSError when it may not be read.
    """
    with file.open("rb") as opened:
        start = opened.read(len(_LFS_START))
    is_zip = start.startswith(_ZIP_START)
    held = _checked_zip(file) if is_zip else file.stat().st_size
    try:
        with warnings.catch_warnings():  # a word on newer pickle protocols, which it can read
            warnings.simplefilter("ignore")
            content = torch.load(
                file,
                map_location="cpu" if is_zip or numbers else "meta",
                weights_only=True,
                mmap=is_zip,
            )
    except Exception as error:  # a damaged pickle fails as whatever its opcodes run into
        if out_of_memory(error):
            raise
        raise CheckpointError(_refusal(file, start, error)) from error
    weights = _named_tensors(file, content)
    _check_claims(file, weights, held)
    return weights


def _checked_zip(file: Path) -> int:
    """How many bytes of numbers a zip holds.

    torch writes without compression; it would unpack a file of a megabyte to any size.
    """
    try:
        with zipfile.ZipFile(file) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"{file} is not whole; download it again.") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise CheckpointError(
            f"{file} is a TorchScript program, which is never run; use a file of weights alone."
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{file} is a compressed archive, not what torch.save writes.")
    size = file.stat().st_size
    if sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f"{file} is not whole: its parts are longer than it is.")
    lists = (entry for entry in entries if entry.filename.endswith("data.pkl"))
    if any(entry.file_size > _MAX_PICKLE_BYTES for entry in lists):
        raise CheckpointError(f"{file} has a list of names that is longer than any model's.")
    return sum(entry.file_size for entry in entries if "/data/" in entry.filename)


def _refusal(file: Path, start: bytes, error: Exception) -> str:
    if start == _LFS_START:
        return f"{file} is only a Git LFS pointer; run `git lfs pull`."
    if asked := _ASKED_FOR.search(str(error)):
        return (
            f"{file} asks for {asked[1][:100]} while it is read, which may run code and is never "
            "done; use the same model in safetensors files."
        )
    return f"{file} is damaged or no file of torch.save's; download it again."


def _named_tensors(file: Path, content: object) -> dict[str, Tensor]:
    """`content` as what it has to be: names and dense tensors, and no other thing."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{file} holds a {type(content).__name__}, not weights by name.")
    weights: dict[str, Tensor] = {}
    for name, weight in content.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise CheckpointError(
                f"{file} holds {str(name)[:100]!r}, a {type(weight).__name__}, where only weights "
                "by name may stand; save the model's state_dict() alone."
            )
        if weight.layout != torch.strided or weight.is_quantized or weight.is_nested:
            raise CheckpointError(
                f"{file} holds {name} as a sparse or quantised tensor, which is not read."
            )
        weights[name] = weight.detach()
    return weights


def _check_claims(file: Path, weights: Mapping[str, Tensor], held: int) -> None:
    """A tensor can be a view that repeats its numbers, or claim more than the file has.

    Tied weights are views of the same numbers, and are right.
    """
    places: dict[int, int] = {}
    for name, weight in weights.items():
        storage = weight.untyped_storage()
        if weight.numel() * weight.element_size() > storage.nbytes():
            raise CheckpointError(
                f"{file} holds {name} as few numbers repeated to {tuple(weight.shape)}; save it "
                "with contiguous()."
            )
        # On `meta` every place is 0: there the largest counts, which an older file has to hold too.
        places[storage.data_ptr()] = max(places.get(storage.data_ptr(), 0), storage.nbytes())
    if sum(places.values()) > held:
        raise CheckpointError(f"{file} is not whole: it holds fewer numbers than it lists.")
