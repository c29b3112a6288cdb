"""`train align` and `train finetune`: the two stages of LLaVA's recipe, on anyone's data."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.commands.train.checks import check_not_below_0, make_folder
from llava_chat.errors import UsageError

if TYPE_CHECKING:
    from llava_chat.training.data import Rows
    from llava_chat.training.stages import Stage
    from llava_chat.training.survey import Survey

# LLaVA-1.5's (arXiv 2310.03744, table 9).
_PEAK_LR = {"align": 1e-3, "finetune": 2e-5}


def add_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Model, data, and how the stage learns."""
    parser.add_argument("--model", required=True, help="the checkpoint to begin with")
    parser.add_argument("--data", type=Path, required=True, help="LLaVA's instruction JSON")
    parser.add_argument("--images", type=Path, help="the folder of its pictures")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=_PEAK_LR[stage], help="peak learning rate")
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
    if stage == "align":
        parser.add_argument(
            "--fresh-projector",
            action="store_true",
            help="begin with a projector that knows nothing",
        )


def run(args: argparse.Namespace) -> int:
    """Train; print where the model went."""
    for name in ("epochs", "batch_size", "lr", "max_tokens"):
        if not 0 < getattr(args, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0")
    check_not_below_0(args, "workers", "seed")
    return _stage(args)


def _stage(args: argparse.Namespace) -> int:
    make_folder("--output", args.output)
    from llava_chat.model.checkpoint import load_checkpoint, save_checkpoint
    from llava_chat.training.checkpoints import Checkpoints
    from llava_chat.training.data import in_epochs, open_rows
    from llava_chat.training.schedule import LoopOptions
    from llava_chat.training.stages import StageOptions, forget_projector, run_stage

    rows = open_rows(args.data, args.images)
    _look_at(rows, args)
    fresh_projector = getattr(args, "fresh_projector", False)
    checkpoint = load_checkpoint(args.model, device=args.device, dtype="float32")
    if fresh_projector:
        forget_projector(checkpoint)
    row_of = in_epochs(len(rows), args.seed)

    steps = max(1, round(len(rows) * args.epochs / args.batch_size))
    run = {"data": rows.fingerprint, "seed": args.seed, "fresh_projector": fresh_projector}
    options = StageOptions(
        loop=LoopOptions(steps=steps, lr=args.lr, log_every=max(1, min(50, steps // 20)), run=run),
        batch_size=args.batch_size,
        max_tokens=args.max_tokens,
        workers=args.workers,
    )
    kept = args.output / "checkpoints"
    run_stage(
        args.stage,
        checkpoint,
        lambda number: rows.conversation(row_of(number)),
        options,
        kept,
        name_of=lambda number: rows.where(row_of(number)),
    )
    save_checkpoint(checkpoint, args.output, dtype=None if args.dtype == "auto" else args.dtype)
    Checkpoints(kept).forget()
    print(args.output)
    return 0


def _look_at(rows: Rows, args: argparse.Namespace) -> Survey:
    """Every row before the model is there. Raises TrainingDataError for one that is wrong."""
    from llava_chat.progress import ProgressLine
    from llava_chat.training.measure import measure_of
    from llava_chat.training.stages import TEMPLATES_OF_STAGES
    from llava_chat.training.survey import survey

    stage: Stage = args.stage
    measure = measure_of(args.model, TEMPLATES_OF_STAGES[stage])
    with ProgressLine(args.stage, sys.stderr) as report:
        found = survey(
            rows,
            measure,
            args.max_tokens,
            pictures_only=args.stage == "align",
            workers=args.workers,
            report=report,
        )
    if found.missing_count:
        print(
            f"{args.stage}: {found.missing_count} rows are left out, their pictures are not there; "
            f"the first: {found.missing}",
            file=sys.stderr,
        )
    return found
