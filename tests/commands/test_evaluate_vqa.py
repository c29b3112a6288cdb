"""`evaluate vqa` on a made-up set in the official formats, its figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from tests.evaluation.benchmarks import (
    VQA_REPLIES,
    document,
    lines,
    replies,
    vqa_annotations,
    vqa_questions,
)
from tests.made_pictures import noise


def evaluate(folder: Path, *arguments: object) -> int:
    questions, annotations = vqa_questions(folder), vqa_annotations(folder)
    files = ("--questions", questions, "--annotations", annotations)
    return main(["evaluate", "vqa", *map(str, (*files, *arguments))])


def test_figures_of_a_models_replies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = replies(tmp_path / "answers.jsonl", VQA_REPLIES)
    assert evaluate(tmp_path, "--answers", answers) == 0
    table, told = capsys.readouterr()
    # 1, 1, then two of ten people: (8 * 2/3 + 2 * 1/3) / 10, nobody, no answer.
    assert "| yes/no | 2 | 50.00 |\n| number | 1 | 100.00 |\n| other | 2 | 30.00 |\n" in table
    assert "| all | 5 | 52.00 |\n| LLaVA-1.5 7B, test-dev (arXiv 2310.03744) | | 78.5 |" in table
    assert "| how many | 1 | 100.00 |\n| is the | 2 | 50.00 |\n" in table
    assert "no answer to 1 ('5') of 5 questions; they count as wrong" in told


def test_questions_that_nobody_answered_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = json.loads(vqa_annotations(tmp_path).read_text(encoding="utf-8"))["annotations"]
    some = document(tmp_path / "some.json", {"annotations": annotations[:3]})
    answers = replies(tmp_path / "answers.jsonl", VQA_REPLIES)
    assert evaluate(tmp_path, "--answers", answers, "--annotations", some) == 0
    table, told = capsys.readouterr()
    assert "| all | 3 | 86.67 |" in table
    assert f"{some}: no people's answers to 2 ('4', '5') of 5 questions; they are left out" in told


def test_results_for_the_server_are_scored_to_the_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What all ten people say, "yes", is not "Yes."; "Two" is normalised, as they differ."""
    rows = [{"question_id": id_, "answer": text} for id_, text in VQA_REPLIES.items()]
    answers = document(tmp_path / "results.json", rows)
    assert evaluate(tmp_path, "--answers", answers, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["overall"] == {"questions": 5, "accuracy": pytest.approx(0.32)}
    assert found["answer_types"]["number"]["accuracy"] == 1.0


def test_output_holds_the_results_and_a_page_of_what_nobody_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = replies(tmp_path / "answers.jsonl", VQA_REPLIES | {4: "<b>Blue"})
    images, output = tmp_path / "val2014", tmp_path / "output"
    images.mkdir()
    noise().save(images / "COCO_val2014_000000000104.jpg")
    arguments = ("--answers", answers, "--images", images, "--output", output)
    assert evaluate(tmp_path, *arguments, "--limit", 4, "--json") == 0
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    by_question = results.pop("by_question")
    assert results == json.loads(capsys.readouterr().out)
    assert by_question["2"] == {"said": "2", "accuracy": 1.0}
    page = (output / "wrong.html").read_text(encoding="utf-8")
    assert page.count("<article") == 1
    assert "What color is the sky?" in page and "gray (10)" in page
    assert "b blue" in page and "data:image/jpeg;base64," in page


def test_a_test_split_is_only_written_for_the_server(tmp_path: Path) -> None:
    questions = vqa_questions(tmp_path, "test-dev2015")
    answers = replies(tmp_path / "answers.jsonl", VQA_REPLIES)
    upload = tmp_path / "upload.json"
    given = ["--questions", str(questions), "--answers", str(answers), "--upload", str(upload)]
    assert main(["evaluate", "vqa", *given]) == 0
    assert json.loads(upload.read_text(encoding="utf-8")) == [
        {"question_id": 1, "answer": "yes"},
        {"question_id": 2, "answer": "2"},
        {"question_id": 3, "answer": "dark red"},
        {"question_id": 4, "answer": "blue"},
        {"question_id": 5, "answer": ""},
    ]


def broken(folder: Path, what: str) -> tuple[str, ...]:
    good = {
        "--questions": vqa_questions(folder),
        "--annotations": vqa_annotations(folder),
        "--answers": replies(folder / "answers.jsonl", VQA_REPLIES),
    }
    row = {"question_id": 1, "image": "a.jpg", "text": "Why?"}
    annotation = {"question_id": 1, "question_type": "is", "answer_type": "other"}
    bad = {
        "twice": {"--questions": lines(folder / "twice.jsonl", [row, row])},
        "no picture": {"--questions": lines(folder / "q.jsonl", [{**row, "image": 3}])},
        "nothing": {"--questions": lines(folder / "nothing.jsonl", [])},
        "not said": {"--questions": document(folder / "q.json", {"questions": []})},
        "no people": {
            "--annotations": document(
                folder / "a.json", {"annotations": [annotation | {"answers": []}]}
            )
        },
        "no annotations": {"--annotations": document(folder / "b.json", [annotation])},
        "of others": {"--annotations": document(folder / "c.json", {"annotations": []})},
        "nobody's": {"--answers": replies(folder / "d.jsonl", {77: "yes"})},
    }[what]
    return tuple(str(part) for pair in (good | bad).items() for part in pair)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("twice", "row 2, question_id: '1' is also that of"),
        ("no picture", "q.jsonl, row 1, image: it must be a text"),
        ("nothing", "nothing.jsonl"),
        ("not said", "q.json, data_subtype: it must be a text"),
        ("no people", "annotations, row 1, answers: there must be one at least"),
        ("no annotations", "b.json: it must be an object with `annotations`"),
        ("of others", "c.json is of other questions than"),
        ("nobody's", "none of its 1 answers is to one of the 5 questions"),
    ],
)
def test_what_a_file_must_not_hold_is_named(
    tmp_path: Path, what: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "vqa", *broken(tmp_path, what)]) == 1
    told = capsys.readouterr().err
    assert named in told and "Traceback" not in told


def test_what_cannot_be_asked_for_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = str(vqa_questions(tmp_path))
    assert main(["evaluate", "vqa", "--questions", questions]) == 2
    assert "--annotations FILE is needed" in capsys.readouterr().err
    assert evaluate(tmp_path, "--upload", tmp_path / "nowhere" / "upload.json") == 2
    assert f"--upload: there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert evaluate(tmp_path, "--upload", tmp_path) == 2
    assert f"--upload: {tmp_path} is a folder" in capsys.readouterr().err
    assert evaluate(tmp_path, "--output", tmp_path / "new") == 2
    assert "--images DIR is needed" in capsys.readouterr().err
    assert evaluate(tmp_path, "--images", tmp_path / "nowhere", "--output", tmp_path / "new") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
