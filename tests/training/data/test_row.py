"""LLaVA's instruction JSON: what is read, and every way to be refused by file, row and field."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_chat.errors import TrainingDataError
from llava_chat.training.data import read_instructions

ASK = {"from": "human", "value": "<image>\nWhat is this?"}
SAY = {"from": "gpt", "value": "A square."}
ROW = {"id": "a", "image": "red.png", "conversations": [ASK, SAY]}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("red.png", "below/red.png", "../outside.png"):
        Image.new("RGB", (4, 3), "red").save(folder / name)
    (folder / "link.png").symlink_to(folder / "red.png")
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "way").symlink_to(tmp_path)
    (folder / "round.png").symlink_to(folder / "again.png")
    (folder / "again.png").symlink_to(folder / "round.png")
    return folder


def written(folder: Path, text: str) -> Path:
    path = folder / "data.json"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, images: Path | None) -> str:
    with pytest.raises(TrainingDataError) as caught:
        read_instructions(written(folder, text), images)
    assert str(folder / "data.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in (ROW | fields).items() if value is not ...}


def test_a_picture_stands_with_the_first_question(tmp_path: Path, pictures: Path) -> None:
    more = [{"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes."}]
    rows = [changed(conversations=[ASK, SAY, *more]), changed(image="below/red.png", id=7)]
    found = read_instructions(written(tmp_path, json.dumps(rows)), pictures)
    conversation = found[0].conversation()
    assert [turn.text for turn in conversation.turns] == [
        "What is this?",
        "A square.",
        "Sure?",
        "Yes.",
    ]
    assert [len(turn.images) for turn in conversation.turns] == [1, 0, 0, 0]
    assert (found[1].id, found[1].sources) == ("7", (pictures / "below/red.png",))


@pytest.mark.parametrize("value", ["<image>\nQ", "Q\n<image>", "<image>Q"])
def test_the_placeholder_may_stand_before_or_after(
    tmp_path: Path, pictures: Path, value: str
) -> None:
    row = changed(conversations=[{"from": "human", "value": value}, SAY])
    found = read_instructions(written(tmp_path, json.dumps([row])), pictures)
    assert found[0].turns == (("Q", "A square."),)


def test_rows_of_text_alone_and_links_inside_are_read(tmp_path: Path, pictures: Path) -> None:
    text = {"conversations": [{"from": "human", "value": "Hi"}, SAY]}
    found = read_instructions(
        written(tmp_path, json.dumps([text, changed(image="link.png")])), pictures
    )
    assert found[0].conversation().turns[0].images == ()
    assert found[1].sources == (pictures / "link.png",)
    assert read_instructions(written(tmp_path, json.dumps([text])), None)[0].sources == ()


def test_rows_of_text_alone_are_refused_where_pictures_are_needed(
    tmp_path: Path, pictures: Path
) -> None:
    text = {"conversations": [{"from": "human", "value": "Hi"}, SAY]}
    file = written(tmp_path, json.dumps([ROW, text]))
    with pytest.raises(TrainingDataError, match=r"data\.json, row 1, image: there is none"):
        read_instructions(file, pictures, pictures_only=True)
    file = written(tmp_path, json.dumps([ROW]))
    assert len(read_instructions(file, pictures, pictures_only=True)) == 1


WRONG_IMAGES = {
    "../outside.png": "leaves the folder",
    "below/../../outside.png": "leaves the folder",
    "/etc/hostname": "leaves the folder",
    "..\\outside.png": "leaves the folder",
    "red.png\0": "leaves the folder",
    "out.png": "is a link out of the folder",
    "way/outside.png": "is a link out of the folder",
    "round.png": "there is no file" if sys.version_info >= (3, 13) else "leads back to itself",
    "blue.png": "there is no file",
    "below": "there is no file",
    "x" * 400: "cannot be opened",
    "": "must be a path",
}


@pytest.mark.parametrize(("name", "problem"), WRONG_IMAGES.items(), ids=map(repr, range(12)))
def test_a_picture_from_elsewhere(tmp_path: Path, pictures: Path, name: str, problem: str) -> None:
    said = refusal(tmp_path, json.dumps([ROW, changed(image=name)]), pictures)
    assert "row 1, image: " in said and problem in said


@pytest.mark.parametrize("image", [3, {}, {"path": 3, "bytes": None}, False, ""])
def test_a_picture_that_is_no_path(tmp_path: Path, pictures: Path, image: Any) -> None:
    assert "row 0, image: it must be a path" in refusal(
        tmp_path, json.dumps([changed(image=image)]), pictures
    )


def test_a_picture_without_a_folder(tmp_path: Path) -> None:
    assert "row 0, image: " in refusal(tmp_path, json.dumps([ROW]), None)


WRONG_TURNS = [
    (..., "must be a list of human and gpt messages in pairs"),
    ([], "in pairs"),
    ("hello", "in pairs"),
    ([ASK], "in pairs"),
    ([ASK, SAY, ASK], "in pairs"),
    ([SAY, ASK], "message 0 must be from 'human'"),
    ([ASK, ASK], "message 1 must be from 'gpt'"),
    ([ASK, SAY, SAY, ASK], "message 2 must be from 'human'"),
    ([ASK, {"from": "user", "value": "x"}], "message 1 must be from 'gpt'"),
    ([ASK, "text"], "message 1 must be from 'gpt'"),
    ([ASK, {"from": "gpt"}], "message 1 needs a text in `value`"),
    ([ASK, {"from": "gpt", "value": 7}], "message 1 needs a text"),
    ([ASK, {"from": "gpt", "value": " \n"}], "message 1 needs a text"),
    ([{"from": "human", "value": None}, SAY], "message 0 needs a text"),
    ([{"from": "human", "value": "Hi"}, SAY], "must hold <image> exactly once"),
    ([{"from": "human", "value": "<image><image>"}, SAY], "exactly once"),
    ([ASK, SAY, ASK, SAY], "exactly once"),
]


@pytest.mark.parametrize(("turns", "problem"), WRONG_TURNS)
def test_wrong_conversations(tmp_path: Path, pictures: Path, turns: Any, problem: str) -> None:
    said = refusal(tmp_path, json.dumps([ROW, ROW, changed(conversations=turns)]), pictures)
    assert "row 2, conversations: " in said and problem in said


@pytest.mark.parametrize("image", [..., None])
def test_a_placeholder_without_a_picture(tmp_path: Path, pictures: Path, image: Any) -> None:
    said = refusal(tmp_path, json.dumps([changed(image=image)]), pictures)
    assert "row 0, conversations: there is <image> but the row has no image" in said


WRONG_JSON = [
    ('[{"id": 1, "id": 2}]', "row 0: the key 'id' stands twice"),
    ('[{"id": NaN}]', "row 0, id: nan is no JSON number"),
    ('[{"weight": {"of": [1, -Infinity]}}]', "row 0, weight.of[1]: -inf is no JSON number"),
    ('[{"id": 1e999}]', "row 0, id: inf is no JSON number"),
    (
        '[{"conversations": [{"from": "human", "from": "gpt", "value": "x"}]}]',
        "row 0, conversations[0]: the key 'from' stands twice",
    ),
    (
        '[{"conversations": [{"from": "human", "value": "\\ud800"}]}]',
        "row 0, conversations[0].value: it holds half a character",
    ),
    ("[7]", "row 0: a row must be an object"),
    ("[]", "a list of at least one row"),
    ("{}", "a list of at least one row"),
    ('{"a": 1, "a": 2}', "a list of at least one row"),
    ("", "a list of at least one row"),
    (" \n", "a list of at least one row"),
    ("[ ]", "a list of at least one row"),
    ("[{]", "does not end, after 0 whole rows"),
    ('[1, {"a": "]', "does not end, after 1 whole rows"),
    ("[{}}", "ends with } in place of ]"),
    ("[{}] {}", "more behind the end of the list"),
    ('[{"a" 1}]', "row 0: Expecting ':' delimiter"),
    ("[,{}]", "row 0: Expecting value"),
    ("[" * 100_000 + "]" * 100_000, "row 0: its lists and objects are nested too deeply"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG_JSON, ids=map(repr, range(len(WRONG_JSON))))
def test_wrong_json(tmp_path: Path, pictures: Path, text: str, problem: str) -> None:
    assert problem in refusal(tmp_path, text, pictures)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"none\.json"):
        read_instructions(tmp_path / "none.json", None)
    (tmp_path / "data.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingDataError, match=r"data\.json"):
        read_instructions(tmp_path / "data.json", None)
    (tmp_path / "data.json").write_bytes(b'["\xff"]')
    with pytest.raises(TrainingDataError, match=r"data\.json, row 0: .* codec can't decode"):
        read_instructions(tmp_path / "data.json", None)
