"""Instruction data from captions and boxes, written by a language model behind any
OpenAI-compatible server (arXiv 2304.08485, section 3).

DATA is COCO's own captions_*.json together with instances_*.json, or JSONL with a row
{"id", "image", "captions": [...], "instances": [{"category", "bbox"}]} a picture. What comes is
LLaVA's instruction JSON, which `train finetune` reads. The same command again goes on where it was.
The key of the server, if it wants one, goes into LLAVA_CHAT_ENGINE_KEY.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_chat.engine.remote.completions import Completions
from llava_chat.errors import EngineError, UsageError
from llava_chat.progress import ProgressLine
from llava_chat.settings import load_settings
from llava_chat.training.generation.asking import Asking, AskingSettings, Stopped
from llava_chat.training.generation.cost import Prices
from llava_chat.training.generation.journal import NAME as JOURNAL, Journal
from llava_chat.training.generation.kinds import ASKED_KINDS, PAPER_SHARES
from llava_chat.training.generation.ledger import Ledger
from llava_chat.training.generation.pictures import DescribedPicture
from llava_chat.training.generation.plan import Task, as_counts, parsed_types, planned
from llava_chat.training.generation.prompts import FOLDER, Prompts, load_prompts, write_prompts
from llava_chat.training.generation.reading import read_pictures
from llava_chat.training.generation.report import expected_tokens, figures, table, token_figures
from llava_chat.training.generation.rows import as_json, instruction_rows
from llava_chat.training.writing import write_whole

CAPTIONS, INSTRUCTIONS = "captions.json", "instructions.json"
"""What comes for stage 1, the type brief, and for stage 2, all others."""
REPORT = "report.json"
_BY_DEFAULT = ",".join(f"{kind}={share}" for kind, share in PAPER_SHARES.items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is described, what is wanted, whom to ask, and what it may take."""
    parser.add_argument("data", type=Path, nargs="*", metavar="DATA", help="captions and boxes")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"for {INSTRUCTIONS}, {CAPTIONS} and all the rest",
    )
    parser.add_argument("--json", action="store_true", help="the report for a program")
    _add_wanted(parser.add_argument_group("what is wanted"))
    _add_server(parser.add_argument_group("whom to ask"))
    _add_limits(parser.add_argument_group("what it may take"))


