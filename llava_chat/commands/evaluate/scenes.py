"""`evaluate scenes`: questions about drawings that the bundled model was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from llava_chat.commands.checks import check_above_0, check_file_to_write, make_folder
from llava_chat.commands.evaluate import options
from llava_chat.errors import UsageError


def add_arguments(scenes: argparse.ArgumentParser) -> None:
    """Model, and how many of which questions."""
    options.add_model(scenes)
    scenes.add_argument("--pictures", type=int, default=1000, help="how many held-out pictures")
    scenes.add_argument("--turns", type=int, default=6, help="questions about each")
    scenes.add_argument("--seed", type=int, default=2024, help="of the held-out set")
    scenes.add_argument(
        "--further", action="store_true", help="with printed words, boxes and overlapping shapes"
    )
    scenes.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"keep {options.RESULTS} and {options.WRONG} here",
    )
    scenes.add_argument("--wrong", type=Path, help="write the wrong answers here, as JSON lines")
    scenes.add_argument("--json", action="store_true", help="figures for a program")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    check_above_0(args, "pictures", "turns", "at_once")
    if args.wrong:
        check_file_to_write("--wrong", args.wrong)
    if args.output:
        make_folder("--output", args.output)
    from llava_chat.evaluation.looking import write_page
    from llava_chat.evaluation.scenes import (
        evaluate_scenes,
        figures,
        table,
        write_wrong,
        wrong_cards,
    )
    from llava_chat.training.scenes.world import CORE, FURTHER

    world = FURTHER if args.further else CORE
    held_out = {"seed": args.seed, "turns": args.turns, "world": world}
    with options.opened(args, "evaluate scenes") as engine:
        name = engine.model.id
        at_once = args.at_once or engine.load().slots or 1
        tally = evaluate_scenes(engine, pictures=args.pictures, at_once=at_once, **held_out)
    options.show(args, table(tally), figures(tally))
    if args.wrong:
        try:
            write_wrong(tally.wrong, args.wrong)
        except OSError as error:
            raise UsageError(
                f"--wrong: {args.wrong} cannot be written ({error.strerror}); name another file"
            ) from error
    if args.output:
        cards = wrong_cards(tally, **held_out)
        facts = [("model", name), ("pictures", f"{args.pictures:,}")]
        write_page(args.output / options.WRONG, "scenes", cards, facts=facts)
    return 0
