"""`feedback project` and what annotators said, exported from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from datasets import load_dataset
from PIL import Image
from trl.data_utils import is_conversational

from llava_chat.__main__ import main
from llava_chat.feedback import Feedback
from llava_chat.feedback.annotation import Annotation
from llava_chat.store import ConversationStore, Member
from llava_chat.training.data import read_instructions

Run = Callable[..., tuple[int, str, str]]

PROJECT: dict[str, Any] = {
    "name": "Circles",
    "overlap": 2,
    "form": [
        {"name": "good", "type": "scale", "label": "Good?", "min": 1, "max": 5, "use": "rating"},
        {"name": "better", "type": "correction", "label": "Better"},
        {"name": "order", "type": "best_of", "label": "Best first"},
        {"name": "kinds", "type": "chips", "label": "Kinds", "options": ["a", "b"]},
    ],
}
FORMULA = '=HYPERLINK("x")'


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["feedback", *arguments, "--data-dir", str(data_dir)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A project, its rows as CSV, and the folder of their pictures."""
    folder = tmp_path / "files"
    (folder / "pictures").mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(folder / "pictures" / "red.png")
    (folder / "project.json").write_text(json.dumps(PROJECT))
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "picture", "reply", "reply_2", "gold"])
        writer.writerow(["What is it?", "red.png", FORMULA, "Red.", ""])
        writer.writerow(["Is it red?", "red.png", "Yes.", "No.", '{"good": 5}'])
    return folder


@pytest.fixture
def made(run: Run, files: Path) -> str:
    """The id of a project with two items, of which one is gold."""
    code, id, _ = run("project", "create", str(files / "project.json"))
    assert code == 0
    place = ("--pictures", str(files / "pictures"))
    assert run("project", "add", "Circles", str(files / "rows.csv"), *place)[0] == 0
    return id.strip()


@pytest.fixture
def store(made: str, data_dir: Path) -> Iterator[ConversationStore]:
    store = ConversationStore.open(f"sqlite:///{data_dir}/llava_chat.db", data_dir)
    yield store
    store.close()


@pytest.fixture
def judged(store: ConversationStore, made: str) -> str:
    """Ann and Bob have judged both items: Ann likes the reply, Bob does not; both correct it."""
    annotation = Annotation.of(store)
    for name, good in (("ann", 5), ("bob", 2)):
        Feedback.of(store).decide(name, True)
        member = Member(name, f"{name}@example.org", study={"PROLIFIC_PID": "pid-" + name})
        for _ in range(2):
            given, _ = annotation.next(member, made)
            assert given is not None
            values = {"good": good, "better": "A red one.", "order": [1, 0], "kinds": ["a", "b"]}
            annotation.submit(member, given.item.item.id, uuid4().hex, values, 1.5)
    return made


def test_a_project_from_its_file_to_its_end(run: Run, made: str, store: ConversationStore) -> None:
    code, told, _ = run("project", "list")
    assert (code, told) == (0, f"{made}  Circles: 2 items, 0 of 4 answers\n")
    code, told, _ = run("project", "show", made, "--json")
    figures = json.loads(told)
    assert [(one["number"], one["gold"]) for one in figures["per_item"]] == [(1, False), (2, True)]
    code, told, _ = run("project", "show", "Circles")
    assert told.startswith(f"Circles ({made}), open\n0 of 2 items are judged by 2 people")
    assert run("project", "add-kept", "Circles")[1] == "0 items added to Circles\n"
    assert run("project", "remove", "Circles")[1] == "Circles is gone, with 2 items\n"
    assert run("project", "list", "--json")[1] == "[]\n"


