"""`train check`: every rule by file, row and field, all of them counted, and what the data hold."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_chat.__main__ import main
from llava_chat.training import survey as surveying
from llava_chat.training.measure import Measure, measure_of
from tests.made_pictures import encode, noise
from tests.training.data.conftest import Row, encoded, talk, write_parquet, write_tar

Check = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(autouse=True)
def _one_measure(monkeypatch: pytest.MonkeyPatch, scenes: Measure) -> None:
    monkeypatch.setattr("llava_chat.training.measure.measure_of", lambda *_: scenes)


@pytest.fixture(scope="module")
def scenes() -> Measure:
    return measure_of("scenes")


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check these rows in the folder of the test, whose pictures are there too."""

    def run(rows: list[Row] | str, *extra: str) -> tuple[int, dict[str, Any], str]:
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (tmp_path / "rows.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        arguments = [str(tmp_path / "rows.json"), "--images", str(tmp_path), "--workers", "0"]
        code = main(["train", "check", *arguments, "--json", *extra])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return run


def test_good_data_are_counted(check: Check, tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    rows: list[Row] = [
        {"id": "1", "image": "a.png", "conversations": talk("<image>", "A.", "Q", "B.")},
        {"id": "2", "image": ["a.png"] * 2, "conversations": talk("<image><image>", "C.")},
        {"id": "1", "conversations": talk("Hi", "Hello " * 500)},
    ]
    code, found, err = check(rows, "--max-tokens", "400")
    assert (code, err) == (0, "")
    wanted = {
        "rows": 3, "files": 1, "turns": 4, "with_picture": 2, "with_several_pictures": 1,
        "text_alone": 1, "pictures": 3, "pictures_missing": 0, "pictures_broken": 0,
        "repeated_ids": 1, "cut": 1, "problems": 0, "wrong_rows": 0, "kinds": {},
    }  # fmt: skip
    assert {key: found[key] for key in wanted} == wanted
    tokens = found["tokens"]
    assert sum(part["rows"] for part in tokens["histogram"]) == 3
    last = tokens["histogram"][-1]
    assert last["from"] <= tokens["longest"] <= last["to"] and tokens["longest"] > 400
    assert tokens["median"] < 400


def test_rows_without_an_id_repeat_none(check: Check) -> None:
    rows: list[Row] = [{"id": None, "conversations": talk("Hi", "A.")}] * 2
    rows += [{"id": 7, "conversations": talk("Hi", "A.")}] * 2
    assert check(rows)[1]["repeated_ids"] == 1


def test_every_problem_is_counted_by_kind_and_the_first_are_shown(
    check: Check, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures/a.png")
    (tmp_path / "half.png").write_bytes(encode(noise(), "PNG")[:200])
    (tmp_path / "a.png").symlink_to("pictures/a.png")
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    asked = talk("<image>", "A.")
    rows: list[Row] = [{"image": "a.png", "conversations": asked}]
    rows += [{"image": "../a.png", "conversations": asked}] * 5
    rows += [
        {"image": "/etc/hostname", "conversations": asked},
        {"image": "out.png", "conversations": asked},
        {"image": "none.png", "conversations": asked},
        {"image": "half.png", "conversations": asked},
        {"image": "a.png", "conversations": talk("Hi", "A.")},
        {"conversations": asked},
        {"conversations": [*reversed(talk("Hi", "A."))], "id": float("nan")},
        {"conversations": talk("Hi", " ")},
        {"conversations": talk("Hi")},
        {"conversations": talk("word " * 900, "A.")},
        {"image": "a.png", "conversations": talk("word " * 900, "A.", "<image>", "B.")},
        {"conversations": talk("Hi \ud800", "A.")},
    ]
    text = json.dumps(rows)[:-1] + ', {"id": 1, "id": 2}, 7, {"id" 3}]'
    code, found, err = check(text, "--max-tokens", "300")
    counts = {kind: told["count"] for kind, told in found["kinds"].items()}
    assert counts == {
        "picture's path": 7, "picture missing": 1, "picture broken": 1,
        "<image> and pictures": 2, "no JSON number": 1, "order": 2, "no text": 1, "no pairs": 1,
        "nothing to learn": 1, "picture beyond the limit": 1, "half a character": 1,
        "key twice": 1, "no object": 1, "not JSON": 1,
    }  # fmt: skip
    assert (found["problems"], found["rows"], found["wrong_rows"]) == (22, 21, 20)
    told = found["kinds"]["picture's path"]["first"]
    assert len(told) == 3 and all("'../a.png' leaves the folder" in each for each in told)
    file = tmp_path / "rows.json"
    assert told[0].startswith(f"{file}, row 1, image: ")
    assert found["kinds"]["key twice"]["first"][0].startswith(f"{file}, row 18: the key 'id'")
    assert found["kinds"]["no JSON number"]["first"][0].startswith(f"{file}, row 12, id: nan")
    assert code == 1
    assert err == f"llava_chat: error: {told[0]}; and 21 more\n"


def test_the_report_is_read_by_people(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check([{"conversations": talk("Hi", "A.")}, {"conversations": talk("Hi")}])
    file = tmp_path / "rows.json"
    assert main(["train", "check", str(file), "--workers", "0"]) == 1
    out = capsys.readouterr().out
    assert "rows            2 in 1 file\n" in out and "text alone      1\n" in out
    assert "█ 1\n" in out and "cut at 2,048" in out
    assert f"problems        1, in 1 row\n  no pairs: 1\n    {file}, row 1, conv" in out
    file.write_text(json.dumps([{"conversations": talk("Hi", "A.")}]))
    assert main(["train", "check", str(file), "--workers", "0"]) == 0
    assert capsys.readouterr().out.endswith("problems        none\n")


@pytest.mark.parametrize(("by", "broken"), [("decode", 2), ("header", 1), ("none", 0)])
def test_how_pictures_are_looked_at(check: Check, tmp_path: Path, by: str, broken: int) -> None:
    (tmp_path / "whole.jpg").write_bytes(encode(noise(), "JPEG"))
    (tmp_path / "half.jpg").write_bytes(encode(noise(), "JPEG")[:-300])
    (tmp_path / "none.jpg").write_bytes(b"<svg>")
    names = ("whole.jpg", "half.jpg", "none.jpg", "away.jpg")
    rows = [{"image": name, "conversations": talk("<image>", "A.")} for name in names]
    code, found, _ = check(rows, "--pictures", by)
    assert (code, found["pictures_missing"], found["pictures_broken"]) == (1, 1, broken)
    assert sum(part["rows"] for part in found["tokens"]["histogram"]) == 3 - broken


def test_align_wants_pictures(check: Check) -> None:
    rows = [{"conversations": talk("Hi", "A.")}]
    assert check(rows)[0] == 0
    code, found, _ = check(rows, "--for", "align")
    assert code == 1 and list(found["kinds"]) == ["no picture"]


def test_align_is_counted_in_the_template_that_it_is_trained_with(
    check: Check, monkeypatch: pytest.MonkeyPatch, scenes: Measure
) -> None:
    asked: list[str | None] = []

    def measured(_: str, template: str | None = None) -> Measure:
        asked.append(template)
        return scenes

    monkeypatch.setattr("llava_chat.training.measure.measure_of", measured)
    for stage in ("align", "finetune"):
        check([{"conversations": talk("Hi", "A.")}], "--for", stage, "--template", "vicuna_v1")
    assert asked == ["plain", "vicuna_v1"]


def test_a_folder_is_gone_through_whatever_one_of_its_files_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveying, "_ROWS_WORTH_A_WORKER", 1)
    rows = [{"id": "a", "image": "red.png", "conversations": talk("<image>", "Red.")}]
    write_parquet(tmp_path / "1.parquet", rows * 3)
    tar = [("1.png", encoded("red")), ("1.txt", b"Red."), ("2.png", b"no"), ("2.txt", b"Blue.")]
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [*tar]
    write_tar(tmp_path / "2.tar", members)
    (tmp_path / "3.json").write_text("[{}")
    assert main(["train", "check", str(tmp_path), "--json", "--workers", "2"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["rows"], found["pictures"]) == (2, 5, 5)
    assert found["repeated_ids"] == 2
    assert {kind: told["count"] for kind, told in found["kinds"].items()} == {
        "file": 1,
        "picture broken": 1,
    }
    assert "2.tar, row 1, image: " in found["kinds"]["picture broken"]["first"][0]


@pytest.mark.parametrize(
    ("extra", "code", "sentence"),
    [
        (["nowhere.json"], 1, "nowhere.json cannot be read"),
        (["rows.json", "--images", "nowhere"], 1, "no folder and no tar nowhere"),
        (["rows.json", "--max-tokens", "0"], 2, "--max-tokens must be above 0"),
        (["rows.json", "--workers", "-1"], 2, "--workers must not be below 0"),
    ],
)
def test_what_cannot_be_checked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text("[{}]")
    assert main(["train", "check", *extra]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("llava_chat: error: ") and sentence in err
