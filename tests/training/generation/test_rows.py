"""LLaVA's rows from replies: read back by what trains on them, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

from llava_chat.training.data import read_instructions
from llava_chat.training.generation.kinds import Turns
from llava_chat.training.generation.pictures import DescribedPicture
from llava_chat.training.generation.plan import Task
from llava_chat.training.generation.prompts import load_prompts
from llava_chat.training.generation.rows import as_json, instruction_rows

PROMPTS = load_prompts()
PICTURES = [DescribedPicture(str(n), f"{n}.jpg", (f"Cat {n}.", f"A cat {n}.")) for n in range(40)]


def test_rows_are_what_training_reads(tmp_path: Path) -> None:
    tasks = [Task("conversation", PICTURES[0]), Task("detail", PICTURES[0]),
             Task("reasoning", PICTURES[1]), Task("brief", PICTURES[1]),
             Task("detail", PICTURES[1])]  # fmt: skip
    turns: dict[tuple[str, str], Turns] = {
        ("conversation", "0"): (("How many <image>?", "One."), ("Where?", "Here, <<image>>.")),
        ("detail", "0"): (("", "A cat on a mat."),),
        ("reasoning", "1"): (("Why?", "Because."),),
    }
    rows, repeated = instruction_rows(tasks, turns, PROMPTS, seed=0)
    assert not repeated
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).touch()
    file = tmp_path / "instructions.json"
    file.write_text("".join(as_json(rows)), encoding="utf-8")
    read = read_instructions(file, tmp_path)
    assert [each.id for each in read] == ["0-conversation", "0-detail", "1-reasoning", "1-brief"]
    assert read[0].turns == (("How many image?", "One."), ("Where?", "Here, image."))
    ((question, answer),) = read[1].turns
    assert question in PROMPTS.detailed and answer == "A cat on a mat."
    ((question, answer),) = read[3].turns
    assert question in PROMPTS.brief and answer in PICTURES[1].captions


def test_no_rows_are_an_empty_list() -> None:
    assert json.loads("".join(as_json([]))) == []


def test_what_is_drawn_differs_by_picture_and_is_the_same_again() -> None:
    tasks = [Task("brief", picture) for picture in PICTURES]
    rows, _ = instruction_rows(tasks, {}, PROMPTS, seed=0)
    asked = {row["conversations"][0]["value"] for row in rows}
    assert {value.startswith("<image>\n") for value in asked} == {True, False}
    assert len({value.replace("<image>", "").strip() for value in asked}) > 5
    assert rows == instruction_rows(tasks, {}, PROMPTS, seed=0)[0]
    assert rows != instruction_rows(tasks, {}, PROMPTS, seed=1)[0]


def test_a_question_that_comes_again_is_dropped() -> None:
    turns: Turns = (("How many?", "Two."), ("Where?", "Here."), ("how  many", "Two cats."))
    ((row,), _) = instruction_rows(
        [Task("conversation", PICTURES[0])], {("conversation", "0"): turns}, PROMPTS, seed=0
    )
    assert [said["value"] for said in row["conversations"][1::2]] == ["Two.", "Here."]


def test_the_same_answer_about_another_picture_is_dropped_and_counted() -> None:
    tasks = [Task("detail", picture) for picture in PICTURES[:3]]
    turns: dict[tuple[str, str], Turns] = {
        task.key: (("", text),)
        for task, text in zip(tasks, ["A nice photo!", "a nice  photo", "A cat."], strict=True)
    }
    rows, repeated = instruction_rows(tasks, turns, PROMPTS, seed=0)
    assert [row["id"] for row in rows] == ["0-detail", "2-detail"]
    assert repeated == {"detail": 1}
