"""The options of `train align` and `train finetune`, and what they come to."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from llava_chat.commands.checks import check_above_0, check_not_below_0
from llava_chat.commands.train.watching_options import add_watching, check_watching
from llava_chat.errors import UsageError
from llava_chat.training.recipes import RECIPES, Stage, StageSettings, settings_for

_ABOVE_0 = (
    "epochs", "batch_size", "micro_batch_size", "lr", "projector_lr", "clip_norm", "max_tokens",
    "lora_rank", "lora_alpha", "save_every", "keep", "feature_cache_gb",
)  # fmt: skip
_NOT_BELOW_0 = ("workers", "seed", "weight_decay", "recompute_layers")


def add_arguments(parser: argparse.ArgumentParser, stage: Stage) -> None:
    """Model, data, how the stage learns, what is kept, where it runs, what is seen."""
    parser.add_argument("--model", required=True, help="the checkpoint to begin with")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="LLaVA's instruction JSON, JSONL, Parquet or WebDataset, or a folder of them",
    )
    parser.add_argument("--images", type=Path, help="the folder or tars of its pictures")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    spoken = "the conversation template; the model's own"
    if stage == "align":
        spoken = "the conversation template that the model is kept with; align itself has `plain`"
    parser.add_argument("--template", help=spoken)
    _add_learning(parser)
    if stage == "finetune":
        _add_lora(parser)
    else:
        parser.add_argument(
            "--fresh-projector",
            action="store_true",
            help="begin with a projector that knows nothing",
        )
    _add_running(parser)
    _add_keeping(parser)
    add_watching(parser)


def _add_learning(parser: argparse.ArgumentParser) -> None:
    learning = parser.add_argument_group("learning; what is left out is the recipe's")
    learning.add_argument("--recipe", choices=tuple(RECIPES), help="the papers' settings")
    learning.add_argument("--epochs", type=float)
    learning.add_argument("--batch-size", type=int, help="samples a step, of all processes")
    learning.add_argument("--lr", type=float, help="peak learning rate")
    learning.add_argument("--projector-lr", type=float, help="another one for the projector")
    learning.add_argument(
        "--warmup-share", type=float, help="of the steps in which the learning rate rises"
    )
    learning.add_argument("--weight-decay", type=float)
    learning.add_argument("--beta2", type=float, help="AdamW's second decay")
    learning.add_argument("--clip-norm", type=float, help="of the gradient")
    learning.add_argument("--max-tokens", type=int, help="longer samples are cut")
    learning.add_argument(
        "--group-by-length",
        action=argparse.BooleanOptionalAction,
        help="batches of one modality and of like lengths",
    )
    learning.add_argument("--seed", type=int, default=0)


def _add_lora(parser: argparse.ArgumentParser) -> None:
    lora = parser.add_argument_group("LoRA on the language model; the projector is trained whole")
    lora.add_argument(
        "--lora", action=argparse.BooleanOptionalAction, help="instead of its weights"
    )
    lora.add_argument("--lora-rank", type=int, metavar="RANK")
    lora.add_argument("--lora-alpha", type=int, metavar="ALPHA")
    lora.add_argument("--lora-dropout", type=float, metavar="SHARE")
    lora.add_argument(
        "--quantize",
        choices=("none", "8bit", "4bit"),
        default="none",
        help="QLoRA: the weights below the LoRA in fewer bits, on a CUDA GPU",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    running = parser.add_argument_group("running; `accelerate launch` starts several processes")
    running.add_argument("--device", default="auto")
    running.add_argument(
        "--micro-batch-size", type=int, help="samples at a time in each process; all of its share"
    )
    running.add_argument(
        "--recompute-layers",
        type=int,
        metavar="N",
        help="gradient checkpointing of every Nth layer; 0 for none",
    )
    running.add_argument(
        "--precision",
        choices=("auto", "bf16", "float32"),
        default="auto",
        help="auto is bf16 where the processor multiplies it itself",
    )
    running.add_argument("--pack", action="store_true", help="texts without a picture share rows")
    running.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that prepare samples, for each that trains",
    )


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    keeping = parser.add_argument_group("what is kept")
    keeping.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    keeping.add_argument("--keep", type=int, default=2, metavar="N", help="newest checkpoints")
    keeping.add_argument(
        "--feature-cache",
        type=Path,
        metavar="DIR",
        help="keep what the vision tower makes of pictures there, and read it from there",
    )
    keeping.add_argument(
        "--feature-cache-gb", type=float, default=20.0, metavar="GB", help="and no more than that"
    )
    keeping.add_argument(
        "--dtype",
        choices=("auto", "float32", "float16", "bfloat16"),
        default="auto",
        help="of the file that is written; auto is the one that it was loaded in",
    )


def settings_of(args: argparse.Namespace) -> StageSettings:
    """What the stage learns with. Raises UsageError for what makes no sense."""
    check_above_0(args, *_ABOVE_0)
    check_not_below_0(args, *_NOT_BELOW_0)
    check_watching(args)
    given = {each.name: getattr(args, each.name, None) for each in fields(StageSettings)}
    settings = settings_for(args.stage, args.recipe, given)
    if getattr(args, "quantize", "none") != "none" and not settings.lora:
        raise UsageError("--quantize needs --lora: weights in fewer bits cannot be trained")
    return settings


def shown(
    args: argparse.Namespace, settings: StageSettings
) -> dict[str, str | int | float | bool | None]:
    """Every setting of a run by its name, in the order of the options."""
    own = ("model", "data", "images", "output", "template", "fresh_projector", "quantize", "seed")
    running = ("device", "precision", "micro_batch_size", "pack", "workers", "save_every", "keep")
    kept = ("feature_cache", "feature_cache_gb", "dtype", "samples")
    told = {"recipe": args.recipe, **{n: getattr(args, n) for n in own if hasattr(args, n)}}
    told |= settings.as_dict()
    told |= {name: getattr(args, name) for name in (*running, *kept)}
    return {
        name.replace("_", " "): str(value) if isinstance(value, Path) else value
        for name, value in told.items()
    }
