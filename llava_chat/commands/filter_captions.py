"""Fewer captions that speak of the same things, as the paper made 595K of CC3M (arXiv 2304.08485,
section 4.1): of each noun phrase that stands in three captions or more, a hundred at most.

CAPTIONS is JSONL, a JSON list or TSV; the rows that are kept are written as they were.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from llava_chat.errors import UsageError
from llava_chat.progress import Progress, ProgressLine, Report
from llava_chat.training.captions.choice import LEAST, MOST, chosen_captions
from llava_chat.training.captions.coverage import coverage, plot, table
from llava_chat.training.captions.phrases import PIPELINES, gathered, noun_phrases, open_tagger
from llava_chat.training.captions.reading import CaptionFile
from llava_chat.training.writing import write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is read, what is written, and how many are kept."""
    parser.add_argument("captions", type=Path, metavar="CAPTIONS")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="of the same kind as CAPTIONS"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="the coverage as SVG (default: beside --output)"
    )
    parser.add_argument(
        "--field", default="caption", metavar="NAME", help="of a JSON row (default: caption)"
    )
    parser.add_argument(
        "--column", type=int, default=1, metavar="N", help="of a TSV row (default: 1, the first)"
    )
    parser.add_argument(
        "--least", type=int, default=LEAST, metavar="N",
        help=f"captions that a phrase has to stand in to count (default: {LEAST})",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=int, default=MOST, metavar="N",
        help=f"captions that are drawn of a more frequent phrase (default: {MOST})",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default: 0)")
    parser.add_argument(
        "--tagger", metavar="NAME",
        help=f"a spaCy pipeline, also a folder (default: {' or '.join(PIPELINES)})",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="that look for phrases (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="the figures for a program")


def run(args: argparse.Namespace) -> int:
    """Filter; print what that did to the phrases."""
    source = CaptionFile(args.captions, args.field, args.column)
    picture = _checked_plot(args)
    tagger = open_tagger(args.tagger)
    with ProgressLine("filter-captions", sys.stderr) as line:
        captions = _counted(source, line)
        phrases = gathered(noun_phrases(captions, tagger, args.processes))
    kept = chosen_captions(phrases, least=args.least, most=args.most, seed=args.seed)
    found = coverage(phrases, kept, least=args.least, most=args.most)
    write_whole(args.output, source.kept(kept))
    write_whole(picture, (plot(found),))
    if args.json:
        print(json.dumps(found.figures()))
        return 0
    print(*table(found), "", sep="\n")
    print(f"{args.output}: {found.kept:,} of {found.captions:,} captions; {picture}")
    return 0


def _checked_plot(args: argparse.Namespace) -> Path:
    """Where the plot goes. Raises UsageError for what would be in the way only hours later."""
    least = {"column": 1, "least": 1, "most": 1, "processes": 1, "seed": 0}
    for name, lowest in least.items():
        if getattr(args, name) < lowest:
            raise UsageError(f"--{name} must be at least {lowest}, not {getattr(args, name)}")
    if args.output.suffix.lower() != args.captions.suffix.lower():
        raise UsageError(f"--output must end in {args.captions.suffix}, as {args.captions} does")
    picture: Path = args.plot or args.output.with_suffix(".svg")
    if picture in (args.captions, args.output):
        raise UsageError(f"--plot: {picture} holds captions; name another file")
    for name, path in (("--output", args.output), ("--plot", picture)):
        if not path.parent.is_dir():
            raise UsageError(f"{name}: there is no folder {path.parent}; make it first")
    return picture


def _counted(source: CaptionFile, report: Report) -> Iterator[str]:
    """The captions, told one by one; how many there are is not known before the last."""
    for number, caption in enumerate(source.captions(), 1):
        yield caption
        if not number % 100:
            report(Progress(f"looking for noun phrases in caption {number:,}", 0, 0, "rows"))
