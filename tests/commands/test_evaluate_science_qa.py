"""`evaluate science-qa`: real replies kept, a killed run gone on with, answers of a file scored."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from tests.evaluation.science_set import SPLITS, write_set

CONTEXT_TOKENS = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("science"))


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_the_bundled_model_is_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "science-qa", "--data", str(data), "--output", str(tmp_path)]
    assert main([*arguments, "--json", "--device", "cpu"]) == 0
    shown, told = capsys.readouterr()
    assert "evaluate science-qa: 7 questions in" in told
    rows = [json.loads(line) for line in lines(tmp_path / "answers.jsonl")]
    assert {row["question_id"] for row in rows} == set(SPLITS["test"])
    with_picture = {row["question_id"] for row in rows if row["metadata"]["pictures"]}
    assert with_picture == {"3", "7", "12"}
    # It knows drawings alone, so what it says is no letter; but it looked at them.
    said = {row["question_id"]: row["text"] for row in rows}
    assert "small demonstration model" in said["20"] and "red" in said["3"]
    results = json.loads(shown)
    assert (results["model"], results["count"], results["correct"]) == ("scenes", 7, 0)
    assert results["rows"]["scenes"]["IMG"]["asked"] == 3
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert kept == {**results, "results": dict.fromkeys(SPLITS["test"], -1)}
    page = (tmp_path / "wrong.html").read_text(encoding="utf-8")
    assert page.count("<article") == 7 and page.count("data:image/jpeg") == 3


def test_a_killed_run_goes_on(
    data: Path,
    random_checkpoint: Callable[..., Checkpoint],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Its replies fill the context, so that the others are still to come after the first.
    save_checkpoint(random_checkpoint(CONTEXT_TOKENS), tmp_path / "tiny")
    arguments = ["evaluate", "science-qa", "--data", str(data), "--output", str(tmp_path)]
    arguments += ["--model", str(tmp_path / "tiny"), "--limit", "3", "--at-once", "1"]
    answers = tmp_path / "answers.jsonl"
    with subprocess.Popen([sys.executable, "-m", "llava_chat", *arguments]) as first:
        while not lines(answers) and first.poll() is None:
            time.sleep(0.01)
        first.kill()
    before = lines(answers)
    assert 1 <= len(before) < 3
    assert main(arguments) == 0
    shown, told = capsys.readouterr()
    assert f"{len(before)} of 3 questions are answered in {answers}" in told
    assert "| questions | 2 | 1 | 0 | 1 | 3 | 0 | 2 | 1 | 3 |" in shown
    after = lines(answers)
    assert after[: len(before)] == before
    assert [json.loads(line)["question_id"] for line in after] == ["3", "7", "12"]


def test_answers_of_a_file_are_scored_without_a_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "llava.json"
    answers.write_text(json.dumps({"outputs": {"3": "A", "7": "B", "40": "A"}}), encoding="utf-8")
    arguments = ["evaluate", "science-qa", "--data", str(data), "--answers", str(answers)]
    assert main([*arguments, "--model", "/nowhere", "--pictures-only"]) == 0
    shown, told = capsys.readouterr()
    assert "| llava | 50.00 | 0.00 |  | 0.00 | 33.33 |  | 50.00 | 0.00 | 33.33 |" in shown
    assert "no answer to 1 ('12') of 3 questions; they count as wrong" in told
    assert "1 answers are to questions that are not asked" in told
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "data:image" in (tmp_path / "out" / "wrong.html").read_text(encoding="utf-8")


def test_the_data_to_finetune_on_it(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    arguments = ["evaluate", "science-qa", "--data", str(data), "--split", "train"]
    assert main([*arguments, "--write-training", str(file)]) == 0
    (row,) = json.loads(file.read_text(encoding="utf-8"))
    assert row["conversations"][1] == {"from": "gpt", "value": "The answer is B."}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--output DIR is needed"),
        (("--answers", "/nowhere"), "--answers: there is no file /nowhere"),
        (("--output", "OUT", "--limit", "0"), "--limit must be above 0"),
        (("--output", "OUT", "--at-once", "-1"), "--at-once must be above 0"),
        (("--output", "OUT", "--images", "/nowhere"), "--images: there is no folder /nowhere"),
        (
            ("--output", "OUT", "--complement", "/nowhere"),
            "--complement: there is no file /nowhere",
        ),
        (("--output", "OUT", "--judge", "/nowhere"), "--judge: there is no file /nowhere"),
        (("--write-training", "/nowhere/x.json", "--limit", "-1"), "--limit must be above 0"),
        (("--write-training", "/nowhere/x.json"), "/nowhere/x.json cannot be written"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    named: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(tmp_path) if argument == "OUT" else argument for argument in arguments]
    assert main(["evaluate", "science-qa", "--data", str(data), *given]) == 2
    assert named in capsys.readouterr().err


def test_pictures_that_are_missing_stop_before_the_model_is_loaded(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "science-qa", "--data", str(data), "--images", str(tmp_path)]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--model", "/nowhere"]) == 1
    assert "the pictures of 3 ('3', '7', '12') problems are missing" in capsys.readouterr().err
