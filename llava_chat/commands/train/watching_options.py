"""What of a run is shown, and where: the options that every stage has."""

from __future__ import annotations

import argparse

from llava_chat.commands.checks import check_above_0, check_not_below_0
from llava_chat.training.schedule import steps_of_a_line

DEFAULT_PROJECT = "llava_chat"


def add_watching(parser: argparse.ArgumentParser) -> None:
    """--log-every, --no-tensorboard, --wandb, --samples."""
    seen = parser.add_argument_group("what is seen of the run")
    seen.add_argument(
        "--log-every", type=int, metavar="STEPS", help="a line each; a twentieth of the run, or 50"
    )
    seen.add_argument(
        "--no-tensorboard",
        dest="tensorboard",
        action="store_false",
        help="write no events beside metrics.jsonl",
    )
    seen.add_argument(
        "--wandb",
        nargs="?",
        const=DEFAULT_PROJECT,
        metavar="PROJECT",
        help=f"send the figures to Weights & Biases, into {DEFAULT_PROJECT} if none is named",
    )
    seen.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="rows that are not learned from, and asked about at each checkpoint; four, or a "
        "hundredth of fewer than 400",
    )


def check_watching(args: argparse.Namespace) -> None:
    """Raise UsageError for numbers that make no sense."""
    check_above_0(args, "log_every")
    check_not_below_0(args, "samples")


def log_every(args: argparse.Namespace, steps: int) -> int:
    """How many steps of so many go into a line."""
    asked: int | None = args.log_every
    return steps_of_a_line(steps) if asked is None else asked
