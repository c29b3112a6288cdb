"""Asks a judge behind an OpenAI-compatible URL, and keeps what it writes.

Every reply is appended to a file as soon as it is there, and what is there is not asked again.
Imports the client of such a server, settings for its key, and what is asked of the judge; it is
imported only where a judge is asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_chat.engine.remote.completions import Completions
from llava_chat.errors import BenchmarkError, ContextFullError, RefusedRequestError, SettingError
from llava_chat.evaluation.answers import json_lines, read_text, say
from llava_chat.evaluation.asking import appending, drop_half_line
from llava_chat.evaluation.llava_bench.comparing import Comparison, two_scores
from llava_chat.progress import Progress, ProgressLine
from llava_chat.settings import load_settings

TEMPERATURE = 0.2
MAX_TOKENS = 1024
"""Both as in haotian-liu/LLaVA, llava/eval/eval_gpt_review_bench.py."""


@dataclass(frozen=True)
class Judge:
    """A model that scores. tries: how often a reply without scores is asked for again."""

    completions: Completions
    tries: int = 3
    temperature: float = TEMPERATURE
    max_tokens: int = MAX_TOKENS

    def review(self, comparison: Comparison) -> dict[str, Any]:
        """A row of a file of reviews; one without `tuple` where the judge gave no scores.

        `tuple` is always (reference, candidate), in whichever order the judge read them. Raises the
        error of a server that cannot be used.
        """
        row: dict[str, Any] = {
            "question_id": comparison.question_id,
            "category": comparison.category,
            "candidate_first": comparison.candidate_first,
            "judge": self.completions.model,
            "temperature": self.temperature,
            "asked": comparison.fingerprint,
        }
        for number in range(self.tries):
            try:
                reply = self.completions.ask(
                    comparison.messages,
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                    seed=number,
                )
            except (RefusedRequestError, ContextFullError) as error:
                return row | {"content": "", "refused": str(error)}
            row["content"] = reply.text
            scores = two_scores(reply.text)
            if scores is not None:
                return row | {"tuple": list(scores[::-1] if comparison.candidate_first else scores)}
        return row


def open_judge(url: str, model: str, *, tries: int, temperature: float) -> Judge:
    """The judge at an address; its key is the setting `engine_key`. Raises SettingError."""
    key = load_settings().engine_key
    secret = None if key is None else key.get_secret_value()
    try:
        completions = Completions(url, model=model, api_key=secret)
    except SettingError as error:
        raise SettingError("--judge-url", error.problem) from None
    return Judge(completions, tries, temperature)


def judge_all(
    judge: Judge,
    comparisons: Sequence[Comparison],
    file: Path,
    *,
    at_once: int,
    title: str = "evaluate",
) -> None:
    """Have everything judged that `file` has no scores of. title: begins the lines of progress.

    Raises BenchmarkError for a file of another judge or temperature or of other answers, and the
    error of a server that cannot be used; what was judged by then is kept.
    """
    kept = _kept(file, comparisons, judge)
    left = [comparison for comparison in comparisons if comparison.key not in kept]
    if kept and left:
        say(f"{title}: {len(kept)} of {len(comparisons)} reviews are in {file}")
    pool = ThreadPoolExecutor(at_once)
    begun_s = time.monotonic()
    try:
        with appending(file) as write, ProgressLine(title, sys.stderr) as show:
            futures = [pool.submit(judge.review, comparison) for comparison in left]
            for number, future in enumerate(as_completed(futures), 1):
                write(future.result())
                left_s = (time.monotonic() - begun_s) / number * (len(left) - number)
                done = len(comparisons) - len(left) + number
                show(Progress("judging, both orders", done, len(comparisons), "replies", left_s))
    finally:  # at once, where one failed
        judge.completions.close()
        pool.shutdown(cancel_futures=True)


def _kept(file: Path, comparisons: Sequence[Comparison], judge: Judge) -> set[tuple[str, bool]]:
    """What an earlier run has scores of."""
    if not file.exists():
        return set()
    drop_half_line(file)
    asked = {comparison.key: comparison.fingerprint for comparison in comparisons}
    found: set[tuple[str, bool]] = set()
    for where, row in json_lines(read_text(file), file):
        key = _key(row, where)
        here = {
            "judge": (judge.completions.model, "another judge"),
            "temperature": (judge.temperature, "a judge at another temperature"),
            "asked": (asked.get(key), "other answers, questions or rules"),
        }
        for name, (value, other) in here.items():
            if row.get(name) != value:
                raise BenchmarkError(
                    f"{where} is of {other}; name another --output, or delete the file"
                )
        if "tuple" in row:
            found.add(key)
    return found


def _key(row: Any, where: str) -> tuple[str, bool]:
    fields: Mapping[str, Any] = row if isinstance(row, dict) else {}
    question_id, order = fields.get("question_id"), fields.get("candidate_first")
    if not isinstance(question_id, str) or not isinstance(order, bool):
        raise BenchmarkError(f"{where} is no review of this command; name another --output")
    return question_id, order
