"""Weights on disk: which files hold them, what their headers say, reading and writing them.

safetensors, or .bin files where there are none (pickled.py says how they are read safely). Imports
torch, safetensors, the modules beside it, progress and errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import PICKLED, SAFETENSORS, WeightNames
from llava_chat.model.pickled import number_format, read_pickled
from llava_chat.progress import Progress, Report

INDEX_NAME = SAFETENSORS.index
SINGLE_NAME = SAFETENSORS.single
SHARD_PATTERN = SAFETENSORS.shards

_SHOWN_NAMES = 3

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of the number formats that weights are read from, by their name in a header."""


@dataclass(frozen=True)
class WeightHeader:
    """What a file says of one weight before it is read. name: the one that it has there."""

    file: Path
    name: str
    shape: tuple[int, ...]
    number_format: str

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return torch.Size(self.shape).numel()

    @property
    def stored_bytes(self) -> int:
        """How long it is in the file; 1 byte a number where the format is not one that is read."""
        return self.count * FLOAT_BYTES.get(self.number_format, 1)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} holds no {path.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return content


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files of a model's weights, safetensors where there are any, else .bin.

    A link is followed, as those of huggingface_hub's cache have to be; what is no regular file is
    not there. Raises CheckpointError when one is not there.
    """
    for kind in (SAFETENSORS, PICKLED):
        index = folder / kind.index
        if index.is_file():
            names = _index_names(index, kind)
        elif (folder / kind.single).is_file():
            names = [kind.single]
        else:
            continue
        # Path.is_file raises for a name that is too long for any file.
        missing = [name for name in names if not os.path.isfile(folder / name)]
        if missing:
            raise CheckpointError(
                f"{folder} lacks {briefly(missing)}, which its {kind.index} names; download it "
                "again."
            )
        return tuple(folder / name for name in names)
    raise CheckpointError(_no_weights(folder))


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a whole model's weights, by the names of its files."""
    return any(
        (folder / name).is_file()
        for kind in (SAFETENSORS, PICKLED)
        for name in (kind.index, kind.single)
    )


def _index_names(index: Path, kind: WeightNames) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or "\\" in name:
            raise CheckpointError(f"{index} names {name!r}, which lies outside its folder.")
        if not name.endswith(kind.suffix):
            raise CheckpointError(f"{index} names {name!r}, which is no {kind.suffix} file.")
    return names


def _no_weights(folder: Path) -> str:
    for kind in (SAFETENSORS, PICKLED):
        if list(folder.glob(kind.shards)):
            return (
                f"{folder} holds shards but no {kind.index}; it was not saved or copied completely."
            )
    single, indexed = f"{SINGLE_NAME} nor {PICKLED.single}", f"{INDEX_NAME}, {PICKLED.index}"
    return (
        f"{folder} holds neither {single}, nor shards and their {indexed}; weights in other files "
        "are not read: convert them with transformers' save_pretrained."
    )


def read_headers(files: Iterable[Path]) -> dict[str, WeightHeader]:
    """Every weight of the files by its name there, without reading the numbers.

    A name that ends in .safetensors is of that format, every other file is a .bin one. Raises
    CheckpointError for a file that is damaged or may not be read, or a name that stands in two.
    """
    headers: dict[str, WeightHeader] = {}
    for file in files:
        for header in _file_headers(file):
            if header.name in headers:
                raise CheckpointError(f"{file} holds {header.name} a second time.")
            headers[header.name] = header
    return headers


def _file_headers(file: Path) -> list[WeightHeader]:
    with _refused(file):
        if file.suffix != SAFETENSORS.suffix:
            return [
                WeightHeader(file, name, tuple(weight.shape), number_format(weight))
                for name, weight in read_pickled(file, numbers=False).items()
            ]
        with safe_open(file, framework="pt") as opened:
            parts = [(name, opened.get_slice(name)) for name in opened.keys()]  # noqa: SIM118
            return [
                WeightHeader(file, name, tuple(part.get_shape()), part.get_dtype())
                for name, part in parts
            ]


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Say in a sentence why a file cannot be read."""
    try:
        yield
    except SafetensorError as error:
        raise CheckpointError(_damaged(file, error)) from error
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise CheckpointError(f"{file} cannot be read: {reason}.") from error


def _damaged(file: Path, error: Exception) -> str:
    with suppress(OSError), file.open("rb") as opened:
        if opened.read(24).startswith(b"version https://git-lfs"):
            return f"{file} is only a Git LFS pointer; run `git lfs pull`."
    return f"{file} is damaged or no safetensors file ({error}); download it again."


def read_weights(
    headers: Mapping[str, WeightHeader],
    *,
    device: torch.device | Callable[[str], torch.device],
    dtype: torch.dtype | None,
    report: Report | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """(key in `headers`, weight) for every header, one at a time, converted on its way.

    device: where they go, or where the weight of a key goes. dtype: None leaves its own.
    report: is told how many bytes of the files were read, after every weight. Raises
    CheckpointError when a weight has an infinite number or one that is not a number, or its file
    can no longer be read.
    """
    total = sum(header.stored_bytes for header in headers.values())
    done = 0
    place = device if callable(device) else lambda _: device
    files = [*dict.fromkeys(header.file for header in headers.values())]
    for number, file in enumerate(files, 1):
        of_several = f", file {number} of {len(files)}" if len(files) > 1 else ""
        wanted = {key: header for key, header in headers.items() if header.file == file}
        for key, weight in _file_weights(file, wanted, place, dtype):
            check_finite(headers[key].name, weight, file)
            yield key, weight
            done += headers[key].stored_bytes
            if report is not None:
                report(Progress(f"reading the weights{of_several}", done, total, "bytes"))


def _file_weights(
    file: Path,
    wanted: Mapping[str, WeightHeader],
    device: Callable[[str], torch.device],
    dtype: torch.dtype | None,
) -> Iterator[tuple[str, Tensor]]:
    with _refused(file):
        if file.suffix != SAFETENSORS.suffix:
            held = read_pickled(file)
            for key, header in wanted.items():
                # A copy: two names may stand for the same numbers, and the file may be changed.
                weight = held[header.name]
                yield key, weight.to(device(key), dtype or weight.dtype, copy=True).contiguous()
            return
        with safe_open(file, framework="pt") as opened:
            for key, header in wanted.items():
                weight = opened.get_tensor(header.name).to(device(key))
                yield key, weight if dtype is None else weight.to(dtype)


def check_finite(name: str, weight: Tensor, file: Path | None = None) -> None:
    """Raise CheckpointError when a weight holds an infinity or a NaN. file: where it was read."""
    if not weight.numel():
        return
    low, high = weight.aminmax()  # one pass, no copy; a NaN comes out of both
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        kind = str(weight.dtype).removeprefix("torch.")
        place = "" if file is None else f", in {file}"
        raise CheckpointError(
            f"The weight {name} has numbers that are not finite in {kind}{place}."
        )


def write_weights(
    weights: Iterable[tuple[str, Tensor]], folder: Path, *, max_shard_bytes: int
) -> tuple[str, ...]:
    """Write one file, or shards of at most `max_shard_bytes` and their index; return the names.

    A single weight larger than that gets a shard of its own. Only one shard is in memory at a time.
    """
    shards: list[Path] = []
    weight_map: dict[str, Path] = {}
    total = 0
    for number, shard in enumerate(_shards(weights, max_shard_bytes)):
        path = folder / f"shard-{number}"
        path.touch()
        mode = path.stat().st_mode  # as the umask has it; safetensors lets nobody else read
        save_file(shard, path, metadata={"format": "pt"})
        path.chmod(mode)
        shards.append(path)
        weight_map |= dict.fromkeys(shard, path)
        total += sum(weight.nbytes for weight in shard.values())
    if len(shards) == 1:
        shards[0].rename(folder / SINGLE_NAME)
        return (SINGLE_NAME,)
    names = {
        path: f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        for number, path in enumerate(shards, 1)
    }
    for path, name in names.items():
        path.rename(folder / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: names[path] for name, path in weight_map.items()},
    }
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return (*names.values(), INDEX_NAME)


def _shards(
    weights: Iterable[tuple[str, Tensor]], max_shard_bytes: int
) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    held = 0
    for name, weight in weights:
        if shard and held + weight.nbytes > max_shard_bytes:
            yield shard
            shard, held = {}, 0
        shard[name] = weight
        held += weight.nbytes
    yield shard


def one_line(error: Exception) -> str:
    """The beginning of what an exception of another library says, for the end of a sentence."""
    return " ".join(str(error).split())[:200]


def briefly(names: Iterable[str]) -> str:
    """The first names, and how many more there are.

    >>> briefly(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - _SHOWN_NAMES} more" if len(listed) > _SHOWN_NAMES else ""
    return ", ".join(listed[:_SHOWN_NAMES]) + more
