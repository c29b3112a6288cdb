"""ScienceQA: prompts word for word, LLaVA's rule for answers, ScienceQA's own groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.science_qa.answered import Way, read_answered, report, wrong_cards
from llava_chat.evaluation.science_qa.problems import Problem, check_pictures, read_problems
from llava_chat.evaluation.science_qa.prompts import answer_text, question_text, training_rows
from llava_chat.evaluation.science_qa.published import PUBLISHED
from llava_chat.evaluation.science_qa.scoring import choice_of, letter_of, shares
from llava_chat.training.data import read_instructions
from tests.evaluation.science_set import PROBLEMS, write_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("science"))


@pytest.fixture(scope="module")
def problems(folder: Path) -> list[Problem]:
    return read_problems(folder, "test")


def named(problems: list[Problem], id_: str) -> Problem:
    return next(problem for problem in problems if problem.id == id_)


def test_the_prompts_are_those_of_the_reference(problems: list[Problem]) -> None:
    assert question_text(named(problems, "7")) == (
        "Is there a star?\nContext: Look at the picture.\nOptions: (A) no (B) yes"
    )
    assert Way("QCM-LEA", False, None).text(named(problems, "7")).startswith("<image>\nIs there")
    assert question_text(named(problems, "34"), "CQM-A", letter_only=True) == (
        "Context: N/A\nQuestion: Which is a capital?\nOptions: (A) Rome (B) Ruhr\n"
        "Answer with the option's letter from the given choices directly."
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("QCM-LEA", "Fish breathe by gills.\nGills take oxygen out of water. A cod is a fish. {}"),
        ("CQM-A", "{}"),
        ("QCM-ELA", "A cod is a fish. Fish breathe by gills.\nGills take oxygen out of water. {}"),
        ("QCM-AEL", "{} BECAUSE: A cod is a fish. Fish breathe by gills.\nGills take oxygen out of "
         "water."),
    ],
)  # fmt: skip
def test_what_is_learned_ends_or_begins_with_the_answer(
    form: str, said: str, problems: list[Problem]
) -> None:
    assert answer_text(named(problems, "20"), form) == said.format("The answer is A.")
    assert answer_text(named(problems, "21"), form) == "The answer is A."


def test_the_rows_for_training_are_read_by_the_trainer(
    folder: Path, problems: list[Problem], tmp_path: Path
) -> None:
    file = tmp_path / "train.json"
    for images, below in ((folder / "images", "images"), (folder / "images/test", "images/test")):
        rows = training_rows(problems, "QCM-LEA", images)
        file.write_text(json.dumps(rows), encoding="utf-8")
        read = read_instructions(file, folder / below)
        assert [row.id for row in read] == [problem.id for problem in problems]
        assert read[0].sources == (folder / "images/test/3/image.png",)
        assert read[0].turns == ((question_text(problems[0]), "The answer is A."),)
    assert training_rows(problems, "QCM-LEA", None)[0]["image"] == "3/image.png"


# haotian-liu/LLaVA, eval_science_qa.py, read line by line; None counts as wrong.
TAKEN = {
    "A": "A",
    "E": "E",
    "B. Because it is.": "B",
    "C. ": "C",
    "The answer is D.": "D",
    "Birds fly. The answer is B. So it is.": "B",
    "A. The answer is B.": "A",
    "The answer is A, of course": "A",
    "The answer is Apple": "A",
    "The answer is F.": "F",
    "": None,
    "a": None,
    " A": None,
    "A.": None,
    "A\n": None,
    "A, because": None,
    "F": None,
    "AB": None,
    "(A)": None,
    "the answer is A.": None,
    "The answer is a.": None,
    "The answer is A": None,
    "The answer is A\nor so": None,
    "The answer is (A).": None,
    "The answer is A. The answer is A.": None,
    "The answer is A. No. The answer is B.": None,
}


@pytest.mark.parametrize(("text", "letter"), TAKEN.items())
def test_the_rule_for_answers(text: str, letter: str | None) -> None:
    assert letter_of(text) == letter


def test_a_letter_that_no_choice_has_is_no_choice(problems: list[Problem]) -> None:
    two = named(problems, "21")
    assert [choice_of(letter, two) for letter in ("A", "B", "C", "F", None)] == [
        *(0, 1),
        *(None, None, None),
    ]


def test_the_groups_are_those_of_science_qa(problems: list[Problem]) -> None:
    found = shares(problems, {problem.id: 0 for problem in problems} | {"7": 1, "33": None})
    assert {name: (share.right, share.asked) for name, share in found.items()} == {
        "NAT": (2, 3),
        "SOC": (2, 2),
        "LAN": (1, 2),
        "TXT": (1, 2),  # one of them has a picture as well
        "IMG": (2, 3),
        "NO": (2, 3),
        "G1-6": (3, 4),
        "G7-12": (2, 3),
        "Average": (5, 7),
    }


ANSWERS = {
    "3": "A",
    "7": "The answer is A.",
    "12": "A. There is one.",
    "20": "A cod. The answer is A.",
    "21": "B",
    "33": "I do not know.",
}  # one of seven is missing


def written(tmp_path: Path, kind: str) -> Path:
    file = tmp_path / f"{kind}.json"
    rows = [{"question_id": id_, "text": text, "model_id": "m"} for id_, text in ANSWERS.items()]
    document: dict[str, Any] = {"outputs": ANSWERS}
    if kind == "with guesses":
        document["results"] = {"3": 0, "7": 0, "12": 0, "20": 0, "21": 1, "33": 0, "34": 0}
    if kind == "choices":
        document = {"results": {"3": 0, "7": 0, "12": 0, "20": 0, "21": 1, "33": -1}}
    text = "\n".join(map(json.dumps, rows)) if kind == "lines" else json.dumps(document)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["lines", "outputs", "with guesses", "choices"])
def test_the_published_files_are_scored_alike(
    kind: str, problems: list[Problem], tmp_path: Path
) -> None:
    told: list[str] = []
    answered = read_answered(problems, written(tmp_path, kind), told.append)
    found = report(problems, answered)
    assert (found.results["correct"], found.results["count"]) == (4, 7)
    assert found.results["acc"] == pytest.approx(400 / 7) and found.headline == "57.14 %"
    assert found.results["without_a_choice"] == (1 if kind == "choices" else 2)
    if kind != "choices":
        assert found.details["results"] == {
            **{"3": 0, "7": 0, "12": 0, "20": 0},
            **{"21": 1, "33": -1, "34": -1},
        }
    assert "1 ('34') of 7 questions; they count as wrong" in told[0]
    name = "m" if kind == "lines" else kind
    assert found.table.splitlines()[2].startswith(f"| {name} | 100.00 | 50.00 | 0.00 | 100.00 |")
    own = found.results["rows"].get("its file's own choices")
    assert (own and own["Average"]["right"]) == (6 if kind == "with guesses" else None)


def test_a_second_opinion_is_put_together_as_in_the_paper(
    problems: list[Problem], tmp_path: Path
) -> None:
    gpt4, judge = tmp_path / "gpt4.json", tmp_path / "judge.jsonl"
    # Right where it answers, but for one; "B" alone is none of its answers.
    texts = {**dict.fromkeys(("7", "33", "34"), "The answer is A."), "3": "B", "20": "No idea."}
    texts["21"] = "The answer is B."
    gpt4.write_text(json.dumps({"outputs": texts}), encoding="utf-8")
    judge.write_text('{"question_id": "21", "text": "The answer is A."}\n', encoding="utf-8")
    told: list[str] = []
    answered = read_answered(problems, written(tmp_path, "outputs"), told.append)
    found = report(problems, answered, complement=gpt4, judge=judge, tell=told.append)
    right = {name: row["Average"]["right"] for name, row in found.results["rows"].items()}
    assert right == {
        "outputs": 4,
        "gpt4 alone": 3,
        # "A" alone is no stated answer of ours either, as the reference puts them together.
        "outputs, complement gpt4": 4,
        "outputs, judge judge": 3,
    }


def test_choices_alone_have_no_second_opinion(problems: list[Problem], tmp_path: Path) -> None:
    answered = read_answered(problems, written(tmp_path, "choices"), lambda _: None)
    with pytest.raises(BenchmarkError, match="choices alone cannot be put together"):
        report(problems, answered, judge=tmp_path / "judge.jsonl")


def test_the_papers_figures_stand_beside_ours(problems: list[Problem], tmp_path: Path) -> None:
    answered = read_answered(problems, written(tmp_path, "outputs"), lambda _: None)
    shown = report(problems, answered, published=True).table
    assert (
        "| LLaVA 13B | 90.36 | 95.95 | 88.00 | 89.49 | 88.00 | 90.66 | 90.93 | 90.90 | 90.92 |"
        in (shown.splitlines())
    )
    assert "arXiv 2304.08485, table 7" in shown
    assert PUBLISHED["LLaVA 13B, GPT-4 judge"]["Average"] == 92.53


def test_wrong_answers_come_with_what_helps_to_see_why(
    folder: Path, problems: list[Problem], tmp_path: Path
) -> None:
    answered = read_answered(problems, written(tmp_path, "outputs"), lambda _: None)
    cards = {card.id: card for card in wrong_cards(problems, answered, Way("QCM-A", False, folder))}
    assert set(cards) == {"21", "33", "34"}
    assert cards["21"] == Wrong(
        "21",
        "language science",
        question_text(named(problems, "21")),
        "(A) run",
        "B",
        None,
        {"taken as": "(B) red", "solution": "", "lecture": ""},
    )
    assert cards["34"].said == "" and (cards["34"].notes or {})["taken as"] == "no choice"
    nothing = read_answered(problems, written(tmp_path, "choices"), lambda _: None)
    wrong = wrong_cards(problems, nothing, Way("QCM-A", False, folder / "images"))
    assert wrong[0].said == "(B) red"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choices": []}, "problem '3', choices: it must be a list of 1 to 5 texts"),
        ({"choices": ["a"] * 6}, "choices: it must be a list of 1 to 5 texts"),
        ({"choices": ["a", 2]}, "choices: it must be a list of 1 to 5 texts"),
        ({"answer": 2}, "answer: it must be a choice's place"),
        ({"answer": True}, "answer: it must be a choice's place"),
        ({"hint": 7}, "hint: it must be a text"),
        ({"question": ""}, "question: there is none"),
    ],
)
def test_a_wrong_problem_is_named(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    changed = {**PROBLEMS, "3": {**PROBLEMS["3"], **change}}
    (tmp_path / "problems.json").write_text(json.dumps(changed), encoding="utf-8")
    (tmp_path / "pid_splits.json").write_text('{"test": ["3"]}', encoding="utf-8")
    with pytest.raises(BenchmarkError, match=sentence):
        read_problems(tmp_path, "test")


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ('{"val": ["3"]}', "there is no split 'test', only val"),
        ('{"test": []}', "it must be a list of at least one id"),
        ('{"test": ["99"]}', "there is no problem '99', which is in split 'test'"),
        ("[]", "pid_splits.json: it must be an object"),
        ("{", "pid_splits.json is not JSON"),
    ],
)
def test_a_wrong_split_is_named(splits: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "problems.json").write_text(json.dumps(PROBLEMS), encoding="utf-8")
    (tmp_path / "pid_splits.json").write_text(splits, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=sentence):
        read_problems(tmp_path, "test")


def test_pictures_are_looked_for_before_a_model_is(folder: Path, problems: list[Problem]) -> None:
    check_pictures(problems, folder / "images")
    check_pictures(problems, folder / "images" / "test")
    with pytest.raises(BenchmarkError, match=r"the pictures of 3 \('3', '7', '12'\) problems are"):
        check_pictures(problems, folder)


def test_a_picture_outside_its_folder_is_missing(folder: Path, tmp_path: Path) -> None:
    outside = {**PROBLEMS, "3": {**PROBLEMS["3"], "image": "../../../../problems.json"}}
    (tmp_path / "problems.json").write_text(json.dumps(outside), encoding="utf-8")
    (tmp_path / "pid_splits.json").write_text('{"test": ["3"]}', encoding="utf-8")
    with pytest.raises(BenchmarkError, match="pictures of 1"):
        check_pictures(read_problems(tmp_path, "test"), folder / "images")
