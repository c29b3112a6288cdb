"""`evaluate`: how well a model answers."""

from __future__ import annotations

import argparse

from llava_chat.commands.evaluate import ablations, llava_bench, pope, scenes, science_qa, vqa

BENCHMARKS = (
    ("scenes", scenes, "drawings of simple shapes, by kind of question"),
    ("science-qa", science_qa, "ScienceQA's questions, by its own groups"),
    ("vqa", vqa, "VQAv2: short answers about photographs"),
    ("pope", pope, "POPE: does it see what is not there?"),
    ("llava-bench", llava_bench, "LLaVA-Bench: open questions and a judge"),
    ("ablations", ablations, "what each choice of the papers' recipe is worth, in small"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks, each with its own options."""
    benchmarks = parser.add_subparsers(metavar="BENCHMARK", required=True, dest="benchmark")
    for name, module, summary in BENCHMARKS:
        benchmark = benchmarks.add_parser(name, help=summary)
        module.add_arguments(benchmark)
        benchmark.set_defaults(run_benchmark=module.run)


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; return its exit code."""
    return int(args.run_benchmark(args))
