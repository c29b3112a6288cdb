"""Weights on disk: which files hold them, what their headers say, reading and writing them.

Only safetensors: a pickle can run code while it is read. Imports torch, safetensors and errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llava_chat.errors import CheckpointError
from llava_chat.progress import Report

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
SHARD_PATTERN = "model-*.safetensors"

_SHOWN_NAMES = 3

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of the number formats that weights are read from, by their name in a header."""


@dataclass(frozen=True)
class WeightHeader:
    """What a file says of one weight before it is read. name: in the file."""

    name: str
    file: Path
    shape: tuple[int, ...]
    number_format: str

    @property
    def stored_bytes(self) -> int:
        """How much of the file it takes."""
        return self.count * FLOAT_BYTES.get(self.number_format, 1)

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return torch.Size(self.shape).numel()


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
    """The safetensors files of a checkpoint. Raises CheckpointError when one is not there."""
    index = folder / INDEX_NAME
    if index.is_file():
        names = _index_names(index)
    elif (folder / SINGLE_NAME).is_file():
        names = [SINGLE_NAME]
    else:
        raise CheckpointError(_no_weights(folder))
    # Path.is_file raises for a name that is too long for any file.
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {briefly(missing)}, which its {INDEX_NAME} names; download it again."
        )
    return tuple(folder / name for name in names)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a whole model's weights, by the names of its files."""
    return any((folder / name).is_file() for name in (INDEX_NAME, SINGLE_NAME))


def _index_names(index: Path) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or "\\" in name:
            raise CheckpointError(f"{index} names {name!r}, which lies outside its folder.")
        if not name.endswith(".safetensors"):
            raise CheckpointError(f"{index} names {name!r}; only safetensors files are read.")
    return names


def _no_weights(folder: Path) -> str:
    if list(folder.glob(SHARD_PATTERN)):
        return f"{folder} holds shards but no {INDEX_NAME}; it was not saved or copied completely."
    if [*folder.glob("*.bin"), *folder.glob("*.pth")]:
        return (
            f"{folder} holds its weights as pickles (.bin), which can run code; only safetensors "
            "files are read: convert it with transformers' save_pretrained."
        )
    return (
        f"{folder} holds neither {SINGLE_NAME} nor {INDEX_NAME}; weights in other files (.bin) are "
        "not read: convert them with transformers' save_pretrained."
    )


def read_headers(files: Iterable[Path]) -> dict[str, WeightHeader]:
    """Every weight of the files by its name there, without reading the numbers.

    Raises CheckpointError for a file that is damaged or may not be read, or a name that stands in
    two.
    """
    headers: dict[str, WeightHeader] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                    part = opened.get_slice(name)
                    if name in headers:
                        raise CheckpointError(f"{file} holds {name} a second time.")
                    shape = tuple(part.get_shape())
                    headers[name] = WeightHeader(name, file, shape, part.get_dtype())
        except SafetensorError as error:
            raise CheckpointError(_damaged(file, error)) from error
        except OSError as error:
            reason = error.strerror or one_line(error)
            raise CheckpointError(f"{file} cannot be read: {reason}.") from error
    return headers


def _damaged(file: Path, error: Exception) -> str:
    with suppress(OSError), file.open("rb") as opened:
        if opened.read(24).startswith(b"version https://git-lfs"):
            return f"{file} is only a Git LFS pointer; run `git lfs pull`."
    return f"{file} is damaged or no safetensors file ({error}); download it again."


def read_weights(
    headers: Mapping[str, WeightHeader],
    *,
    device: Callable[[str], torch.device],
    dtype: torch.dtype | None,
    report: Report | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """(key, weight) for every header, one at a time, converted on its way; None leaves its dtype.

    device: where the weight of a name goes, which also converts it. Raises CheckpointError when a
    weight has an infinite number or one that is not a number.
    """
    for file in dict.fromkeys(header.file for header in headers.values()):
        with safe_open(file, framework="pt") as opened:
            for key, header in headers.items():
                if header.file == file:
                    weight = opened.get_tensor(header.name).to(device(key))
                    weight = weight if dtype is None else weight.to(dtype)
                    check_finite(header.name, weight)
                    yield key, weight


def check_finite(name: str, weight: Tensor) -> None:
    """Raise CheckpointError when a weight holds an infinity or a NaN."""
    low, high = weight.aminmax()  # one pass, no copy; a NaN comes out of both
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        kind = str(weight.dtype).removeprefix("torch.")
        raise CheckpointError(f"The weight {name} has numbers that are not finite in {kind}.")


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
        save_file(shard, path, metadata={"format": "pt"})
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
