"""`train`: a look at the data, align, finetune, an adapter of replies, or the bundled model."""

from __future__ import annotations

import argparse

from llava_chat.commands.train import adapter, check, scenes, stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stages, each with its own options."""
    stages = parser.add_subparsers(metavar="STAGE", required=True, dest="stage")
    data = stages.add_parser("check", help="instruction data, before a run: all that is wrong")
    check.add_arguments(data)
    data.set_defaults(run_stage=check.run)
    align = stages.add_parser("align", help="stage 1: the projector learns from descriptions")
    stage.add_arguments(align, "align")
    align.set_defaults(run_stage=stage.run)
    finetune = stages.add_parser("finetune", help="stage 2: from conversations")
    stage.add_arguments(finetune, "finetune")
    finetune.set_defaults(run_stage=stage.run)
    lora = stages.add_parser("adapter", help="a LoRA, from corrected, liked or compared replies")
    adapter.add_arguments(lora)
    lora.set_defaults(run_stage=adapter.run)
    bundled = stages.add_parser("scenes", help="the bundled model, from nothing")
    scenes.add_arguments(bundled)
    bundled.set_defaults(run_stage=scenes.run)


def run(args: argparse.Namespace) -> int:
    """Run one stage; return its exit code."""
    return int(args.run_stage(args))
