"""From the name of a model to the folder that holds it.

Nothing is downloaded unless a Hub id was given, and only then huggingface_hub is imported. Imports
`hub`, `file_names`, progress and errors, and where the assets are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llava_chat import ASSETS
from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import COMPANIONS, WEIGHTS, is_one_of
from llava_chat.model.hub import HubModel, cached_snapshot, hub_outline, hub_snapshot
from llava_chat.progress import Report

BUNDLED_NAME = "scenes"
BUNDLED_FOLDER = ASSETS / BUNDLED_NAME

_NAME = r"[A-Za-z0-9][\w.-]*"
HUB_ID = re.compile(f"{_NAME}/{_NAME}(@{_NAME}(/{_NAME})*)?")

WHOLE_BYTES = 2**30
"""Weights of at most so many bytes are read whole for their fingerprint: about a second."""

_CHUNK_BYTES = 2**20
_SAMPLE_BYTES = 2**14
# At the end of a .bin file, a zip, stands a checksum of each of its parts: some 80 bytes a weight.
_ZIP_END_BYTES = 2**18
_MAX_HEADER_BYTES = 100_000_000  # the safetensors library refuses longer ones


@dataclass(frozen=True)
class Located:
    """A checkpoint's folder, the name to show for it, and what tells its versions apart.

    from_hub: it was found by its Hub id. lacking_bytes: of its weights, when only what is beside
    them was asked for.
    """

    folder: Path
    id: str
    revision: str
    from_hub: bool = False
    lacking_bytes: int = 0


def locate(
    name: str, *, download: bool = True, outline: bool = False, report: Report | None = None
) -> Located:
    """Find `scenes`, a folder, or a Hub id, which is downloaded when `download` allows it.

    A Hub id is `owner/name` or `owner/name@revision`. outline: of one that is not here, what is
    beside the weights will do. report: is told how much of a download is here. Raises
    CheckpointError when there is no such model, or it may not be read.
    """
    try:
        return _located(name, download, outline, report)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or name} cannot be read: {error.strerror or error}."
        ) from error


def is_hub_id(name: str) -> bool:
    """Whether the name is one of the Hub's, and of nothing that is here under it.

    >>> is_hub_id("llava-hf/llava-1.5-7b-hf"), is_hub_id("scenes"), is_hub_id("/models/mine")
    (True, False, False)
    """
    return bool(HUB_ID.fullmatch(name)) and not Path(name).exists()


def _located(name: str, download: bool, outline: bool, report: Report | None) -> Located:
    if name == BUNDLED_NAME:
        if not BUNDLED_FOLDER.is_dir():
            raise CheckpointError(
                f"The bundled model is not in {BUNDLED_FOLDER}; make it with "
                "`python -m llava_chat train scenes`, or name another model."
            )
        return Located(BUNDLED_FOLDER, BUNDLED_NAME, fingerprint(BUNDLED_FOLDER))
    folder = Path(os.path.expanduser(name))  # Path's own raises for the ~name of nobody
    if folder.is_dir():
        return Located(folder, folder.resolve().name, fingerprint(folder))
    if folder.exists():
        raise CheckpointError(f"{name} is a file; name the folder of the checkpoint.")
    if not HUB_ID.fullmatch(name):
        raise CheckpointError(
            f"There is no folder {name}; name `{BUNDLED_NAME}`, a folder, or a Hub id such as "
            "llava-hf/llava-1.5-7b-hf."
        )
    model = HubModel.named(name)
    if outline and cached_snapshot(model) is None:
        folder, lacking = hub_outline(model)
        return Located(folder, model.id, folder.name, from_hub=True, lacking_bytes=lacking)
    snapshot = hub_snapshot(model, download=download, report=report)
    return Located(snapshot, model.id, snapshot.name, from_hub=True)


def fingerprint(folder: Path) -> str:
    """12 hex digits that change with whatever a folder's model is made of.

    Weights of up to WHOLE_BYTES are read whole. Of larger ones, that would take too long; there
    the headers are read, and the beginning, middle and end of every tensor: weights that were
    trained further differ everywhere, and a table of words that was extended does at its end. Of a
    .bin file, its beginning, middle and end, where its checksums are. Raises OSError when a file
    may not be read.
    """
    there = sorted(path for path in folder.iterdir() if path.is_file())
    weights = [path for path in there if is_one_of(path.name, WEIGHTS)]
    others = [path for path in there if is_one_of(path.name, (*COMPANIONS, "*.index.json"))]
    whole = sum(path.stat().st_size for path in weights) <= WHOLE_BYTES
    digest = hashlib.sha256()
    for path in (*others, *weights):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as opened:
            for start, end in [(0, size)] if whole or path in others else _samples(opened, size):
                opened.seek(start)
                while chunk := opened.read(min(_CHUNK_BYTES, end - opened.tell())):
                    digest.update(chunk)
    return digest.hexdigest()[:12]


def _samples(opened: BinaryIO, size: int) -> list[tuple[int, int]]:
    """(start, end) of what is read of a large file of weights."""
    if str(opened.name).endswith(".safetensors"):
        return _tensor_samples(opened, size)
    starts = (0, size // 2, max(size - _ZIP_END_BYTES, 0))
    return [(start, min(start + _ZIP_END_BYTES, size)) for start in starts]


def _tensor_samples(opened: BinaryIO, size: int) -> list[tuple[int, int]]:
    """(start, end) of what is read of a large safetensors file, in the order of their place.

    Layout: 8 bytes with the header's length, the header in JSON, the tensors
    (https://huggingface.co/docs/safetensors). Nothing of a damaged one, which is refused anyway.
    """
    data = 8 + int.from_bytes(opened.read(8), "little")
    try:
        header = json.loads(opened.read(min(data - 8, _MAX_HEADER_BYTES)))
        header.pop("__metadata__", None)
        spans = sorted(entry["data_offsets"] for entry in header.values())
        samples = [(0, data)]
        for first, last in spans:
            if {type(first), type(last)} != {int} or not 0 <= first <= last <= size:
                return []
            middle = (first + last - _SAMPLE_BYTES) // 2
            for start in (first, max(first, middle), max(first, last - _SAMPLE_BYTES)):
                samples.append((data + start, data + min(start + _SAMPLE_BYTES, last)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return []
    return samples
