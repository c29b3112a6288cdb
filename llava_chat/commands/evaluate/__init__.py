"""`evaluate`: how well a model answers."""

from __future__ import annotations

import argparse

from llava_chat.commands.evaluate import llava_bench, pope, scenes, vqa


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks, each with its own options."""
    benchmarks = parser.add_subparsers(metavar="BENCHMARK", required=True, dest="benchmark")
    drawings = benchmarks.add_parser(
        "scenes", help="drawings of simple shapes, by kind of question"
    )
    scenes.add_arguments(drawings)
    drawings.set_defaults(run_benchmark=scenes.run)
    short_answers = benchmarks.add_parser("vqa", help="VQAv2: short answers about photographs")
    vqa.add_arguments(short_answers)
    short_answers.set_defaults(run_benchmark=vqa.run)
    yes_or_no = benchmarks.add_parser("pope", help="POPE: does it see what is not there?")
    pope.add_arguments(yes_or_no)
    yes_or_no.set_defaults(run_benchmark=pope.run)
    judged = benchmarks.add_parser("llava-bench", help="LLaVA-Bench: open questions and a judge")
    llava_bench.add_arguments(judged)
    judged.set_defaults(run_benchmark=llava_bench.run)


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; return its exit code."""
    return int(args.run_benchmark(args))
