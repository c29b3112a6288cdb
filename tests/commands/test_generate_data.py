"""`generate-data` from a shell: estimates, makes, is killed, goes on, and says what came of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llava_chat.__main__ import build_parser, main
from llava_chat.training.data import read_instructions
from llava_chat.training.generation.journal import NAME as JOURNAL
from tests.training.generation.conftest import MADE_UP, MakeModel, make_model
from tests.training.generation.model import MODEL, Model

ROOT = Path(__file__).parent.parent.parent
TYPES = "conversation=8,detail=4,reasoning=8,brief=3"
COUNTS = {"conversation": 8, "detail": 4, "reasoning": 8, "brief": 3}

__all__ = ["make_model"]  # the fixture


def command(model: Model | None, output: Path, *more: str) -> list[str]:
    server = [] if model is None else ["--url", model.url, "--model", MODEL]
    return ["generate-data", str(MADE_UP), "--output", str(output), *server, *more]


def report_of(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def replies_in(output: Path) -> list[tuple[str, str]]:
    lines = (output / JOURNAL).read_bytes().split(b"\n")[1:-1]
    return [(row["kind"], row["picture"]) for row in map(json.loads, lines)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Files of the pictures' names."""
    folder = tmp_path / "images"
    for line in MADE_UP.read_text().splitlines():
        picture = folder / json.loads(line)["image"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    return folder


def test_captions_and_boxes_become_instructions_that_training_reads(
    make_model: MakeModel,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAVA_CHAT_ENGINE_KEY", "sk-secret")
    model = make_model(troubles=lambda key: ["cut off"] if key[0] == "detail" else [])
    output = tmp_path / "out"
    prices = ["--price-in", "10", "--price-out", "30"]
    assert main([*command(model, output, "--types", TYPES, *prices)]) == 0
    out, err = capsys.readouterr()
    assert "20 rows with" not in out and "23 rows with 31 questions" in out
    assert "detail, unfit: 4 (cut off)" in out
    assert "24,000 tokens read and 2,400 written, 0.31 spent" in out
    read = read_instructions(output / "instructions.json", images)
    read += read_instructions(output / "captions.json", images)
    assert Counter(row.id.rpartition("-")[2] for row in read) == COUNTS
    report = report_of((output / "report.json").read_text())
    assert report["types"]["detail"] == {
        "wanted": 4, "rows": 4, "asked": 8, "unfit": {"cut off": 4}, "given_up": 0, "refused": {},
        "repeated": 0, "open": 0,
    }  # fmt: skip
    assert {headers["authorization"] for headers in model.headers} == {"Bearer sk-secret"}
    assert "sk-secret" not in out + err + "".join(f.read_text() for f in output.iterdir())


def test_the_same_command_again_asks_nothing_and_writes_the_same(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model()
    again = command(model, tmp_path, "--types", TYPES, "--json")
    assert main(again) == 0
    first = report_of(capsys.readouterr().out)
    rows = (tmp_path / "instructions.json").read_bytes()
    assert main(again) == 0
    assert report_of(capsys.readouterr().out) == first
    assert (model.requests, (tmp_path / "instructions.json").read_bytes()) == (20, rows)


def test_more_rows_go_on_from_those_that_are_there(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model()
    assert main(command(model, tmp_path, "--types", "detail=3")) == 0
    assert main(command(model, tmp_path, "--types", "detail=5,brief=1")) == 0
    assert model.requests == 5
    assert len(json.loads((tmp_path / "instructions.json").read_text())) == 5
    assert len(json.loads((tmp_path / "captions.json").read_text())) == 1


def test_an_estimate_asks_nobody(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model()
    wanted = ["--types", TYPES, "--price-in", "10", "--price-out", "30", "--json"]
    dry = command(model, tmp_path, *wanted, "--dry-run")
    assert main(dry) == 0
    before = report_of(capsys.readouterr().out)
    assert not list(tmp_path.iterdir())
    assert (before["pictures"], before["rows"], before["requests"]) == (10, 23, 20)
    tokens = before["tokens"]
    assert tokens["estimated"] == tokens["prompt"] + tokens["completion"] > 20 * 500
    assert tokens["cost"] == round((tokens["prompt"] + 3 * tokens["completion"]) / 1e5, 4)
    assert main(command(model, tmp_path, *wanted)) == 0
    capsys.readouterr()
    assert main(dry) == 0
    assert report_of(capsys.readouterr().out)["requests"] == 0
    assert main(["generate-data", str(MADE_UP), "--dry-run"]) == 0
    assert "10 requests would read about" in (out := capsys.readouterr().out)
    assert "an estimate" in out


def test_brief_rows_need_no_server(tmp_path: Path) -> None:
    assert main(command(None, tmp_path, "--types", "brief=10")) == 0
    assert len(json.loads((tmp_path / "captions.json").read_text())) == 10
    assert not (tmp_path / "instructions.json").exists()


def test_prompts_of_ones_own(make_model: MakeModel, tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert main(["generate-data", "--write-prompts", str(own)]) == 0
    (own / "brief.txt").write_text("Well?\n")
    made = command(None, tmp_path / "out", "--types", "brief=1", "--prompts", str(own))
    assert main(made) == 0
    ((row),) = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert row["conversations"][0]["value"].replace("<image>", "").strip() == "Well?"


def test_a_budget_stops_it(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ["--price-in", "100", "--price-out", "1000", "--max-cost", "3"]
    assert main(command(make_model(), tmp_path, "--types", TYPES, *prices)) == 0
    out = capsys.readouterr().out
    assert "It stopped at --max-cost" in out
    report = report_of((tmp_path / "report.json").read_text())
    assert report["stopped_by_budget"] and report["tokens"]["cost"] <= 3
    assert 0 < report["rows"] < 20


def test_a_server_that_fails_is_a_sentence_and_what_was_answered_is_kept(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = make_model(troubles=lambda key: ["401"] if key[0] == "reasoning" else [])
    wanted = ["--types", "detail=3,reasoning=9", "--at-once", "1"]
    assert main(command(fails, tmp_path, *wanted)) == 1
    err = capsys.readouterr().err
    assert "wants a key; set LLAVA_CHAT_ENGINE_KEY" in err
    assert "the same command goes on from there" in err
    assert len(json.loads((tmp_path / "instructions.json").read_text())) == 3
    assert main(command(make_model(), tmp_path, *wanted)) == 0
    assert len(json.loads((tmp_path / "instructions.json").read_text())) == 12


def test_killed_again_and_again_it_loses_and_repeats_nothing(
    make_model: MakeModel, tmp_path: Path
) -> None:
    running: list[subprocess.Popen[bytes]] = []
    dies_at = [5, 12]

    def before(number: int) -> None:
        if dies_at and number == dies_at[0]:
            dies_at.pop(0)
            running[-1].kill()

    model = make_model(before=before)
    asked = command(model, tmp_path, "--types", TYPES, "--at-once", "3")
    start = [sys.executable, "-m", "llava_chat", *asked]
    kept: list[tuple[str, str]] = []
    for _ in range(2):
        running.append(subprocess.Popen(start, cwd=ROOT, stderr=subprocess.DEVNULL))
        assert running[-1].wait(60) == -signal.SIGKILL
        there = replies_in(tmp_path)
        assert there[: len(kept)] == kept
        kept = there
    assert kept
    assert main(asked) == 0
    there = replies_in(tmp_path)
    assert there[: len(kept)] == kept
    assert len(there) == len(set(there)) == 20
    # What was under way when it was killed is asked again, and nothing else.
    assert model.requests <= 20 + 2 * 3
    rows = (tmp_path / "instructions.json").read_bytes()
    assert main(command(make_model(), tmp_path / "whole", "--types", TYPES)) == 0
    assert rows == (tmp_path / "whole" / "instructions.json").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="the signal is sent to a thread")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_replies_on_their_way_are_kept_when_it_is_told_to_stop(
    number: signal.Signals, make_model: MakeModel, tmp_path: Path
) -> None:
    thread = threading.main_thread().ident
    assert thread is not None

    def before(request: int) -> None:
        if request == 3:
            signal.pthread_kill(thread, number)

    model = make_model(before=before)
    assert main(command(model, tmp_path, "--types", TYPES, "--at-once", "2")) == 130
    assert 3 <= model.requests < 20
    assert len(replies_in(tmp_path)) == model.requests
    rows = json.loads((tmp_path / "instructions.json").read_text())
    assert len(rows) == model.requests
    assert len(json.loads((tmp_path / "captions.json").read_text())) == 3


def test_the_page_about_it_has_commands_that_are_understood() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^llava-chat (.+)$", text, re.MULTILINE)
    assert len(found) == 5
    for line in found:
        build_parser().parse_args(shlex.split(line))


WRONG = {
    "no data": ([], "Name the files"),
    "no output": ([str(MADE_UP), "--types", "brief=1"], "--output"),
    "no server": ([str(MADE_UP), "--output", "out"], "--url and --model"),
    "no such type": ([str(MADE_UP), "--types", "poem=1", "--dry-run"], "'poem=1' is not"),
    "too many": ([str(MADE_UP), "--types", "detail=11", "--dry-run"], "there are 10 pictures"),
    "one price": ([str(MADE_UP), "--price-in", "1", "--dry-run"], "go together"),
    "no price": ([str(MADE_UP), "--max-cost", "1", "--dry-run"], "--max-cost needs"),
    "nobody": ([str(MADE_UP), "--at-once", "0", "--dry-run"], "--at-once must be at least 1"),
    "no time": ([str(MADE_UP), "--timeout-s", "nan", "--dry-run"], "--timeout-s must be 0"),
    "no address": (
        [str(MADE_UP), "--url", "host", "--model", "m", "--output", "out"], "url must be an",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_a_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate-data", *arguments]) == 2
    assert sentence in capsys.readouterr().err
