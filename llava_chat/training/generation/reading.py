"""Described pictures from files: JSONL of one's own, or COCO's annotation files.

Imports errors, strict JSON and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llava_chat.errors import TrainingDataError, UsageError
from llava_chat.training.data.strict import check_json, parsed
from llava_chat.training.generation.coco import read_coco
from llava_chat.training.generation.pictures import Box, DescribedPicture, four_numbers, one_line


def read_pictures(files: Sequence[Path]) -> list[DescribedPicture]:
    """The pictures of JSONL files, or of COCO's captions and instances files together.

    JSONL: a row `{"id", "image", "captions": [str], "instances"?: [{"category", "bbox"}]}`, with
    boxes in shares of the sides. Raises TrainingDataError naming file, row and field, UsageError
    for files of both kinds at once.
    """
    lines = [file.suffix.lower() in (".jsonl", ".ndjson") for file in files]
    if any(lines) and not all(lines):
        raise UsageError("Give either JSONL files or COCO's annotation files, not both at once.")
    found = read_coco(files) if not all(lines) else [p for file in files for p in _rows(file)]
    by_id: dict[str, DescribedPicture] = {}
    for picture in found:
        if by_id.setdefault(picture.id, picture) is not picture:
            raise TrainingDataError(
                f"The picture {picture.id!r} is described twice; leave one of the two out."
            )
    if not by_id:
        raise TrainingDataError(f"{files[0]}: there is no picture with a caption in it")
    return list(by_id.values())


def _rows(file: Path) -> Iterator[DescribedPicture]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield _picture(line, f"{file}, row {number}")
    except OSError as error:
        raise TrainingDataError(f"{file} cannot be read: {error.strerror}.") from error


def _picture(line: bytes, where: str) -> DescribedPicture:
    row = parsed(line, where)
    check_json(row, where)
    if not isinstance(row, dict):
        raise TrainingDataError(f"{where}: a row must be an object")
    instances = row.get("instances", [])
    if not isinstance(instances, list):
        raise TrainingDataError(f"{where}, instances: it must be a list")
    return DescribedPicture(
        _name(row, "id", where),
        _name(row, "image", where),
        _captions(row.get("captions"), where),
        tuple(_box(each, f"{where}, instances[{n}]") for n, each in enumerate(instances)),
    )


def _name(row: dict[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool) and field == "id":
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise TrainingDataError(f"{where}, {field}: it must be a text that is not empty")
    return value


def _captions(value: Any, where: str) -> tuple[str, ...]:
    usable = isinstance(value, list) and all(isinstance(each, str) for each in value)
    captions = tuple(one_line(each) for each in value if each.strip()) if usable else ()
    if not captions:
        raise TrainingDataError(f"{where}, captions: it must be a list of texts, at least one")
    return captions


def _box(value: Any, where: str) -> Box:
    if not isinstance(value, dict):
        raise TrainingDataError(f"{where}: it must be an object with a category and a bbox")
    corners = four_numbers(value.get("bbox"))
    if corners is None:
        raise TrainingDataError(f"{where}.bbox: it must be four numbers")
    left, top, right, bottom = corners
    if not (0 <= left <= right <= 1 and 0 <= top <= bottom <= 1):
        raise TrainingDataError(
            f"{where}.bbox: it must be left, top, right, bottom in shares of the sides, 0 to 1"
        )
    return Box(one_line(_name(value, "category", where)), corners)