def test_what_is_wrong_is_one_sentence(run: Run, made: str, files: Path) -> None:
    for name, text, code, told in (
        ("bad.csv", "question,picture,reply\nx,../red.png,y\n", 1, "bad.csv, row 2, pictures: "),
        ("bad.txt", "x", 2, "--format"),
        ("bad.json", "{", 1, "bad.json, it is not valid JSON"),
        ("latin.csv", "question\n\xe9", 1, "is not UTF-8"),
    ):
        (files / name).write_bytes(text.encode("latin-1"))
        place = ("--pictures", str(files / "pictures"))
        found, _, error = run("project", "add", "Circles", str(files / name), *place)
        assert (found, error.count("\n")) == (code, 1), error
        assert told.replace("bad.json, ", "bad.json: ") in error
    (files / "form.json").write_text('{"name": "x", "form": [{"name": "y"}]}')
    assert "form, field 'y', type: " in run("project", "create", str(files / "form.json"))[2]
    assert run("project", "show", "Squares")[0] == 2
    assert run("project", "create", str(files / "project.json"))[0] == 0
    code, _, error = run("project", "show", "Circles")
    assert code == 2 and "name one by its id" in error


@pytest.fixture
def export(run: Run, judged: str, tmp_path: Path) -> Callable[[str], Path]:
    def export(form: str) -> Path:
        folder = tmp_path / form
        place = ("--project", "Circles", "--format", form, "--output", str(folder))
        code, _, error = run("export", *place)
        assert code == 0, error
        return folder

    return export


def test_corrections_are_instructions_and_are_written_once(
    export: Callable[[str], Path],
) -> None:
    folder = export("llava")
    rows = read_instructions(folder / "feedback.json", folder)
    assert [row.turns for row in rows] == [
        (("What is it?", "A red one."),),
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["left_out"] == {"gold": 2, "neither liked nor corrected": 2,
                                    "said by several": 1}  # fmt: skip
    assert manifest["counts"] == {
        "records": 1, "annotations": 4, "items": 2, "people": 2, "pictures": 1,
    }  # fmt: skip


def _rows(folder: Path) -> list[dict[str, Any]]:
    return list(map(json.loads, (folder / "feedback.jsonl").read_text().splitlines()))


def test_orders_and_corrections_are_preferences(export: Callable[[str], Path]) -> None:
    rows = _rows(export("dpo"))
    pairs = [(row["chosen"][0], row["rejected"][0]) for row in rows]
    words = [tuple(one["content"][0]["text"] for one in pair) for pair in pairs]
    assert sorted(words) == sorted(2 * [("A red one.", FORMULA), ("Red.", FORMULA)])
    assert all(is_conversational(row) for row in rows)


def test_ratings_are_labels(export: Callable[[str], Path]) -> None:
    rows = _rows(export("kto"))
    labels = [(row["completion"][0]["content"][0]["text"], row["label"]) for row in rows]
    assert sorted(labels) == sorted(
        [(FORMULA, True), (FORMULA, False), ("A red one.", True), ("A red one.", True)]
    )


def test_everything_is_in_the_whole_formats_and_nobody_is(export: Callable[[str], Path]) -> None:
    lines = (export("jsonl") / "feedback.jsonl").read_text()
    told = list(map(json.loads, lines.splitlines()))
    assert len(told) == 4
    assert {one["values"]["good"] for one in told} == {2, 5}
    with (export("csv") / "feedback.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["gold"] for row in table] == ["no", "no", "yes", "yes"]
    assert table[0]["replies"] == f"'{FORMULA} | Red."
    assert table[0]["value.kinds"] == "a | b"
    whole = load_dataset(
        "parquet", data_files=str(export("parquet") / "feedback.parquet"), split="train"
    )
    assert whole[0]["value.good"] in (2, 5)
    assert whole[0]["images"][0].size == (30, 20)
    for name in ("ann", "bob"):
        for text in (lines, str(table), str(list(whole["row"]))):
            assert f"{name}@" not in text and f"pid-{name}" not in text


def test_filters_that_a_project_has_not(run: Run, judged: str, tmp_path: Path) -> None:
    place = ("--project", "Circles", "--format", "jsonl", "--output", str(tmp_path / "x"))
    code, _, error = run("export", *place, "--liked", "yes")
    assert code == 2 and "--project takes --since and --until only" in error
    code, told, _ = run("export", *place, "--since", "2100-01-01", "--dry-run", "--json")
    assert json.loads(told)["counts"]["annotations"] == 0
    assert not (tmp_path / "x").exists()
