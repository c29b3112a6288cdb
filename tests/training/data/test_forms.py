"""Rows from JSON, JSONL, Parquet, tars and folders of them: the same conversations from each."""

import base64
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from llava_chat.conversation import Conversation
from llava_chat.errors import BrokenSampleError, TrainingDataError, UsageError
from llava_chat.training.data import RowProblem, Rows, open_rows, strict
from llava_chat.training.stream import batches
from tests.training.data.conftest import (
    COLOURS,
    ROWS,
    encoded,
    pictures_inside,
    talk,
    write_parquet,
    write_tar,
)

Members = list[tuple[str, bytes | tarfile.TarInfo]]


def said(conversation: Conversation) -> list[tuple[str, list[Any]]]:
    return [
        (turn.text, [each.rgb().getpixel((0, 0)) for each in turn.images])
        for turn in conversation.turns
    ]


RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
SAID = [
    [("What?", [RED]), ("Red.", [])],
    [("Hi", []), ("Hello.", []), ("Sure?", []), ("Yes.", [])],
    [("What?", [GREEN]), ("Green.", []), ("And ?", [BLUE]), ("Blue.", [])],
]


def write(form: str, folder: Path, picture_folder: Path, webdataset: Members) -> Rows:
    folder.mkdir()
    match form:
        case "json":
            (folder / "a.json").write_text(json.dumps(ROWS, indent=1))
            return open_rows(folder / "a.json", picture_folder)
        case "jsonl":
            (folder / "a.jsonl").write_text("\n\n".join(map(json.dumps, ROWS)))
            return open_rows(folder / "a.jsonl", picture_folder)
        case "parquet":
            return open_rows(write_parquet(folder / "a.parquet", ROWS))
        case "webdataset":
            return open_rows(write_tar(folder / "a.tar", webdataset))
        case "json, pictures in tars":
            for colour in COLOURS:
                write_tar(folder / f"{colour}.tar", [(f"{colour}.png", encoded(colour))])
            (folder.parent / "a.json").write_text(json.dumps(ROWS))
            return open_rows(folder.parent / "a.json", folder)
        case "json, pictures in it":
            inside = [{**row, "image": pictures_inside(row)} for row in ROWS]
            in_base64 = json.dumps(inside, default=lambda b: base64.b64encode(b).decode())
            (folder / "a.json").write_text(in_base64)
            return open_rows(folder / "a.json")
        case _:
            (folder / "1.json").write_text(json.dumps(ROWS[:1]))
            (folder / "2.JSONL").write_text("\n".join(map(json.dumps, ROWS[1:2])))
            write_parquet(folder / "3.parquet", ROWS[2:])
            (folder / "README.md").write_text("no rows")
            return open_rows(folder, picture_folder)


FORMS = ("json", "jsonl", "parquet", "webdataset", "json, pictures in tars",
         "json, pictures in it", "a folder")  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same(
    form: str, tmp_path: Path, picture_folder: Path, webdataset: Members
) -> None:
    rows = write(form, tmp_path / "a", picture_folder, webdataset)
    assert len(rows) == 3
    assert [said(rows.conversation(number)) for number in (2, 0, 1)] == [
        SAID[2],
        SAID[0],
        SAID[1],
    ]
    ids = [rows.instruction(number).id for number in range(3)]
    assert ids == ["one", "text", "two"]
    again = write(form, tmp_path / "b", picture_folder, webdataset)
    assert rows.fingerprint == again.fingerprint
    with pytest.raises(IndexError):
        rows.where(3)


