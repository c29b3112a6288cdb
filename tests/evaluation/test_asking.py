"""A benchmark's questions to a real engine: kept at once, never asked twice, told apart."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import BenchmarkError, EngineError, PictureError
from llava_chat.evaluation.answers import read_answers, tell_missing
from llava_chat.evaluation.asking import ask
from llava_chat.evaluation.question import Answer, Question
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

SETTINGS = GenerationSettings(temperature=0, max_new_tokens=4, seed=1)


@pytest.fixture(scope="module")
def engine(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[LocalEngine]:
    engine = LocalEngine(random_checkpoint(), slots=3, context_tokens=256)
    yield engine
    engine.close(grace_s=0)


@pytest.fixture
def asked() -> list[str]:
    """The ids of the questions that were really asked."""
    return []


@pytest.fixture
def questions(pictures: tuple[Picture, ...], asked: list[str]) -> list[Question]:
    def question(number: int) -> Question:
        text = f"What is in picture {number}?"

        def conversation() -> Conversation:
            asked.append(str(number))
            return Conversation((Turn("user", text, (pictures[number % 3],)),))

        return Question(str(number), text, conversation)

    return [question(number) for number in range(7)]


def test_every_answer_is_kept_with_what_reproduces_it(
    engine: LocalEngine, questions: list[Question], tmp_path: Path, pictures: tuple[Picture, ...]
) -> None:
    file = tmp_path / "answers.jsonl"
    answers = ask(engine, questions, file, settings=SETTINGS)
    assert list(answers) == [question.id for question in questions]
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {row["question_id"]: row["text"] for row in rows} == {
        id_: answer.text for id_, answer in answers.items()
    }
    row = next(row for row in rows if row["question_id"] == "4")
    assert (row["prompt"], row["model_id"]) == ("What is in picture 4?", "tiny")
    assert row["metadata"]["pictures"] == [pictures[1].id]
    assert row["metadata"]["settings"]["max_new_tokens"] == row["metadata"]["tokens"] == 4
    assert row["metadata"]["finish"] == "length"
    assert read_answers(file) == answers


def test_answers_do_not_depend_on_how_many_are_asked_at_once(
    engine: LocalEngine, questions: list[Question], tmp_path: Path
) -> None:
    alone = ask(engine, questions, tmp_path / "1.jsonl", settings=SETTINGS, at_once=1)
    assert ask(engine, questions, tmp_path / "3.jsonl", settings=SETTINGS, at_once=3) == alone


def test_a_run_goes_on_where_another_was_killed(
    engine: LocalEngine, questions: list[Question], asked: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    whole = ask(engine, questions, file, settings=SETTINGS, at_once=1)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]) + lines[3][:25])
    asked.clear()
    assert ask(engine, questions, file, settings=SETTINGS, at_once=1) == whole
    assert asked == ["3", "4", "5", "6"]
    assert file.read_bytes().splitlines(keepends=True) == lines
    asked.clear()
    assert ask(engine, questions, file, settings=SETTINGS) == whole
    assert asked == []


def test_a_file_of_something_else_is_refused(
    engine: LocalEngine, questions: list[Question], asked: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    ask(engine, questions[:2], file, settings=SETTINGS)
    asked.clear()
    longer = replace(SETTINGS, max_new_tokens=5)
    with pytest.raises(BenchmarkError, match=r"line 1 is of other settings \(max_new_tokens 4, he"):
        ask(engine, questions, file, settings=longer)
    with pytest.raises(BenchmarkError, match="answers question '1', which is not asked here"):
        ask(engine, questions[:1], file, settings=SETTINGS)
    otherwise = [replace(questions[0], prompt="Who?"), questions[1]]
    with pytest.raises(BenchmarkError, match="question '0', which is asked otherwise here"):
        ask(engine, otherwise, file, settings=SETTINGS)
    other = file.read_text(encoding="utf-8").replace('"id": "tiny"', '"id": "huge"')
    file.write_text(other, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"another model .id 'huge', here 'tiny'."):
        ask(engine, questions, file, settings=SETTINGS)
    file.write_text('{"question_id": "0", "text": "A"}\n', encoding="utf-8")
    with pytest.raises(BenchmarkError, match="line 1 is no answer of this command"):
        ask(engine, questions, file, settings=SETTINGS)
    assert asked == []
    with pytest.raises(BenchmarkError, match="2 questions share an id"):
        ask(engine, [*questions, *questions[:2]], file, settings=SETTINGS)


def test_a_question_that_cannot_be_asked_costs_no_other_one(
    engine: LocalEngine, questions: list[Question], tmp_path: Path
) -> None:
    def broken() -> Conversation:
        raise PictureError("The picture is broken.")

    long = Conversation((Turn("user", "What? " * 400),))
    mixed = [
        replace(questions[0], conversation=broken),
        replace(questions[1], conversation=lambda: long),
        *questions[2:],
    ]
    file = tmp_path / "answers.jsonl"
    with pytest.raises(EngineError, match=r"2 \('.', '.'\) of 7 questions cannot be asked: "):
        ask(engine, mixed, file, settings=SETTINGS)
    assert set(read_answers(file)) == {"2", "3", "4", "5", "6"}
    assert len(ask(engine, questions, file, settings=SETTINGS)) == 7


def test_what_fails_otherwise_ends_the_run(
    questions: list[Question], random_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    engine = LocalEngine(random_checkpoint(), slots=2, context_tokens=256)
    closing = threading.Thread(target=engine.close, args=(0,))

    def last() -> Conversation:
        closing.start()
        closing.join()
        return Conversation((Turn("user", "Still there?"),))

    file = tmp_path / "answers.jsonl"
    with pytest.raises(EngineError, match="shutting down"):
        ask(
            engine,
            [*questions[:2], replace(questions[2], conversation=last), *questions[3:]],
            file,
            settings=SETTINGS,
            at_once=1,
        )
    assert set(read_answers(file)) == {"0", "1"}


TWO = {"1": Answer("1", "A"), "2": Answer("2", "B. Because.")}


@pytest.mark.parametrize(
    "content",
    [
        '{"question_id": "1", "text": "A"}\n{"question_id": 2, "text": "B. Because."}\n',
        '\ufeff{"question_id": 1, "text": "A"}\n\n{"question_id": 2, "answer": "B. Because."}',
        '[{"question_id": 1, "text": "A"},\n {"question_id": "2", "text": "B. Because."}]',
        '{"acc": 90.9, "results": {"1": 0},\n "outputs": {"1": "A", "2": "B. Because."}}',
        '{\n  "outputs": {\n    "1": "A",\n    "2": "B. Because."\n  }\n}',
    ],
)
def test_the_published_kinds_of_files_are_read(content: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(content, encoding="utf-8")
    told: list[str] = []
    assert read_answers(file, told.append) == TWO and not told


def test_of_an_answer_given_twice_the_last_counts_and_is_told(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [{"question_id": id_, "text": text} for id_, text in ((1, "A"), (2, "B"), ("1", "C"))]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    told: list[str] = []
    assert read_answers(file, told.append)["1"].text == "C"
    assert told == [f"{file}: 1 answers are to a question answered before; the last one counts"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"[]", "there is no answer in it"),
        (b'{"question_id": 1, "text": "A"}\n{"question_id": 2', "line 2 is not JSON"),
        (b'[{"question_id": 1}]', "row 1: the answer must be a text"),
        (b'[{"question_id": 1.5, "text": "A"}]', "row 1, question_id: it must be a text or a who"),
        (b"[7]", "row 1: an answer must be an object"),
        (b'{"outputs": {"7": null}}', r"outputs\['7'\]: the answer must be a text"),
        (b'{"results": {"7": 1}}', "must hold `outputs`"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"7", "must be a list"),
    ],
)
def test_a_broken_file_is_named(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_bytes(content)
    with pytest.raises(BenchmarkError, match=sentence):
        read_answers(file)


def test_missing_and_foreign_answers_are_told() -> None:
    told: list[str] = []
    tell_missing(TWO, ["1", "3", "4", "5", "6"], Path("a.jsonl"), told.append)
    assert told == [
        "a.jsonl: no answer to 4 ('3', '4', '5' ...) of 5 questions; they count as wrong",
        "a.jsonl: 1 answers are to questions that are not asked; they are left out",
    ]
    with pytest.raises(BenchmarkError, match="none of its 2 answers is to one of the 1 questions"):
        tell_missing(TWO, ["7"], Path("a.jsonl"))
