"""`evaluate llava-bench`: answers judged by a server of the tests' own, reviews scored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from tests.engine.remote.server import ScriptedServer
from tests.evaluation.benchmarks import lines, replies
from tests.evaluation.llava_bench.judge import (
    CANDIDATE,
    CONTEXTS,
    QUESTIONS,
    REFERENCE,
    judging,
    worth,
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(judging(lambda asked, _: worth(asked)))
    yield server
    server.close()


@pytest.fixture
def files(tmp_path: Path, server: ScriptedServer) -> list[str]:
    """The command with the authors' files, an answers' file and the judge."""
    questions = [
        {"question_id": int(q.id), "image": q.image, "category": q.category, "text": q.text}
        for q in QUESTIONS
    ]
    contexts = [{"image": image, "caption": text} for image, text in CONTEXTS.by_image.items()]
    given = {
        "--questions": lines(tmp_path / "questions.jsonl", questions),
        "--context": lines(tmp_path / "context.jsonl", contexts),
        "--reference": replies(tmp_path / "answers_gpt4.jsonl", REFERENCE),
        "--answers": replies(tmp_path / "answers.jsonl", CANDIDATE),
        "--judge-url": server.url,
        "--judge-model": "judge",
        "--output": tmp_path / "output",
    }
    return ["evaluate", "llava-bench", *(str(part) for pair in given.items() for part in pair)]


def test_answers_are_judged_and_scored(
    files: list[str],
    server: ScriptedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAVA_CHAT_ENGINE_KEY", "sk-judge")
    assert main(files) == 0
    table = capsys.readouterr().out
    assert "| conv | 1 | 9.00 | 3.00 | 33.33 | 33.3 to 33.3 |" in table
    assert "| all | 2 | 8.50 | 4.50 | 52.94 |" in table
    assert "reference first: 52.94\ncandidate first: 52.94" in table
    assert "| LLaVA-1.5 7B (arXiv 2310.03744) |  |  |  | 65.4 |" in table  # In-the-Wild
    assert {heard.headers["authorization"] for heard in server.heard} == {"Bearer sk-judge"}
    output = tmp_path / "output"
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["scores"]["complex"]["score"] == pytest.approx(75)
    page = (output / "wrong.html").read_text(encoding="utf-8")
    assert page.count("<article") == 2 and page.index("A dog") < page.index("For the cat")
    assert "3 to 9; 3 to 9" in page

    # The reviews that were kept are a file like any other.
    assert main(["evaluate", "llava-bench", "--reviews", str(output / "reviews.jsonl")]) == 0
    assert capsys.readouterr().out == table


def test_what_the_judge_would_lack_is_told_before_the_model_is_asked(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = lines(tmp_path / "other.jsonl", [{"image": "c.jpg", "caption": "A hat."}])
    # An answers' file that cannot be read stands for a model: it would be the next to be looked at.
    unread = tmp_path / "unread.jsonl"
    unread.write_text("{", encoding="utf-8")
    assert main([*files, "--context", str(other), "--answers", str(unread)]) == 1
    assert "nothing is said of its picture 'a.jpg'" in capsys.readouterr().err


def test_answers_to_different_questions_are_not_compared(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (
        replies(tmp_path / f"{id_}.jsonl", {id_: answers[id_]})
        for id_, answers in (("0", REFERENCE), ("1", CANDIDATE))
    )
    assert main([*files, "--reference", str(first), "--answers", str(second)]) == 1
    assert f"{first}: not one question that it answers is answered" in capsys.readouterr().err


def test_several_files_of_reviews(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reviews = [
        lines(
            tmp_path / f"review_{score}.jsonl",
            [{"question_id": 0, "category": "llava_bench_conv", "tuple": [10, score]}],
        )
        for score in (6, 8)
    ]
    output = tmp_path / "output"
    arguments = ["--reviews", *map(str, reviews), "--output", str(output)]
    assert main(["evaluate", "llava-bench", *arguments]) == 0
    table = capsys.readouterr().out
    assert f"{reviews[0]}\n\n| LLaVA-Bench" in table
    assert "| all | 70.00 | 14.14 |" in table
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["files"][str(reviews[1])]["scores"]["all"]["score"] == 80


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--judge-url", "ftp://x"], "--judge-url must be an address like"),
        (["--judge-temperature", "nan"], "--judge-temperature must be between 0 and 2"),
        (["--judge-tries", "0"], "--judge-tries must be above 0"),
        (["--context", "/nowhere"], "--context: there is no file /nowhere"),
        (["--reviews", "/nowhere"], "--reviews: there is no file /nowhere"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    files: list[str], change: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files, *change]) == 2
    assert named in capsys.readouterr().err


def test_what_judging_needs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "llava-bench", "--questions", "questions.jsonl"]) == 2
    assert "--context is needed to have answers judged; or --reviews" in capsys.readouterr().err
