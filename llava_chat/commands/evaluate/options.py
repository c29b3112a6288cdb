"""What every benchmark that asks a model questions is told, and what it leaves behind.

Imports nothing of a model until one is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llava_chat.commands.checks import check_above_0, make_folder
from llava_chat.errors import BenchmarkError, UsageError
from llava_chat.evaluation.answers import say
from llava_chat.progress import ProgressLine

if TYPE_CHECKING:
    from llava_chat.engine.local import LocalEngine

ANSWERS, RESULTS, WRONG = "answers.jsonl", "results.json", "wrong.html"
_Any = TypeVar("_Any")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model is asked, and where it runs."""
    parser.add_argument(
        "--model",
        default="scenes",
        help="a folder, a Hub id or `scenes`; LLAVA_CHAT_MODEL is not read here",
    )
    parser.add_argument("--adapter", help="a LoRA or a projector to put on it: a folder or Hub id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--template", help="the conversation template; else the model's own")
    parser.add_argument(
        "--at-once", type=int, metavar="N", help="answer N questions at a time; else what fits"
    )


def add_answers(parser: argparse.ArgumentParser) -> None:
    """Where answers come from and go to, and how the figures are shown."""
    parser.add_argument("--answers", type=Path, help="score the answers in this file, run nothing")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"keep {ANSWERS}, {RESULTS} and {WRONG} here; a run that ended goes on from there",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first N questions only")
    parser.add_argument("--json", action="store_true", help="figures for a program")


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for what cannot be, before anything is loaded; make the output's folder."""
    check_above_0(args, "at_once", "limit")
    if args.answers is not None and not args.answers.is_file():
        raise UsageError(f"--answers: there is no file {args.answers}")
    if args.answers is None and args.output is None:
        raise UsageError(
            "--output DIR is needed, where the model's answers are kept; or --answers FILE, to "
            "score answers that exist"
        )
    if args.output is not None:
        make_folder("--output", args.output)


def limited(args: argparse.Namespace, questions: Sequence[_Any]) -> Sequence[_Any]:
    """The first --limit of them."""
    return questions if args.limit is None else questions[: args.limit]


@contextmanager
def opened(args: argparse.Namespace, title: str) -> Iterator[LocalEngine]:
    """The engine of --model, closed in the end; stderr says which it is. title: as `evaluate x`."""
    from llava_chat.engine.local import open_engine

    with ProgressLine(args.model, sys.stderr) as line:
        engine = open_engine(
            args.model,
            device=args.device,
            dtype=args.dtype,
            template=args.template,
            adapter=args.adapter,
            slots=args.at_once,
            report=line,
        )
    judged = engine.model
    adapter = "" if judged.adapter is None else f" with {judged.adapter}"
    say(
        f"{title}: {judged.id}, revision {judged.revision}{adapter}, template {judged.template}, "
        f"{judged.dtype} on {judged.device}"
    )
    try:
        yield engine
    finally:
        engine.close(grace_s=0)


def show(
    args: argparse.Namespace,
    table: str,
    results: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
) -> None:
    """Print the table, or with --json the results, and keep these in --output, with the details.

    Raises BenchmarkError where they cannot be kept; they are printed by then.
    """
    print(json.dumps(results, indent=2) if args.json else table, flush=True)
    if args.output is not None:
        file = args.output / RESULTS
        document = json.dumps({**results, **(details or {})}, indent=2)
        try:
            file.write_text(document + "\n", encoding="utf-8")
        except OSError as error:
            raise BenchmarkError(f"{file} cannot be written: {error.strerror}") from error
