"""`train`: align, finetune, an adapter from what people wrote, or the bundled model."""

from __future__ import annotations

import argparse
import hashlib
import math
from dataclasses import replace
from pathlib import Path

from llava_chat.commands import train_adapter
from llava_chat.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stages, each with its own options."""
    stages = parser.add_subparsers(metavar="STAGE", required=True, dest="stage")
    align = stages.add_parser("align", help="stage 1: the projector learns from descriptions")
    # Learning rates of LLaVA-1.5 (arXiv 2310.03744, table 9).
    _stage_arguments(align, lr=1e-3)
    align.add_argument(
        "--fresh-projector", action="store_true", help="begin with a projector that knows nothing"
    )
    _stage_arguments(stages.add_parser("finetune", help="stage 2: from conversations"), lr=2e-5)
    adapter = stages.add_parser("adapter", help="a LoRA, from corrected, liked or compared replies")
    train_adapter.add_arguments(adapter)
    scenes = stages.add_parser("scenes", help="the bundled model, from nothing")
    scenes.add_argument("--recipe", choices=("auto", "cpu", "gpu"), default="auto")
    scenes.add_argument("--further", metavar="MODEL", help="run only stage 2, from this model on")
    scenes.add_argument("--steps", type=int, help="of stage 2, instead of the recipe's")
    scenes.add_argument("--work", type=Path, default=Path("runs/scenes"), help="for resuming")
    scenes.add_argument("--output", type=Path, default=Path("assets/scenes"))
    scenes.add_argument("--device", default="auto")
    scenes.add_argument("--pictures", type=int, default=1000, help="to evaluate on; 0 for none")


def _stage_arguments(parser: argparse.ArgumentParser, *, lr: float) -> None:
    parser.add_argument("--model", required=True, help="the checkpoint to begin with")
    parser.add_argument("--data", type=Path, required=True, help="LLaVA's instruction JSON")
    parser.add_argument("--images", type=Path, help="the folder of its pictures")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=lr, help="peak learning rate")
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "float16", "bfloat16"),
        default="auto",
        help="of the file that is written; auto is the one that it is trained in, float32",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Train; print where the model went."""
    if args.stage == "scenes":
        return _scenes(args)
    if args.stage == "adapter":
        return train_adapter.run(args)
    for name in ("epochs", "batch_size", "lr", "max_tokens"):
        if not 0 < getattr(args, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0")
    _check_not_below_0(args, "workers", "seed")
    return _stage(args)


def _check_not_below_0(args: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(args, name) < 0:
            raise UsageError(f"--{name} must not be below 0")


def _make_folder(flag: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UsageError(
            f"{flag}: the folder {folder} cannot be made ({reason}); name another"
        ) from error


def _scenes(args: argparse.Namespace) -> int:
    if args.steps is not None and args.steps < 1:
        raise UsageError("--steps must be above 0")
    _check_not_below_0(args, "pictures")
    _make_folder("--work", args.work)
    _make_folder("--output", args.output)
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


def _stage(args: argparse.Namespace) -> int:
    _make_folder("--output", args.output)
    from llava_chat.image import Picture, read_picture
    from llava_chat.model.checkpoint import load_checkpoint, save_checkpoint
    from llava_chat.training.instructions import read_instructions
    from llava_chat.training.loop import LoopOptions
    from llava_chat.training.stages import StageOptions, forget_projector, in_epochs, run_stage

    rows = read_instructions(args.data, args.images, pictures_only=args.stage == "align")
    fresh_projector = getattr(args, "fresh_projector", False)
    checkpoint = load_checkpoint(args.model, device=args.device, dtype="float32")
    if fresh_projector:
        forget_projector(checkpoint)
    row_of = in_epochs(len(rows), args.seed)

    def read(path: Path) -> Picture:
        return read_picture(path)

    steps = max(1, round(len(rows) * args.epochs / args.batch_size))
    run = {"data": _sha256(args.data), "seed": args.seed, "fresh_projector": fresh_projector}
    options = StageOptions(
        loop=LoopOptions(steps=steps, lr=args.lr, log_every=max(1, min(50, steps // 20)), run=run),
        batch_size=args.batch_size,
        max_tokens=args.max_tokens,
        workers=args.workers,
    )
    state = args.output / "training_state.pt"
    run_stage(
        args.stage,
        checkpoint,
        lambda number: rows[row_of(number)].conversation(read),
        options,
        state,
        name_of=lambda number: rows[row_of(number)].where,
    )
    save_checkpoint(checkpoint, args.output, dtype=None if args.dtype == "auto" else args.dtype)
    state.unlink()
    print(args.output)
    return 0


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
