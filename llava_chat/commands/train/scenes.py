"""`train scenes`: the bundled model, from nothing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from llava_chat.commands.checks import check_above_0, check_not_below_0, make_folder


def add_arguments(scenes: argparse.ArgumentParser) -> None:
    """The recipe, where to begin and where to end."""
    scenes.add_argument("--recipe", choices=("auto", "cpu", "gpu"), default="auto")
    scenes.add_argument("--further", metavar="MODEL", help="run only stage 2, from this model on")
    scenes.add_argument("--steps", type=int, help="of stage 2, instead of the recipe's")
    scenes.add_argument("--work", type=Path, default=Path("runs/scenes"), help="for resuming")
    scenes.add_argument("--output", type=Path, default=Path("assets/scenes"))
    scenes.add_argument("--device", default="auto")
    scenes.add_argument("--pictures", type=int, default=1000, help="to evaluate on; 0 for none")


def run(args: argparse.Namespace) -> int:
    """Train, write the model, judge what was written."""
    check_above_0(args, "steps")
    check_not_below_0(args, "pictures")
    make_folder("--work", args.work)
    make_folder("--output", args.output)
    from llava_chat.engine.local import open_engine
    from llava_chat.evaluation.scenes import evaluate_scenes, table
    from llava_chat.model.checkpoint import load_checkpoint
    from llava_chat.model.device import choose_device
    from llava_chat.training.scenes.recipe import RECIPES, train_scenes, train_scenes_further

    device = choose_device(args.device)
    name = args.recipe if args.recipe != "auto" else "gpu" if device.type == "cuda" else "cpu"
    recipe = RECIPES[name]
    if args.steps is not None:
        recipe = replace(recipe, finetune=replace(recipe.finetune, steps=args.steps))
    if args.further:
        begun = load_checkpoint(args.further, device=args.device, dtype="float32")
        train_scenes_further(recipe, begun, work=args.work, output=args.output)
    else:
        train_scenes(recipe, work=args.work, output=args.output, device=device)
    if args.pictures:
        # The file is judged, with its rounded weights, and not what is still in memory; by its
        # whole path, for a folder called `scenes` is not the bundled model.
        engine = open_engine(str(args.output.resolve()), device=args.device)
        print(table(evaluate_scenes(engine, pictures=args.pictures, world=recipe.world)))
        engine.close(grace_s=0)
    return 0
