"""Runs a model over a benchmark's questions, so that nothing answered is ever asked again.

Every answer is appended to a file as soon as it is there; a run that ended, however, goes on from
that file. Imports the engine's interface and `answers`, no model.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llava_chat import __version__
from llava_chat.engine.base import ChatEngine, Done, GenerationSettings, whole_reply
from llava_chat.errors import BenchmarkError, EngineError, InputError
from llava_chat.evaluation.answers import (
    checked_id,
    json_lines,
    read_text,
    say,
    spoken,
)
from llava_chat.evaluation.question import Answer, Question
from llava_chat.progress import Progress, ProgressLine, time_in_words

# Of a server, which does not tell how many it answers at once: as many as a small one does.
AT_ONCE_ELSEWHERE = 8


def ask(
    engine: ChatEngine,
    questions: Sequence[Question],
    file: Path,
    *,
    settings: GenerationSettings,
    at_once: int | None = None,
    title: str = "evaluate",
) -> dict[str, Answer]:
    """Ask everything that `file` has no answer to yet; return all answers, in the questions' order.

    file: JSON lines as LLaVA's own, with `metadata` that reproduces each; made where it is not
    there. at_once: how many questions the engine is given at a time, by default as many as it
    answers; greedy answers are the same. title: begins the lines that tell how far it is.

    A question whose picture is broken or that does not fit the context is passed over; when all
    others are answered, EngineError names those. Raises BenchmarkError for a file of another model,
    other settings or other questions, and the error of a reply that failed otherwise.
    """
    by_id = {question.id: question for question in questions}
    if len(by_id) < len(questions):
        raise BenchmarkError(f"{title}: {len(questions) - len(by_id)} questions share an id")
    facts = _facts(engine, settings)
    kept = _kept(file, by_id, facts)
    left = [question for question in questions if question.id not in kept]
    at_once = at_once or engine.load().slots or AT_ONCE_ELSEWHERE
    if kept and left:
        say(f"{title}: {len(kept)} of {len(questions)} questions are answered in {file}")
    failed: dict[str, InputError] = {}
    with ExitStack() as run:
        write = run.enter_context(appending(file))
        show = run.enter_context(ProgressLine(title, sys.stderr))
        begun_s = time.monotonic()
        replies = run.enter_context(closing(_replies(engine, left, settings, at_once)))
        for number, (question, reply) in enumerate(replies, 1):
            if isinstance(reply, InputError):
                failed[question.id] = reply
            else:
                write(_row(question, reply, facts))
                kept[question.id] = Answer(
                    question.id, reply[0].text, question.prompt, facts["model"]["id"]
                )
            left_s = (time.monotonic() - begun_s) / number * (len(left) - number)
            done = len(questions) - len(left) + number
            show(Progress("asking", done, len(questions), "questions", left_s))
        took_s = time.monotonic() - begun_s
    if left:
        say(f"{title}: {len(left)} questions in {time_in_words(took_s)}, answers in {file}")
    if failed:
        raise _not_asked(
            failed, f"{title}: {spoken([*failed])} of {len(questions)} questions", file
        )
    return {question.id: kept[question.id] for question in questions}


def _not_asked(failed: Mapping[str, InputError], which: str, file: Path) -> EngineError:
    first = next(iter(failed.values()))
    return EngineError(
        f"{which} cannot be asked: {first} All other answers are in {file}: mend it and run this "
        f"again, or score them with --answers {file}."
    )


_Reply = tuple[Done, list[str]]
"""What was said, and the ids of the pictures that it was asked about."""


def _replies(
    engine: ChatEngine, questions: Sequence[Question], settings: GenerationSettings, at_once: int
) -> Generator[tuple[Question, _Reply | InputError]]:
    """Each question with its reply, as they come."""
    stopped = threading.Event()

    def reply(question: Question) -> _Reply | InputError:
        try:
            conversation = question.conversation()
            pictures = [picture.id for turn in conversation.turns for picture in turn.images]
            stream = engine.stream(conversation, settings)
            done = whole_reply(stream, lambda _: stream.cancel() if stopped.is_set() else None)
        except InputError as error:
            return error
        if done.finish in ("deadline", "cancelled"):
            raise EngineError(
                f"the answer to question {question.id!r} was cut after {done.total_s:.0f} s; run "
                "this again, with fewer --at-once"
            )
        return done, pictures

    pool = ThreadPoolExecutor(at_once)
    try:
        asked: dict[Future[_Reply | InputError], Question] = {
            pool.submit(reply, question): question for question in questions
        }
        for future in as_completed(asked):
            yield asked.pop(future), future.result()
    finally:  # at once, where a reply failed or nobody wants more
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _facts(engine: ChatEngine, settings: GenerationSettings) -> dict[str, Any]:
    """What must be the same in one file."""
    model = engine.model
    # How long a reply may take does not change its words; a shorter time is refused.
    sampled = {name: value for name, value in asdict(settings).items() if name != "deadline_s"}
    return {
        "model": {
            "id": model.id,
            "revision": model.revision,
            "adapter": model.adapter,
            "template": model.template,
            "dtype": model.dtype,
        },
        "settings": sampled | {"stop": list(settings.stop)},
    }


def _row(question: Question, reply: _Reply, facts: Mapping[str, Any]) -> dict[str, Any]:
    done, pictures = reply
    return {
        "question_id": question.id,
        "prompt": question.prompt,
        "text": done.text,
        "model_id": facts["model"]["id"],
        "metadata": {
            **facts,
            "seed": done.seed,
            "pictures": pictures,
            "prompt_tokens": done.prompt_tokens,
            "tokens": done.generated_tokens,
            "finish": done.finish,
            "app_version": __version__,
        },
    }


def _kept(
    file: Path, questions: Mapping[str, Question], facts: Mapping[str, Any]
) -> dict[str, Answer]:
    """What a run before this one left. Raises BenchmarkError where it cannot go on from there."""
    if not file.exists():
        return {}
    drop_half_line(file)
    found: dict[str, Answer] = {}
    for where, row in json_lines(read_text(file), file):
        metadata = row.get("metadata") if isinstance(row, dict) else None
        if not isinstance(metadata, dict) or not isinstance(row.get("text"), str):
            raise BenchmarkError(f"{where} is no answer of this command; name another --output")
        for name, said in (("model", "another model"), ("settings", "other settings")):
            if metadata.get(name) != facts[name]:
                raise BenchmarkError(
                    f"{where} is of {said} ({_different(metadata.get(name), facts[name])}); name "
                    "another --output, or delete the file"
                )
        id_ = checked_id(row.get("question_id"), where)
        if id_ not in questions or row.get("prompt") != questions[id_].prompt:
            otherwise = "asked otherwise" if id_ in questions else "not asked"
            raise BenchmarkError(
                f"{where} answers question {id_!r}, which is {otherwise} here; name another "
                "--output, or delete the file"
            )
        found[id_] = Answer(id_, row["text"], questions[id_].prompt, facts["model"]["id"])
    return found


def _different(theirs: Any, ours: Mapping[str, Any]) -> str:
    """The first thing that two records do not share.

    >>> _different({"id": "a", "revision": "1"}, {"id": "a", "revision": "2"})
    "revision '1', here '2'"
    """
    theirs = theirs if isinstance(theirs, dict) else {}
    name = next(name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name))
    return f"{name} {theirs.get(name)!r}, here {ours.get(name)!r}"


def drop_half_line(file: Path) -> None:
    """Cut what a killed run had not finished writing."""
    try:
        with file.open("rb+") as opened:
            content = opened.read()
            if not content.endswith(b"\n"):
                opened.truncate(content.rfind(b"\n") + 1)
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be written: {error.strerror}") from error


@contextmanager
def appending(file: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Writes rows to the end of a file, each at once and whole."""
    try:
        opened = file.open("ab", buffering=0)
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be written: {error.strerror}") from error

    def write(row: Mapping[str, Any]) -> None:
        line = (json.dumps(row) + "\n").encode()
        try:
            whole = opened.write(line) == len(line)
        except OSError:
            whole = False
        if not whole:
            raise BenchmarkError(
                f"{file} cannot be written any more; make room on its disk and run this again, "
                "nothing answered is lost"
            )

    with opened:
        yield write
