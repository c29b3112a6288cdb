"""The same rows in every form that they are kept in."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

COLOURS = ("red", "green", "blue")
Row = dict[str, Any]


def encoded(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, "PNG")
    return file.getvalue()


def talk(*values: str) -> list[dict[str, str]]:
    roles = ("human", "gpt")
    return [{"from": roles[place % 2], "value": value} for place, value in enumerate(values)]


ROWS: list[Row] = [
    {"id": "one", "image": "red.png", "conversations": talk("<image>\nWhat?", "Red.")},
    {"id": "text", "conversations": talk("Hi", "Hello.", "Sure?", "Yes.")},
    {
        "id": "two",
        "image": ["green.png", "blue.png"],
        "conversations": talk("<image>\nWhat?", "Green.", "And <image>?", "Blue."),
    },
]


def write_tar(path: Path, members: Iterable[tuple[str, bytes | tarfile.TarInfo]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path: Path, rows: list[Row], group_rows: int = 2) -> Path:
    """As `datasets` do it: a picture is its bytes and its path, and no picture is null."""
    import pyarrow
    import pyarrow.parquet

    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    message = pyarrow.struct([("from", pyarrow.string()), ("value", pyarrow.string())])
    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("image", pyarrow.list_(picture)),
            ("conversations", pyarrow.list_(message)),
            ("source", pyarrow.string()),
        ]
    )
    inside = [{**row, "image": pictures_inside(row)} for row in rows]
    table = pyarrow.Table.from_pylist(inside, schema)
    pyarrow.parquet.write_table(table, path, row_group_size=group_rows)
    return path


def pictures_inside(row: Row) -> list[dict[str, Any]] | None:
    names = row.get("image", [])
    names = [names] if isinstance(names, str) else names
    return [{"bytes": encoded(n.removesuffix(".png")), "path": n} for n in names] or None


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """A folder with red.png, green.png and blue.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(encoded(colour))
    return folder


@pytest.fixture
def webdataset() -> list[tuple[str, bytes | tarfile.TarInfo]]:
    """ROWS as the members of a tar."""
    members: list[tuple[str, bytes | tarfile.TarInfo]] = []
    for number, row in enumerate(ROWS):
        key = f"part/{number:06}"
        names = row.get("image", [])
        for place, name in enumerate([names] if isinstance(names, str) else names):
            members.append((f"{key}.{place}.png", encoded(name.removesuffix(".png"))))
        kept = {field: value for field, value in row.items() if field != "image"}
        members.append((f"{key}.json", json.dumps(kept).encode()))
    return members