def test_a_fingerprint_is_of_the_content(tmp_path: Path, webdataset: Members) -> None:
    changed = json.loads(json.dumps(ROWS).replace("Hello", "Hullo"))
    prints = set()
    for rows in (ROWS, changed):
        (tmp_path / "a.json").write_text(json.dumps(rows))
        prints |= {open_rows(tmp_path / "a.json").fingerprint}
        prints |= {open_rows(write_parquet(tmp_path / "a.parquet", rows)).fingerprint}
    prints |= {open_rows(tmp_path).fingerprint}
    prints |= {open_rows(write_parquet(tmp_path / "a.parquet", changed, 3)).fingerprint}
    prints |= {open_rows(write_tar(tmp_path / "a.tar", webdataset)).fingerprint}
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole.replace(b'"Hi"', b'"Ho"'))
    prints |= {open_rows(tmp_path / "a.tar").fingerprint}
    assert len(prints) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, which is Linux's alone")
@pytest.mark.parametrize("form", ["json", "parquet", "webdataset"])
def test_workers_read_side_by_side(
    form: str, tmp_path: Path, picture_folder: Path, webdataset: Members
) -> None:
    rows = write(form, tmp_path / "a", picture_folder, webdataset)
    rows.conversation(0)  # what this process has opened is not shared with the workers
    made = batches(
        lambda number: said(rows.conversation(number % 3)), list, batch_size=3, workers=2
    )
    assert [next(made) for _ in range(4)] == [SAID] * 4


def test_captions_of_a_tar(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "a.tar",
        [
            ("./1.jpg", encoded("red")),
            ("./1.txt", b" A red one.\n"),
            ("./1.json", b'{"width": 6}'),  # as img2dataset adds it
            ("./1.cls", b"7"),
            ("./2.jpg", encoded("blue")),
            ("./2.json", b'{"caption": "A blue one."}'),
        ],
    )
    rows = open_rows(tar)
    assert [said(rows.conversation(number)) for number in range(2)] == [
        [("", [RED]), ("A red one.", [])],
        [("", [BLUE]), ("A blue one.", [])],
    ]
    assert [rows.instruction(number).id for number in range(2)] == ["1", "2"]


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("../1.jpg", b"x")], "'../1.jpg' leaves the folder"),
        ([("/1.jpg", b"x")], "'/1.jpg' leaves the folder"),
        ([("1.jpg", link("1.jpg", "/etc/hostname"))], "'1.jpg': it is a link"),
        ([("1.bin", b"x")], "holds no KEY.json"),
        ([], "holds no KEY.json"),
    ],
)
def test_a_tar_that_is_refused(tmp_path: Path, members: Members, problem: str) -> None:
    tar = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(TrainingDataError, match=problem):
        open_rows(tar)


def test_files_that_are_not_whole(tmp_path: Path, webdataset: Members) -> None:
    whole = write_tar(tmp_path / "whole.tar", webdataset).read_bytes()
    parquet = write_parquet(tmp_path / "whole.parquet", ROWS).read_bytes()
    for name, content, problem in (
        ("a.tar", whole[:700], "cut off"),
        ("b.tar", b"\x1f\x8b" + whole, "compressed"),
        ("c.parquet", parquet[:-9], "no whole Parquet file"),
        ("d.parquet", b"", "no whole Parquet file"),
        ("e.json", json.dumps(ROWS)[:-4].encode(), "does not end, after 2 whole rows"),
        ("f.json.gz", b"", "unpack it first"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrainingDataError, match=problem) as caught:
            open_rows(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match=r"no file that ends in \.json, \.jsonl, .parquet"):
        open_rows(tmp_path / "empty")
    with pytest.raises(TrainingDataError, match="no folder and no tar"):
        open_rows(tmp_path / "whole.tar", tmp_path / "nowhere")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        open_rows(tmp_path / "a.parquet")


def test_a_row_that_pyarrow_cannot_read_is_one_wrong_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")

    def unable(*_: object, **__: object) -> None:  # as it is of lists beyond 2 GB
        raise pyarrow.ArrowNotImplementedError("Nested data conversions not implemented")

    write_parquet(tmp_path / "a.parquet", [{"conversations": talk("Hi", "A.")}])
    rows = open_rows(tmp_path / "a.parquet")
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read_row_group", unable)
    with pytest.raises(RowProblem, match=r"a\.parquet, row 0: Nested data conversions"):
        rows.instruction(0)


def test_a_sample_without_words(tmp_path: Path) -> None:
    rows = open_rows(write_tar(tmp_path / "a.tar", [("1.jpg", b"x"), ("2.json", b"{")]))
    with pytest.raises(TrainingDataError, match=r"a\.tar, row 0: there is no KEY\.json"):
        rows.instruction(0)
    with pytest.raises(TrainingDataError, match=r"a\.tar, row 1: Expecting"):
        rows.instruction(1)


def test_a_row_that_is_too_large_is_told_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict, "MAX_ROW_BYTES", 300)
    row = json.dumps({"conversations": talk("Hi", "A " * 200)})
    (tmp_path / "a.json").write_text(f"[{row}]")
    tar = write_tar(tmp_path / "a.tar", [("1.json", row.encode()), ("2.txt", b"A " * 200)])
    for name, number in ((tmp_path / "a.json", 0), (tar, 0), (tar, 1)):
        with pytest.raises(RowProblem, match=rf"row {number}: it has \d+ bytes; at most 300"):
            open_rows(name).instruction(number)


