"""A judge behind a real socket: asked again, given up on, gone, gone on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llava_chat.engine.remote.completions import Completions
from llava_chat.errors import BenchmarkError, RemoteEngineError
from llava_chat.evaluation.judging import Judge, judge_all
from llava_chat.evaluation.llava_bench.reviews import read_reviews
from llava_chat.evaluation.llava_bench.scores import relative_scores
from tests.engine.remote.server import Answer, Heard, ScriptedServer, Wire
from tests.evaluation.llava_bench.judge import CANDIDATE, judging, pairs, worth

MakeServer = Callable[[Answer], ScriptedServer]


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    servers: list[ScriptedServer] = []

    def make(answer: Answer) -> ScriptedServer:
        servers.append(ScriptedServer(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def judge(server: ScriptedServer, model: str = "judge") -> Judge:
    return Judge(Completions(server.url, model=model, retries=0, timeout_s=20), tries=3)


def kept(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_both_orders_are_judged_and_kept(make_server: MakeServer, tmp_path: Path) -> None:
    server, file = make_server(judging(lambda asked, _: worth(asked))), tmp_path / "reviews.jsonl"
    judge_all(judge(server), pairs(), file, at_once=2)
    assert {(row["question_id"], row["candidate_first"]): row["tuple"] for row in kept(file)} == {
        ("0", False): [9, 3], ("0", True): [9, 3], ("1", False): [8, 6], ("1", True): [8, 6],
    }  # fmt: skip
    assert kept(file)[0]["content"].partition("\n")[2].startswith("The first one is worth")
    scores = relative_scores(read_reviews(file).reviews)
    assert scores["conv"].score == pytest.approx(100 * 3 / 9)
    assert scores["all"].score == pytest.approx(100 * 18 / 34)
    asked = server.heard[0].fields
    assert (asked["model"], asked["temperature"]) == ("judge", 0.2)

    judge_all(judge(server), pairs(), file, at_once=2)
    assert len(server.heard) == 4  # nothing is asked twice


def test_a_reply_without_scores_is_asked_for_again_and_then_given_up(
    make_server: MakeServer, tmp_path: Path
) -> None:
    def says(asked: str, times: int) -> str:
        if "What is it?" in asked:
            return worth(asked) if times == 3 else "Both are fine."
        return "I cannot say."

    server, file = make_server(judging(says)), tmp_path / "reviews.jsonl"
    judge_all(judge(server), pairs(), file, at_once=1)
    assert len(server.heard) == 12
    assert {heard.fields["seed"] for heard in server.heard} == {0, 1, 2}
    found = read_reviews(file)
    assert found.unjudged == 2
    assert [row.get("content") for row in kept(file) if "tuple" not in row] == ["I cannot say."] * 2
    assert list(relative_scores(found.reviews)) == ["conv", "all"]

    server.answer = judging(lambda asked, _: worth(asked))
    judge_all(judge(server), pairs(), file, at_once=1)
    assert len(server.heard) == 14  # those that were given up, again
    assert read_reviews(file).unjudged == 0


def test_what_was_judged_before_the_server_went_is_kept(
    make_server: MakeServer, tmp_path: Path
) -> None:
    good = judging(lambda asked, _: worth(asked))

    async def broken(heard: Heard, wire: Wire) -> None:
        if "Why is it there?" in heard.fields["messages"][1]["content"]:
            await wire.json(500, {"error": {"message": "out of memory"}})
        else:
            await good(heard, wire)

    server, file = make_server(broken), tmp_path / "reviews.jsonl"
    with pytest.raises(RemoteEngineError, match="out of memory"):
        judge_all(judge(server), pairs(), file, at_once=1)
    with file.open("ab") as opened:
        opened.write(b'{"question_id": "1", "tu')  # as a killed run leaves it
    server.answer = good
    judge_all(judge(server), pairs(), file, at_once=1)
    assert sorted(row["question_id"] for row in kept(file)) == ["0", "0", "1", "1"]


def test_messages_that_the_server_does_not_take_are_unjudged(
    make_server: MakeServer, tmp_path: Path
) -> None:
    async def refusing(heard: Heard, wire: Wire) -> None:
        await wire.json(400, {"error": {"message": "not these words"}})

    file = tmp_path / "reviews.jsonl"
    judge_all(judge(make_server(refusing)), pairs()[:1], file, at_once=1)
    assert "not these words" in kept(file)[0]["refused"]
    assert read_reviews(file).unjudged == 1


@pytest.mark.parametrize(
    ("model", "candidate", "named"),
    [
        ("another", CANDIDATE, "line 1 is of another judge; name another --output"),
        ("judge", CANDIDATE | {"0": "A hen."}, "line 1 is of other answers, questions or rules"),
    ],
)
def test_reviews_of_something_else_are_not_mixed_in(
    make_server: MakeServer, tmp_path: Path, model: str, candidate: dict[str, str], named: str
) -> None:
    server, file = make_server(judging(lambda asked, _: worth(asked))), tmp_path / "reviews.jsonl"
    judge_all(judge(server), pairs()[:1], file, at_once=1)
    with pytest.raises(BenchmarkError, match=named):
        judge_all(judge(server, model), pairs(candidate), file, at_once=1)
    assert len(server.heard) == 1


def test_reviews_at_another_temperature_are_not_mixed_in(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server, file = make_server(judging(lambda asked, _: worth(asked))), tmp_path / "reviews.jsonl"
    judge_all(judge(server), pairs()[:1], file, at_once=1)
    with pytest.raises(BenchmarkError, match="line 1 is of a judge at another temperature"):
        judge_all(replace(judge(server), temperature=1.0), pairs(), file, at_once=1)
    assert len(server.heard) == 1


def test_another_file_of_that_name_is_left_alone(make_server: MakeServer, tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text('{"question_id": 1, "tuple": [8, 6]}\n', encoding="utf-8")
    with pytest.raises(BenchmarkError, match="line 1 is no review of this command"):
        judge_all(judge(make_server(judging(lambda *_: ""))), pairs(), file, at_once=1)
