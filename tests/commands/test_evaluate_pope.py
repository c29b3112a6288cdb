"""`evaluate pope` with the bundled model, about drawings that it knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from tests.drawings import lone_star, three_shapes
from tests.evaluation.benchmarks import lines

# The second of each picture is not there; the last one is labelled wrong, to have a wrong answer.
ASKED = {
    "random": [
        ("shapes.png", "Is there a red circle?", "yes"),
        ("shapes.png", "Is there a purple heart?", "no"),
    ],
    "popular": [
        ("star.png", "Is there a star?", "yes"),
        ("star.png", "Is there a brown cross?", "yes"),
    ],
}


def test_the_bundled_model_is_asked_once_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_shapes().save(tmp_path / "shapes.png")
    lone_star().save(tmp_path / "star.png")
    files = [
        lines(
            tmp_path / f"coco_pope_{split}.json",
            (
                {"question_id": number, "image": image, "text": text, "label": label}
                for number, (image, text, label) in enumerate(rows, 1)
            ),
        )
        for split, rows in ASKED.items()
    ]
    output = tmp_path / "output"
    arguments = ["evaluate", "pope", "--questions", *map(str, files), "--images", str(tmp_path)]
    arguments += ["--output", str(output), "--suffix", "", "--device", "cpu"]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "| random | 2 | 100.0 | 100.0 | 100.0 | 100.0 | 50.0 | F1 87.3 | F1 87.1 |" in table
    assert "| popular | 2 | 50.0 | 100.0 | 50.0 | 66.7 | 50.0 | F1 86.1 | F1 86.2 |" in table
    assert "| mean | 4 | 75.0 | 100.0 | 75.0 | 83.3 | 50.0 | F1 85.9 | F1 85.9 |" in table
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["wrong"] == ["popular-2"]
    page = (output / "wrong.html").read_text(encoding="utf-8")
    assert page.count("<article") == 1 and "Is there a brown cross?" in page

    answers = output / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert {row["question_id"] for row in rows} == {
        "random-1",
        "random-2",
        "popular-1",
        "popular-2",
    }
    # What is answered is not asked again: an answer put there by hand is what counts.
    for row in rows:
        row["text"] = "no"
    lines(answers, rows)
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"]["yes_ratio"] == 0
