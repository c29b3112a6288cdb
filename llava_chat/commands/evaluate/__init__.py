"""`evaluate`: how well a model answers."""

from __future__ import annotations

import argparse

from llava_chat.commands.evaluate import ablations, scenes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks, each with its own options."""
    benchmarks = parser.add_subparsers(metavar="BENCHMARK", required=True, dest="benchmark")
    drawings = benchmarks.add_parser(
        "scenes", help="drawings of simple shapes, by kind of question"
    )
    scenes.add_arguments(drawings)
    drawings.set_defaults(run_benchmark=scenes.run)
    choices = benchmarks.add_parser("ablations", help="what each choice of the recipe is worth")
    ablations.add_arguments(choices)
    choices.set_defaults(run_benchmark=ablations.run)


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; return its exit code."""
    return int(args.run_benchmark(args))
