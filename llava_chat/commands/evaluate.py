"""`evaluate`: how well a model answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from llava_chat.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks, each with its own options."""
    benchmarks = parser.add_subparsers(metavar="BENCHMARK", required=True, dest="benchmark")
    scenes = benchmarks.add_parser("scenes", help="drawings of simple shapes, by kind of question")
    scenes.add_argument("--model", default="scenes", help="a folder, a Hub id or `scenes`")
    scenes.add_argument("--device", default="auto")
    scenes.add_argument("--dtype", default="auto")
    scenes.add_argument("--pictures", type=int, default=1000, help="how many held-out pictures")
    scenes.add_argument("--turns", type=int, default=6, help="questions about each")
    scenes.add_argument("--seed", type=int, default=2024, help="of the held-out set")
    scenes.add_argument(
        "--further", action="store_true", help="with printed words, boxes and overlapping shapes"
    )
    scenes.add_argument("--wrong", type=Path, help="write the wrong answers here, as JSON lines")
    scenes.add_argument("--json", action="store_true", help="figures for a program")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    for name in ("pictures", "turns"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} must be above 0")
    if args.wrong and not args.wrong.parent.is_dir():
        raise UsageError(f"--wrong: there is no folder {args.wrong.parent}; make it first")
    from llava_chat.engine.local import open_engine
    from llava_chat.evaluation.scenes import as_json, evaluate_scenes, table, write_wrong
    from llava_chat.training.scenes.world import CORE, FURTHER

    engine = open_engine(args.model, device=args.device, dtype=args.dtype)
    try:
        tally = evaluate_scenes(
            engine,
            pictures=args.pictures,
            turns=args.turns,
            seed=args.seed,
            world=FURTHER if args.further else CORE,
        )
    finally:
        engine.close(grace_s=0)
    if args.wrong:
        write_wrong(tally.wrong, args.wrong)
    print(as_json(tally) if args.json else table(tally))
    return 0