def test_pictures_that_are_missing_or_broken(tmp_path: Path, picture_folder: Path) -> None:
    (picture_folder / "green.png").write_bytes(encoded("green")[:40])
    (picture_folder / "red.png").unlink()
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    rows = open_rows(tmp_path / "a.json", picture_folder)
    assert rows.instruction(0).id == "one"
    with pytest.raises(BrokenSampleError, match=r"a\.json, row 0, image: there is no file"):
        rows.conversation(0)
    with pytest.raises(BrokenSampleError, match=r"row 2, image: The picture \"green\.png\" is a"):
        rows.conversation(2)
    tar = write_tar(tmp_path / "a.tar", [("1.jpg", b"no picture"), ("1.txt", b"A thing.")])
    with pytest.raises(BrokenSampleError, match=r"a\.tar, row 0, image: .*a\.tar, 1\.jpg: This"):
        open_rows(tar).conversation(0)
    empty = write_tar(tmp_path / "pictures.tar", [("blue.png", encoded("blue"))])
    with pytest.raises(BrokenSampleError, match=r"row 0, image: there is no 'red\.png' in"):
        open_rows(tmp_path / "a.json", empty).conversation(0)


@pytest.mark.parametrize("name", ["../red.png", "/red.png", "a\\red.png", "red.png\0"])
def test_a_name_in_a_tar_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    tar = write_tar(tmp_path / "pictures.tar", [("red.png", encoded("red"))])
    row = {"image": name, "conversations": talk("<image>", "Red.")}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    with pytest.raises(TrainingDataError, match=r"row 0, image: .* leaves the folder"):
        open_rows(tmp_path / "a.json", tar).instruction(0)


def test_placeholders_are_as_many_as_pictures(tmp_path: Path, picture_folder: Path) -> None:
    two = ["red.png", "blue.png"]
    rows = [
        {"image": two, "conversations": talk("<image>", "Red.")},
        {"image": two, "conversations": talk("<image><image>", "Red.", "<image>", "Blue.")},
        {"image": "red.png", "conversations": talk("Hi", "Hello.", "<image>\nWhat?", "Red.")},
        {"image": [], "conversations": talk("Hi", "Hello.")},
        {"image": ["red.png", "../blue.png"], "conversations": talk("<image><image>", "Red.")},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = open_rows(tmp_path / "a.json", picture_folder)
    for number, times in ((0, 1), (1, 3)):
        problem = f"row {number}, conversations: .* 2 times, .* it is there {times} times"
        with pytest.raises(TrainingDataError, match=problem):
            found.instruction(number)
    assert said(found.conversation(2))[2] == ("What?", [RED])
    assert found.instruction(3).sources == ()
    with pytest.raises(TrainingDataError, match=r"row 4, image\[1\]: '\.\./blue\.png' leaves"):
        found.instruction(4)
