"""Items from files: what is read of them, and what is refused by file, row and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llava_chat.errors import FeedbackError
from llava_chat.feedback.annotation import in_folder, uploaded
from llava_chat.feedback.annotation.content import Content, ShownReply, ShownTurn
from llava_chat.feedback.annotation.form import checked_form
from llava_chat.feedback.annotation.tables import read_items
from llava_chat.image import Picture, PictureLimits, png_bytes
from llava_chat.store import ConversationStore
from tests.feedback.annotation.conftest import FORM, HOST, Site

CHECKED = checked_form(FORM)
ASKED = Content((ShownTurn("user", "What is it?", (0,)),), (ShownReply("A circle."),), 1)


@pytest.fixture
def backend() -> str:
    return "sqlite"  # what is read does not hang on the database


def lines(*rows: Any) -> str:
    return "\n".join(map(json.dumps, rows))


ROW = {"question": "What is it?", "picture": "a/b.png", "reply": "A circle."}


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("jsonl", lines(ROW)),
        ("jsonl", lines({"turns": [{"role": "user", "text": "What is it?",
                                    "pictures": ["a/b.png"]}],
                         "replies": [{"text": "A circle."}]}) + "\n\n"),
        ("csv", 'question,picture,reply\nWhat is it?,a/b.png,A circle.\n'),
        ("csv", '\ufeffReply;Pictures;Question\r\n"A circle.";a/b.png;What is it?\r\n;;\r\n'),
        ("llava", json.dumps([{"id": "1", "image": "a/b.png", "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A circle."}]}])),
    ],
)  # fmt: skip
def test_the_same_item_in_every_format(format: str, text: str) -> None:
    (item,) = read_items(CHECKED, format, text, "rows")
    assert (item.content, item.pictures, item.gold) == (ASKED, ("a/b.png",), None)


def test_several_pictures_and_replies_and_gold() -> None:
    csv = 'question,pictures,reply,reply_2,gold\n?,a.png | b.png,=1+1,@x,"{""good"": 5}"\n'
    (item,) = read_items(CHECKED, "csv", csv, "rows")
    assert item.content.turns[0].pictures == (0, 1)
    assert [reply.text for reply in item.content.replies] == ["=1+1", "@x"]
    assert item.gold == {"good": 5}
    talk = [{"from": who, "value": who} for who in ("human", "gpt", "human", "gpt")]
    (item,) = read_items(CHECKED, "llava", json.dumps([{"conversations": talk}]), "rows")
    assert [turn.role for turn in item.content.turns] == ["user", "assistant", "user"]


def _turns(*roles: str) -> dict[str, Any]:
    return {"turns": [{"role": role, "text": "x"} for role in roles], "reply": "x"}


@pytest.mark.parametrize(
    ("format", "text", "told"),
    [
        ("jsonl", "", "rows: there is no row"),
        ("jsonl", lines(ROW) + "\n{", "rows, row 1: it is not valid JSON"),
        ("jsonl", '{"question": "x", "question": "y"}', "rows, row 0: it is not valid JSON: a key"),
        ("jsonl", lines(ROW)[:-1] + ', "gold": {"good": NaN}}', "rows, row 0: it is not valid"),
        ("jsonl", "[" * 100_000, "rows, row 0: it is not valid JSON"),
        ("jsonl", lines([1]), "rows, row 0: it must be an object"),
        ("jsonl", lines({**ROW, "more": 1}), "rows, row 0, more: "),
        ("jsonl", lines({"reply": "x"}), "rows, row 0, question: "),
        ("jsonl", lines({**ROW, "question": " "}), "rows, row 0, question: "),
        ("jsonl", lines({**ROW, "question": "x" * 20_001}), "rows, row 0, question: "),
        ("jsonl", lines({**ROW, "pictures": ["b.png"]}), "rows, row 0, pictures: "),
        ("jsonl", lines({**ROW, "picture": "../a.png"}), "rows, row 0, pictures: '../a.png' leav"),
        ("jsonl", lines({**ROW, "picture": "/etc/passwd"}), "rows, row 0, pictures: '/etc/pa"),
        ("jsonl", lines({**ROW, "picture": "a\\..\\b"}), "rows, row 0, pictures: "),
        ("jsonl", lines({"question": "x"}), "rows, row 0, replies: the form's field 'better'"),
        ("jsonl", lines({**ROW, "reply": ""}), "rows, row 0, replies[0], text: "),
        ("jsonl", lines({"question": "x", "replies": ["x"] * 33}), "rows, row 0, replies: "),
        ("jsonl", lines({**ROW, "gold": {"good": 6}}), "rows, row 0, gold, good: "),
        ("jsonl", lines({**ROW, "gold": {}}), "rows, row 0, gold: "),
        ("jsonl", lines({**ROW, "gold": 5}), "rows, row 0, gold: "),
        ("jsonl", lines(_turns("assistant")), "rows, row 0, turns[0], role: "),
        ("jsonl", lines(_turns("user", "user")), "rows, row 0, turns[1], role: "),
        ("jsonl", lines(_turns("user", "assistant")), "rows, row 0, turns: the last one"),
        ("jsonl", lines({**ROW, **_turns("user")}), "rows, row 0, question: "),
        ("csv", "question,answer\nx,y\n", "rows, row 1, answer: "),
        ("csv", "question,question\nx,y\n", "rows, row 1, question: "),
        ("csv", "question,reply\nx,y,z\n", "rows, row 2: it has more cells"),
        ("csv", 'question,reply\n"x', "rows: it is no CSV"),
        ("csv", "question,reply,gold\nx,y,{\n", "rows, row 2, gold: it is not valid JSON"),
        ("llava", "{}", "rows: it must be a list"),
        ("llava", "[{}]", "rows, row 0, conversations: "),
        ("llava", '[{"conversations": [{"from": "system", "value": "x"}]}]',
         "rows, row 0, conversations[0], from: "),
        ("yaml", "", "format: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_file_row_and_field(format: str, text: str, told: str) -> None:
    with pytest.raises(FeedbackError) as error:
        read_items(CHECKED, format, text, "rows")
    assert str(error.value).startswith(told)


def test_a_file_is_added_whole_or_not_at_all(
    site: Site, store: ConversationStore, tmp_path: Path, red: Picture
) -> None:
    (tmp_path / "red.png").write_bytes(png_bytes(red))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "out.png").symlink_to("/etc/passwd")
    project = site.project()

    def add(*names: str) -> int:
        text = lines(*({**ROW, "picture": name} for name in names))
        limits, find = PictureLimits(), in_folder(tmp_path)
        return site.leading.add(HOST, project, "jsonl", text, find, limits, "rows.jsonl")

    for name, told in (
        ("bad.png", 'The picture "bad.png"'),
        ("none.png", "there is no file"),
        ("out.png", "'out.png' is a link out of the folder"),
    ):
        with pytest.raises(FeedbackError) as error:
            add("red.png", name)
        assert str(error.value).startswith(f"rows.jsonl, row 1, pictures: {told}")
    assert site.leading.standing(HOST, project).items == []
    assert add("red.png", "red.png") == 2
    assert store.picture(red.id) == red


def test_pictures_that_came_along_are_data_urls() -> None:
    find = uploaded({"a.png": "data:image/png;base64,AAAA", "b.png": "http://example.org/b.png"})
    assert find("folder/a.png") == b"\0\0\0"
    site_of = {"b.png": "is no data URL", "c.png": "there is no picture 'c.png'"}
    for name, told in site_of.items():
        with pytest.raises(Exception, match=told):
            find(name)
    wrong: object
    for wrong in (None, [], {"a": 1}):
        with pytest.raises(FeedbackError, match=r"^pictures: "):
            uploaded(wrong)