def _add_wanted(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--types",
        metavar="TYPE=N,...",
        help="how many rows of conversation, detail, reasoning and brief; with --count, in which "
        f"shares. brief is a caption with an instruction and asks nobody (default: {_BY_DEFAULT} "
        "as shares)",
    )
    group.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="rows in all, in the shares of --types (default without --types: as many as pictures)",
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)"
    )
    group.add_argument(
        "--prompts",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="system messages, examples and instructions of one's own",
    )
    group.add_argument(
        "--write-prompts", type=Path, metavar="DIR", help="write those to start from, and end"
    )


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--url", metavar="URL", help="of the server, like http://127.0.0.1:8000/v1")
    group.add_argument("--model", metavar="NAME", help="as the server calls it")
    group.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        help="at 0 an unfit reply mostly comes again (default: the server's own)",
    )
    group.add_argument(
        "--max-new-tokens", type=int, default=1024, metavar="N", help="of a reply (default: 1024)"
    )
    group.add_argument(
        "--at-once", type=int, default=16, metavar="N", help="requests under way (default: 16)"
    )
    group.add_argument(
        "--attempts", type=int, default=3, metavar="N",
        help="replies asked for a row before it is given up (default: 3)",
    )  # fmt: skip
    group.add_argument(
        "--retries", type=int, default=5, metavar="N",
        help="of a request that the server is too busy for or fails at (default: 5)",
    )  # fmt: skip
    group.add_argument(
        "--timeout-s", type=float, default=180.0, metavar="S", help="for a reply (default: 180)"
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dry-run", action="store_true", help="estimate, and ask nothing")
    group.add_argument(
        "--price-in", type=float, metavar="X", help="of a million tokens that are read"
    )
    group.add_argument(
        "--price-out", type=float, metavar="X", help="of a million tokens that are written"
    )
    group.add_argument(
        "--max-cost",
        type=float,
        metavar="X",
        help="stop before all runs into this --output have cost more",
    )


def run(args: argparse.Namespace) -> int:
    """Write the prompts, estimate, or make the data."""
    if args.write_prompts is not None:
        write_prompts(args.write_prompts)
        print(args.write_prompts)
        return 0
    _check(args)
    pictures, prompts = read_pictures(args.data), load_prompts(args.prompts)
    types = parsed_types(args.types or _BY_DEFAULT)
    count = args.count or (None if args.types else len(pictures))
    tasks = planned(pictures, as_counts(types, count), args.seed)
    asks = any(task.kind in ASKED_KINDS for task in tasks)
    if args.dry_run:
        return _estimate(args, pictures, prompts, tasks)
    if args.output is None:
        raise UsageError("--output must name a folder for what is made.")
    if asks and (args.url is None or args.model is None):
        raise UsageError(
            "--url and --model must say whom to ask; --types brief=N alone asks nobody, and "
            "--dry-run tells what it would take."
        )
    return _make(args, pictures, prompts, tasks)


def _check(args: argparse.Namespace) -> None:
    if not args.data:
        raise UsageError("Name the files with captions and boxes; --help says which.")
    least = {"count": 1, "max_new_tokens": 1, "at_once": 1, "attempts": 1, "retries": 0}
    for name, lowest in least.items():
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {lowest}, not {value}")
    for name in ("temperature", "timeout_s", "price_in", "price_out", "max_cost"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < 1e9:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 or more, not {value:g}")
    if (args.price_in is None) != (args.price_out is None):
        raise UsageError("--price-in and --price-out go together")
    if args.max_cost is not None and args.price_in is None:
        raise UsageError("--max-cost needs --price-in and --price-out")


def _prices(args: argparse.Namespace) -> Prices | None:
    return None if args.price_in is None else Prices(args.price_in, args.price_out)


def _asked(
    args: argparse.Namespace, pictures: Sequence[DescribedPicture], prompts: Prompts
) -> dict[str, object]:
    """What replies depend on: those to something else are not mixed with them."""
    described = "\0".join(f"{each.id}\n{each.image}\n{each.context}" for each in pictures)
    return {
        "data": hashlib.sha256(described.encode()).hexdigest()[:16],
        "prompts": prompts.fingerprint,
        "--model": args.model,
        "--temperature": args.temperature,
        "--max-new-tokens": args.max_new_tokens,
        "--seed": args.seed,
    }


def _estimate(
    args: argparse.Namespace,
    pictures: Sequence[DescribedPicture],
    prompts: Prompts,
    tasks: Sequence[Task],
) -> int:
    ledger = Ledger(args.attempts)
    if args.output is not None and (args.output / JOURNAL).exists():
        with Journal(args.output, _asked(args, pictures, prompts)) as journal:
            ledger = Ledger.of(journal.entries, args.attempts)
    left = [task for task in tasks if ledger.is_open(task)]
    tokens = token_figures(expected_tokens(left, prompts), _prices(args))
    found = {"pictures": len(pictures), "rows": len(tasks), "requests": len(left), "tokens": tokens}
    if args.json:
        print(json.dumps(found))
        return 0
    cost = "" if tokens["cost"] is None else f", and cost {tokens['cost']:.2f}"
    print(
        f"{len(tasks)} rows of {len(pictures)} pictures. {len(left)} requests would read about "
        f"{tokens['prompt']:,} tokens and write about {tokens['completion']:,}{cost}: an estimate, "
        "by the length of the texts and of the examples' replies, without requests made again."
    )
    return 0


def _make(
    args: argparse.Namespace,
    pictures: Sequence[DescribedPicture],
    prompts: Prompts,
    tasks: Sequence[Task],
) -> int:
    with Journal(args.output, _asked(args, pictures, prompts)) as journal:
        ledger = Ledger.of(journal.entries, args.attempts)
        stopped = Stopped()
        try:
            if any(ledger.is_open(task) for task in tasks):
                stopped = _ask(args, prompts, tasks, journal, ledger)
        finally:
            # Also of what was answered before Ctrl-C.
            report = _write(args, prompts, tasks, ledger, stopped)
    print(json.dumps(report) if args.json else _told(report, args.output))
    if stopped.why is not None:
        raise EngineError(
            f"{stopped.unanswered} rows were not answered. {stopped.why} What was answered is kept "
            f"in {args.output}: the same command goes on from there."
        )
    return 0


def _ask(
    args: argparse.Namespace,
    prompts: Prompts,
    tasks: Sequence[Task],
    journal: Journal,
    ledger: Ledger,
) -> Stopped:
    key = load_settings(argparse.Namespace()).engine_key
    settings = AskingSettings(
        temperature=args.temperature,
        max_new_tokens=args.max_new_tokens,
        seed=args.seed,
        at_once=args.at_once,
        prices=_prices(args),
        max_cost=args.max_cost,
    )
    with (
        Completions(
            args.url,
            model=args.model,
            api_key=None if key is None else key.get_secret_value(),
            timeout_s=args.timeout_s,
            retries=args.retries,
        ) as client,
        ProgressLine("generate-data", sys.stderr) as line,
    ):
        return Asking(client, prompts, journal, ledger, settings).run(tasks, line)


def _write(
    args: argparse.Namespace,
    prompts: Prompts,
    tasks: Sequence[Task],
    ledger: Ledger,
    stopped: Stopped,
) -> dict[str, Any]:
    brief = [task for task in tasks if task.kind == "brief"]
    told = [task for task in tasks if task.kind != "brief"]
    captions, _ = instruction_rows(brief, ledger.turns, prompts, args.seed)
    instructions, repeated = instruction_rows(told, ledger.turns, prompts, args.seed)
    rows = [*captions, *instructions]
    report = {
        "model": args.model,
        "prompts": prompts.fingerprint,
        "seed": args.seed,
        "rows": len(rows),
        "questions": sum(len(row["conversations"]) // 2 for row in rows),
        "types": figures(tasks, ledger, stopped, rows, repeated),
        "tokens": token_figures(ledger.tokens, _prices(args)),
        "stopped_by_budget": stopped.budget,
    }
    for name, of_stage, made in ((CAPTIONS, brief, captions), (INSTRUCTIONS, told, instructions)):
        if of_stage:
            write_whole(args.output / name, as_json(made))
    write_whole(args.output / REPORT, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    return report


def _told(report: dict[str, Any], output: Path) -> str:
    tokens = report["tokens"]
    spent = f"{tokens['prompt']:,} tokens read and {tokens['completion']:,} written"
    if tokens["estimated"]:
        spent += f" ({tokens['estimated']:,} of them estimated: the server does not count)"
    if tokens["cost"] is not None:
        spent += f", {tokens['cost']:.2f} spent"
    lines = [
        *table(report["types"]),
        "",
        f"{output}: {report['rows']} rows with {report['questions']} questions; {spent}",
    ]
    for kind, row in report["types"].items():
        lines += [f"{kind}, unfit: {number} ({why})" for why, number in row["unfit"].items()]
        lines += [f"{kind}, refused: {number} ({why})" for why, number in row["refused"].items()]
    if report["stopped_by_budget"]:
        lines.append("It stopped at --max-cost; the same command with a higher one goes on.")
    return "\n".join(lines)
