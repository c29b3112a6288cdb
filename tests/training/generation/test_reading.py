"""Captions and boxes from JSONL and from COCO's own files, and how they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llava_chat.errors import LlavaChatError, TrainingDataError, UsageError
from llava_chat.training.generation.pictures import DescribedPicture
from llava_chat.training.generation.reading import read_pictures
from tests.training.generation.conftest import MADE_UP

SIDES = (640, 480)


def as_coco(folder: Path, pictures: list[DescribedPicture]) -> list[Path]:
    """The same pictures in COCO's format, as two files."""
    wide, high = SIDES
    images = [
        {"id": number, "file_name": each.image, "width": wide, "height": high}
        for number, each in enumerate(pictures)
    ]
    names = sorted({box.category for each in pictures for box in each.boxes})
    boxes: list[dict[str, Any]] = []
    for number, each in enumerate(pictures):
        for box in each.boxes:
            left, top, right, bottom = box.corners
            boxes.append(
                {
                    "image_id": number,
                    "category_id": names.index(box.category) + 1,
                    "iscrowd": 0,
                    "segmentation": [[1.0, 2.0, 3.0]],
                    "bbox": [
                        left * wide, top * high, (right - left) * wide, (bottom - top) * high
                    ],
                }
            )  # fmt: skip
    crowd = {"image_id": 0, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9]}
    captions = [
        {"image_id": number, "caption": f"{caption}\n"}
        for number, each in enumerate(pictures)
        for caption in each.captions
    ]
    images.append({"id": 999, "file_name": "unsaid.jpg", "width": 1, "height": 1})
    categories = [{"id": place, "name": name} for place, name in enumerate(names, 1)]
    written = {
        "captions.json": {"images": images, "annotations": captions},
        "instances.json": {
            "images": images, "annotations": [*boxes, crowd], "categories": categories,
        },
    }  # fmt: skip
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    return [folder / name for name in written]


def test_the_context_of_a_picture() -> None:
    chess = read_pictures([MADE_UP])[1]
    assert chess.context == (
        "Two old men play chess in a park.\n"
        "A chess board on a stone table under a tree.\n"
        "Men sit across from each other at a table with a game of chess.\n"
        "\n"
        "person: [0.08, 0.231, 0.377, 0.925]\n"
        "person: [0.61, 0.244, 0.93, 0.941]\n"
        "bench: [0.04, 0.588, 0.402, 0.964]"
    )


def test_every_row_is_read(described: Path) -> None:
    rows = [json.loads(line) for line in described.read_text().splitlines()]
    pictures = read_pictures([described])
    assert [each.id for each in pictures] == [row["id"] for row in rows]
    for picture, row in zip(pictures, rows, strict=True):
        captions, _, boxes = picture.context.partition("\n\n")
        assert captions.splitlines() == row["captions"]
        assert [line.partition(": ")[0] for line in boxes.splitlines()] == [
            each["category"] for each in row["instances"]
        ]
        assert [json.loads(line.partition(": ")[2]) for line in boxes.splitlines()] == [
            each["bbox"] for each in row["instances"]
        ]


def test_cocos_own_files_give_the_same_contexts(described: Path, tmp_path: Path) -> None:
    pictures = read_pictures([described])
    from_coco = read_pictures(as_coco(tmp_path, pictures))
    assert [each.context for each in from_coco] == [each.context for each in pictures]
    assert [each.image for each in from_coco] == [each.image for each in pictures]


def test_captions_alone_are_enough(tmp_path: Path) -> None:
    captions, _ = as_coco(tmp_path, read_pictures([MADE_UP]))
    assert not any(each.boxes for each in read_pictures([captions]))


def row(**changes: object) -> str:
    whole = {"id": "1", "image": "1.jpg", "captions": ["A cat."], "instances": []} | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None})


def box(*corners: object, category: object = "cat") -> list[object]:
    return [{"category": category, "bbox": list(corners)}]


