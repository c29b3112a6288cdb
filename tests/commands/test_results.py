"""`feedback stats` and exports by agreement from the command line, where much was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from tests import judged

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    judged.fill(folder, "llava_chat.db")
    return folder


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["feedback", *arguments, "--data-dir", str(data_dir)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_stats_tell_all_figures_beside_the_counts(run: Run) -> None:
    code, told, _ = run("stats", "--json")
    counts = json.loads(told)
    assert code == 0 and counts["replies"] == 12 and counts["people"] == 3
    results = counts["results"]
    assert results["ranking"]["models"][0]["model"] == "scenes-large"
    assert results["agreement"][0]["alpha"]["ordinal"].keys() == {"value", "low", "high"}
    assert len(results["gold"]) == 3 and results["volume"]["by_kind"]["annotation"] == 72
    assert not {"ann", "Ann"} & set(results["volume"]["by_person"])


def test_stats_of_one_project_are_of_that_alone(run: Run) -> None:
    code, told, _ = run("stats", "--project", "Circles")
    assert code == 0 and told.startswith("annotations: 72\npeople: 3\n")
    assert "alpha, ordinal: " in told and "ranking" not in told and "Ann" not in told
    code, _, said = run("stats", "--project", "Squares")
    assert code in (1, 2) and "Squares" in said and "Traceback" not in said


def test_only_what_people_agree_on_is_exported(run: Run, tmp_path: Path) -> None:
    def export(*more: str) -> tuple[int, str, str]:
        where = ("--project", "Circles", "--output", str(tmp_path / "out"))
        return run("export", "--format", "jsonl", *where, "--json", *more)

    every = json.loads(export("--dry-run")[1])
    most = json.loads(export("--dry-run", "--min-agreement", "0.67")[1])
    left_out = most["left_out"]["people do not agree"]
    assert 0 < left_out < 72 and most["counts"]["annotations"] == 72 - left_out
    assert every["counts"]["annotations"] == 72
    assert most["filters"] == {"min_agreement": 0.67}
    for wrong in ("2", "-1", "nan"):
        assert export("--min-agreement", wrong)[0] == 2


def test_agreement_needs_a_project(run: Run, tmp_path: Path) -> None:
    where = ("--format", "csv", "--output", str(tmp_path / "out"))
    code, _, said = run("export", *where, "--min-agreement", "0.67")
    assert code == 2 and "--project" in said
