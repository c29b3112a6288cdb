"""`train adapter`: from what people wrote about replies to a LoRA adapter.

From files, replies in LLaVA's instruction JSON and pairs in JSONL, or from the page's database.
What it does with them is `training.adapter`'s, which knows of neither.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.commands.checks import check_above_0, check_not_below_0
from llava_chat.commands.train.adapter_rows import Found, check_rows, found_rows, read_lessons
from llava_chat.commands.train.checks import named_base
from llava_chat.errors import UsageError
from llava_chat.model.file_names import ADAPTER_NAME
from llava_chat.training.writing import write_whole

if TYPE_CHECKING:
    from llava_chat.model.checkpoint import Checkpoint
    from llava_chat.training.adapter.lessons import Lesson
    from llava_chat.training.adapter.report import Report
    from llava_chat.training.adapter.training import AdapterOptions

DEFAULT_OLD = 400
"""Rows of the bundled model's own training: docs/adapters.md tells what fewer and more do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Rows, the adapter's shape, how it learns, and what is measured."""
    _add_rows(parser)
    parser.add_argument("--model", default="scenes", help="the checkpoint that it goes on")
    parser.add_argument(
        "--name", help="of the adapter, under which the page offers it; it is in the data folder"
    )
    parser.add_argument("--output", type=Path, help="the folder to write, in place of --name")
    _add_learning(parser)
    parser.add_argument(
        "--pictures",
        type=int,
        default=100,
        metavar="N",
        help="of the scenes to measure old skills on; 0 for none",
    )
    parser.add_argument("--json", action="store_true", help="the report for a program")
    _add_page(parser)


def _add_rows(parser: argparse.ArgumentParser) -> None:
    rows = parser.add_argument_group("rows")
    rows.add_argument("--data", type=Path, metavar="FILE", help="LLaVA's instruction JSON")
    rows.add_argument("--images", type=Path, help="the folder of its pictures; the file's own")
    rows.add_argument(
        "--preferences", type=Path, metavar="FILE", help="JSONL: prompt, chosen, rejected, images"
    )
    rows.add_argument(
        "--from-feedback",
        action="store_true",
        help="corrected, liked and ranked replies of the page, of people who agreed to it",
    )
    rows.add_argument(
        "--held-out", type=float, default=0.1, metavar="SHARE", help="of the rows, never trained on"
    )
    rows.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="what the model said before, as --data, so that it stays",
    )
    rows.add_argument(
        "--keep-old",
        type=int,
        metavar="N",
        help=f"rows of old skills beside the new ones; of scenes' own questions {DEFAULT_OLD}, "
        "of --replay all",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    """As `feedback export` has them, whose module a machine that only trains cannot import."""
    kept = parser.add_argument_group("where the page keeps feedback and adapters")
    kept.add_argument("--data-dir", default=argparse.SUPPRESS, help="the page's data folder (data)")
    kept.add_argument("--database-url", default=argparse.SUPPRESS, help="the page's, if it has one")
    said = parser.add_argument_group("of --from-feedback only what")
    said.add_argument("--since", metavar="TIME", help="was said from then on, like 2026-01-31")
    said.add_argument("--until", metavar="TIME", help="was said before that")
    said.add_argument("--liked", choices=("yes", "no"), help="is about a reply rated so")
    said.add_argument("--reason", help="has this reason")
    said.add_argument(
        "--project", metavar="NAME", help="was said by annotators in this project, by name or id"
    )
    said.add_argument("--of-model", metavar="ID", help="is about a reply of this model")
    said.add_argument("--of-adapter", metavar="ID", help="with this adapter")


def _add_learning(parser: argparse.ArgumentParser) -> None:
    learning = parser.add_argument_group("learning; what is left out suits the model's size")
    learning.add_argument("--rank", type=int, help="of LoRA's matrices")
    learning.add_argument("--alpha", type=int, help="LoRA's scale, times the rank; twice the rank")
    learning.add_argument("--lr", type=float, help="peak learning rate")
    learning.add_argument("--epochs", type=float, help="how often each row is learned")
    learning.add_argument("--steps", type=int, help="instead of epochs")
    learning.add_argument("--batch-size", type=int, default=8)
    learning.add_argument("--beta", type=float, default=0.1, help="of DPO, for pairs")
    learning.add_argument("--max-tokens", type=int, default=2048)
    learning.add_argument("--seed", type=int, default=0)
    learning.add_argument("--device", default="auto")
    learning.add_argument(
        "--dtype", choices=("auto", "float32", "float16", "bfloat16"), default="auto"
    )


def run(args: argparse.Namespace) -> int:
    """Train, write the folder, print the figures."""
    _check(args)
    output = _output(args)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        flag = "--output" if args.output is not None else "--name"
        raise UsageError(f"{flag}: the folder {output} cannot be made") from error
    from llava_chat.training.adapter.measured import CHECKPOINTS
    from llava_chat.training.adapter.report import card, table
    from llava_chat.training.checkpoints import Checkpoints

    with found_rows(args, output) as found:
        report = _trained(args, found, output)
    write_whole(output / "README.md", card(report))
    write_whole(output / "report.json", json.dumps(report.as_dict(), indent=2) + "\n")
    Checkpoints(output / CHECKPOINTS).forget()
    print(json.dumps(report.as_dict()) if args.json else table(report))
    return 0


def _check(args: argparse.Namespace) -> None:
    check_rows(args)
    above_0 = ("rank", "alpha", "lr", "epochs", "steps", "batch_size", "beta", "max_tokens")
    check_above_0(args, *above_0)
    check_not_below_0(args, "seed", "keep_old", "pictures")
    if not 0 <= args.held_out < 1:
        raise UsageError("--held-out must be a share from 0 up to, but not, 1")


def _output(args: argparse.Namespace) -> Path:
    """Where the adapter goes: a named one where the page looks for them."""
    if (args.output is None) == (args.name is None):
        raise UsageError("name the adapter with --name, or its folder with --output")
    if args.output is not None:
        folder: Path = args.output
        return folder
    if not ADAPTER_NAME.fullmatch(args.name):
        raise UsageError(
            "--name must be at most 64 letters, digits and any of _.- behind the first, not "
            f"{args.name!r}"
        )
    from llava_chat.commands.feedback_rows import adapter_folder

    name: str = args.name
    return adapter_folder(args) / name


def _trained(args: argparse.Namespace, found: Found, output: Path) -> Report:
    from llava_chat.model.checkpoint import load_checkpoint
    from llava_chat.model.location import is_hub_id
    from llava_chat.training.adapter.measured import Base, Rows, measured_run

    rows = Rows.of(found.lessons, found.pairs, args.held_out)
    if not rows.lessons and not rows.pairs:
        raise UsageError("--held-out leaves no row to learn from; make it smaller, or 0")
    checkpoint = load_checkpoint(args.model, device=args.device, dtype=args.dtype)
    hub = checkpoint.revision if is_hub_id(args.model) else None
    base = Base(checkpoint, named_base(args.model), hub, args.pictures)
    old = _old_rows(args, checkpoint)
    report = measured_run(base, rows, _options(args, checkpoint), output, old)
    return replace(report, settings={**report.settings, "held out": args.held_out})


def _options(args: argparse.Namespace, checkpoint: Checkpoint) -> AdapterOptions:
    from llava_chat.training.adapter.lora import suited
    from llava_chat.training.adapter.training import AdapterOptions

    lora = suited(checkpoint.model).lora
    if args.rank is not None:
        lora = replace(lora, rank=args.rank, alpha=2 * args.rank)
    if args.alpha is not None:
        lora = replace(lora, alpha=args.alpha)
    return AdapterOptions(
        lora=lora,
        lr=args.lr,
        epochs=args.epochs,
        batch_size=args.batch_size,
        steps=args.steps,
        beta=args.beta,
        seed=args.seed,
        max_tokens=args.max_tokens,
    )


def _old_rows(
    args: argparse.Namespace, checkpoint: Checkpoint
) -> Callable[[Collection[str]], Sequence[Lesson]]:
    """What gives the rows of old skills that are free of some words."""
    from llava_chat.training.adapter.old_skills import free_of, knows_scenes, scenes_lessons

    if args.replay is not None:
        rows = read_lessons(args.replay)
        return lambda changed: free_of(rows, changed)[: args.keep_old]
    if knows_scenes(checkpoint.description):
        count = DEFAULT_OLD if args.keep_old is None else args.keep_old
        return partial(scenes_lessons, count, args.seed)
    if args.keep_old:
        raise UsageError(f"--keep-old: {args.model} has no questions of its own; give --replay")
    return lambda changed: ()
