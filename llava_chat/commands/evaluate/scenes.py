"""`evaluate scenes`: questions about drawings that the bundled model was not trained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llava_chat.errors import UsageError


def add_arguments(scenes: argparse.ArgumentParser) -> None:
    """Model, and how many of which questions."""
    scenes.add_argument(
        "--model",
        default="scenes",
        help="a folder, a Hub id or `scenes`; LLAVA_CHAT_MODEL is not read here",
    )
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
    if args.wrong and args.wrong.is_dir():
        raise UsageError(f"--wrong: {args.wrong} is a folder; name a file in it")
    from llava_chat.engine.local import open_engine
    from llava_chat.evaluation.scenes import as_json, evaluate_scenes, table, write_wrong
    from llava_chat.training.scenes.world import CORE, FURTHER

    engine = open_engine(args.model, device=args.device, dtype=args.dtype)
    judged = engine.model
    print(f"evaluate scenes: {judged.id}, revision {judged.revision}", file=sys.stderr, flush=True)
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
    print(as_json(tally) if args.json else table(tally), flush=True)
    if args.wrong:
        try:
            write_wrong(tally.wrong, args.wrong)
        except OSError as error:
            raise UsageError(
                f"--wrong: {args.wrong} cannot be written ({error.strerror}); name another file"
            ) from error
    return 0