WRONG_ROWS = {
    "no JSON": ("{", "row 0: "),
    "a list": ("[]", "row 0: a row must be an object"),
    "a key twice": ('{"id": "1", "id": "2"}', "the key 'id' stands twice"),
    "NaN": (row(id="1").replace('"1"', "NaN", 1), "nan is no JSON number"),
    "half a character": (row(captions=["\ud800"]), "captions\\[0\\]: it holds half a character"),
    "no id": (row(id=None), "row 0, id: it must be a text"),
    "no image": (row(image=""), "row 0, image: it must be a text"),
    "no captions": (row(captions=[" "]), "row 0, captions: it must be a list of texts"),
    "a number for a caption": (row(captions=[1]), "row 0, captions"),
    "boxes that are none": (row(instances={}), "row 0, instances: it must be a list"),
    "a box that is none": (row(instances=[1]), "instances\\[0\\]: it must be an object"),
    "three corners": (row(instances=box(0, 0, 1)), "instances\\[0\\].bbox: it must be four"),
    "no number at all": (row(instances=box(0, 0, 1, 10**400)), "bbox: it must be four numbers"),
    "a flag": (row(instances=box(0, 0, 1, True)), "bbox: it must be four numbers"),
    "pixels": (row(instances=box(0, 0, 64, 48)), "in shares of the sides, 0 to 1"),
    "turned around": (row(instances=box(0.5, 0, 0.1, 1)), "left, top, right, bottom"),
    "no category": (row(instances=box(0, 0, 1, 1, category=" ")), "category: it must be a text"),
    "the same twice": (f"{row()}\n{row()}", "'1' is described twice"),
    "nothing": ("\n", "no picture with a caption"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG_ROWS.values(), ids=WRONG_ROWS.keys())
def test_a_row_that_is_wrong_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(TrainingDataError, match=sentence):
        read_pictures([file])


def test_a_row_that_has_an_id_of_digits_and_no_boxes(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(row(id=7, instances=None, captions=["A cat\non a mat."]))
    (picture,) = read_pictures([file])
    assert (picture.id, picture.context) == ("7", "A cat on a mat.")


IMAGE = {"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}
CAPTION = {"image_id": 1, "caption": "A cat."}
BOX = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5]}
CATEGORIES = [{"id": 3, "name": "cat"}]
WRONG_FILES: dict[str, tuple[object, str]] = {
    "a list": ([], "no annotation file of COCO's"),
    "no images": ({"annotations": []}, "images: it must be a list"),
    "no size": ({"images": [IMAGE | {"width": 0}], "annotations": []}, "images\\[0\\]: .*width"),
    "no size at all": ({"images": [IMAGE | {"width": 10**400}], "annotations": []}, ".*width"),
    "no name": ({"images": [IMAGE | {"file_name": " "}], "annotations": []}, "file_name"),
    "half a name": ({"images": [IMAGE | {"file_name": "\ud800"}], "annotations": []}, "file_name"),
    "another image": ({"images": [], "annotations": [CAPTION]}, "image_id: there is no image 1"),
    "a list for an image": (
        {"images": [IMAGE], "annotations": [CAPTION | {"image_id": [1]}]}, "there is no image \\[1",
    ),
    "the same number": (
        {"images": [IMAGE, IMAGE | {"file_name": "b.jpg"}], "annotations": []}, "another one",
    ),
    "neither": ({"images": [IMAGE], "annotations": [{"image_id": 1}]}, "neither a caption nor"),
    "no text": ({"images": [IMAGE], "annotations": [CAPTION | {"caption": 1}]}, "a text"),
    "no category": ({"images": [IMAGE], "annotations": [BOX]}, "no such category"),
    "a list for a category": (
        {"images": [IMAGE], "categories": CATEGORIES, "annotations": [BOX | {"category_id": [3]}]},
        "no such category",
    ),
    "no number at all": (
        {"images": [IMAGE], "categories": CATEGORIES,
         "annotations": [BOX | {"bbox": [10**400, 0, 1, 1]}]},
        "annotations\\[0\\].bbox: it must be four numbers",
    ),
    "three numbers": (
        {"images": [IMAGE], "categories": CATEGORIES, "annotations": [BOX | {"bbox": [1, 2, 3]}]},
        "annotations\\[0\\].bbox: it must be four numbers",
    ),
    "less than nothing": (
        {"images": [IMAGE], "categories": CATEGORIES, 
         "annotations": [BOX | {"bbox": [1, 2, -3, 1]}]},
        "in pixels",
    ),
    "no captions": ({"images": [IMAGE], "annotations": []}, "no picture with a caption"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_file_of_cocos_that_is_wrong(content: object, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "captions.json"
    file.write_text(json.dumps(content))
    with pytest.raises(TrainingDataError, match=sentence):
        read_pictures([file])


@pytest.mark.parametrize(
    ("files", "kind", "sentence"),
    [
        (["there is none.json"], TrainingDataError, "cannot be read"),
        (["there is none.jsonl"], TrainingDataError, "cannot be read"),
        (["a.json", "b.jsonl"], UsageError, "not both at once"),
    ],
)
def test_files_that_cannot_be_read(
    files: list[str], kind: type[LlavaChatError], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=sentence):
        read_pictures([tmp_path / name for name in files])
