"""COCO's own annotation files (captions_*.json and instances_*.json) as described pictures.

Format: <https://cocodataset.org/#format-data>. Boxes there are `[x, y, width, height]` in pixels.
Imports errors and the pictures beside it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llava_chat.errors import TrainingDataError
from llava_chat.training.generation.pictures import Box, DescribedPicture, four_numbers, one_line

MOST_PIXELS = 2**31  # of a side: no picture has more
_LARGE = frozenset({"segmentation", "licenses", "info"})


def read_coco(files: Sequence[Path]) -> list[DescribedPicture]:
    """Every picture that has a caption, in the files' order, with the boxes of single things.

    A box around a crowd (`iscrowd`) would read as one thing, and is left out. Raises
    TrainingDataError naming file, row and field.
    """
    images: dict[int, tuple[str, int, int]] = {}
    captions: defaultdict[int, list[str]] = defaultdict(list)
    boxes: defaultdict[int, list[Box]] = defaultdict(list)
    for file in files:
        whole = _loaded(file)
        for number, image in enumerate(_list(whole, "images", file)):
            _take_image(images, image, f"{file}, images[{number}]")
        names = _category_names(whole, file)
        for number, each in enumerate(_list(whole, "annotations", file)):
            where = f"{file}, annotations[{number}]"
            of = each.get("image_id")
            if not isinstance(of, int) or of not in images:
                raise TrainingDataError(f"{where}.image_id: there is no image {of!r} in the file")
            if "caption" in each:
                captions[of] += _caption(each["caption"], where)
            elif "bbox" not in each:
                raise TrainingDataError(f"{where}: it has neither a caption nor a bbox")
            elif not each.get("iscrowd"):
                boxes[of].append(_box(each, names, images[of], where))
    return [
        DescribedPicture(Path(name).stem, name, tuple(captions[number]), tuple(boxes[number]))
        for number, (name, _, _) in images.items()
        if captions[number]
    ]


def _loaded(file: Path) -> dict[str, Any]:
    try:
        # Outlines are nine tenths of an instances file: each is let go as soon as it is read.
        whole = json.loads(file.read_bytes(), object_hook=_without_outlines)
    except OSError as error:
        raise TrainingDataError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise TrainingDataError(f"{file}: {error}") from None
    if not isinstance(whole, dict):
        raise TrainingDataError(
            f"{file}: it is no annotation file of COCO's; rows of one's own go into a .jsonl file"
        )
    return whole


def _without_outlines(read: dict[str, Any]) -> dict[str, Any]:
    for name in _LARGE & read.keys():
        del read[name]
    return read


def _list(whole: Mapping[str, Any], field: str, file: Path) -> list[dict[str, Any]]:
    rows = whole.get(field)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TrainingDataError(f"{file}, {field}: it must be a list of objects, as COCO has it")
    return rows


def _take_image(
    images: dict[int, tuple[str, int, int]], image: Mapping[str, Any], where: str
) -> None:
    number, name = image.get("id"), image.get("file_name")
    if (
        not isinstance(number, int)
        or not isinstance(name, str)
        or name != one_line(name)
        or not name
    ):
        raise TrainingDataError(f"{where}: it needs a number in id and a name in file_name")
    wide, high = image.get("width"), image.get("height")
    if not (
        isinstance(wide, int)
        and isinstance(high, int)
        and 1 <= min(wide, high) <= max(wide, high) <= MOST_PIXELS
    ):
        raise TrainingDataError(f"{where}: it needs its width and height in pixels")
    if images.setdefault(number, (name, wide, high)) != (name, wide, high):
        raise TrainingDataError(
            f"{where}: image {number} is another one in an earlier file; give files of one split"
        )


def _category_names(whole: Mapping[str, Any], file: Path) -> dict[int, str]:
    if "categories" not in whole:
        return {}
    return {
        row["id"]: one_line(row["name"])
        for row in _list(whole, "categories", file)
        if isinstance(row.get("id"), int) and isinstance(row.get("name"), str)
    }


def _caption(value: Any, where: str) -> list[str]:
    if not isinstance(value, str):
        raise TrainingDataError(f"{where}.caption: it must be a text")
    return [one_line(value)] if value.strip() else []


def _box(
    row: Mapping[str, Any], names: Mapping[int, str], image: tuple[str, int, int], where: str
) -> Box:
    category, numbers = row.get("category_id"), four_numbers(row["bbox"])
    if not isinstance(category, int) or category not in names:
        raise TrainingDataError(f"{where}.category_id: the file has no such category")
    if numbers is None:
        raise TrainingDataError(f"{where}.bbox: it must be four numbers, [x, y, width, height]")
    x, y, wide, high = numbers
    if wide < 0 or high < 0:
        raise TrainingDataError(f"{where}.bbox: it must be [x, y, width, height] in pixels")
    _, across, down = image
    left, right = _share(x, across), _share(x + wide, across)
    return Box(names[category], (left, _share(y, down), right, _share(y + high, down)))


def _share(pixels: float, side: int) -> float:
    """Some of COCO's boxes end a fraction of a pixel outside.

    >>> _share(320, 640), _share(640.2, 640)
    (0.5, 1.0)
    """
    return min(max(pixels / side, 0.0), 1.0)
