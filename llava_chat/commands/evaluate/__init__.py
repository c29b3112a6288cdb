"""`evaluate`: how well a model answers."""

from __future__ import annotations

import argparse

from llava_chat.commands.evaluate import scenes, science_qa


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks, each with its own options."""
    benchmarks = parser.add_subparsers(metavar="BENCHMARK", required=True, dest="benchmark")
    drawings = benchmarks.add_parser(
        "scenes", help="drawings of simple shapes, by kind of question"
    )
    scenes.add_arguments(drawings)
    drawings.set_defaults(run_benchmark=scenes.run)
    science = benchmarks.add_parser("science-qa", help="ScienceQA's questions, by its own groups")
    science_qa.add_arguments(science)
    science.set_defaults(run_benchmark=science_qa.run)


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; return its exit code."""
    return int(args.run_benchmark(args))
