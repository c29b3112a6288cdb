"""`train check`: goes through instruction data before a run, and tells all that is wrong.

Imports errors; once it runs, `training.checking`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_chat.commands.checks import check_above_0, check_not_below_0
from llava_chat.errors import TrainingDataError

if TYPE_CHECKING:
    import numpy as np

    from llava_chat.training.checking import Findings

_BAR_COLUMNS = 40
_PARTS = " ▏▎▍▌▋▊▉█"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look at, and as which model would."""
    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="a .json, .jsonl, .parquet or .tar file, or a folder of them",
    )
    parser.add_argument("--images", type=Path, help="their pictures: a folder, a tar or several")
    parser.add_argument("--model", default="scenes", help="whose tokens to count in; no weights")
    parser.add_argument(
        "--template", metavar="NAME", help="in place of the model's own; align has its own"
    )
    parser.add_argument(
        "--for",
        choices=("align", "finetune"),
        default="finetune",
        dest="stage",
        help="align learns from pictures alone, each with its caption",
    )
    parser.add_argument("--max-tokens", type=int, default=2048, help="rows are cut after so many")
    parser.add_argument(
        "--pictures",
        choices=("decode", "header", "none"),
        default="decode",
        help="how they are looked at; `none` only looks whether they are there",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what was found; then raise TrainingDataError when something is wrong."""
    check_above_0(args, "max_tokens")
    check_not_below_0(args, "workers")
    from llava_chat.progress import ProgressLine
    from llava_chat.training.checking import CheckOptions, check
    from llava_chat.training.measure import measure_of
    from llava_chat.training.stages import template_of

    measure = measure_of(args.model, template_of(args.stage, args.template))
    options = CheckOptions(args.max_tokens, args.pictures, args.stage == "align", args.workers)
    with ProgressLine("check", sys.stderr) as report:
        found = check(args.data, args.images, measure, options, report)
    print(json.dumps(as_json(found), indent=2) if args.json else "\n".join(lines(found)))
    if found.problems:
        first = next(iter(found.first.values()))[0]
        more = f"; and {found.problems - 1} more" if found.problems > 1 else ""
        raise TrainingDataError(f"{first}{more}")
    return 0


def as_json(found: Findings) -> dict[str, Any]:
    """What was found, for a program."""
    return {
        "data": found.data,
        "files": found.files,
        "rows": found.rows,
        "turns": found.turns,
        "with_picture": found.with_picture,
        "with_several_pictures": found.with_several,
        "text_alone": found.text_alone,
        "pictures": found.pictures,
        "pictures_by": found.pictures_by,
        "pictures_missing": found.kinds["picture missing"],
        "pictures_broken": found.kinds["picture broken"],
        "repeated_ids": found.repeated_count,
        "tokens": {**_tokens(found.lengths), "histogram": _histogram(found.lengths)},
        "max_tokens": found.max_tokens,
        "cut": found.cut,
        "problems": found.problems,
        "wrong_rows": found.wrong_rows,
        "kinds": {
            kind: {"count": count, "first": found.first[kind]}
            for kind, count in found.kinds.most_common()
        },
    }


def lines(found: Findings) -> Iterator[str]:
    """What was found, for a person."""
    yield f"rows            {found.rows:,} in {found.files} {_plural('file', found.files)}"
    yield f"questions       {found.turns:,}"
    several = f", {found.with_several:,} with several" if found.with_several else ""
    yield f"with a picture  {found.with_picture:,}{several}"
    yield f"text alone      {found.text_alone:,}"
    looked = {"decode": "decoded", "header": "by their headers", "none": "not looked into"}
    yield f"pictures        {found.pictures:,}, {looked[found.pictures_by]}"
    if found.repeated_count:
        yield f"repeated ids    {found.repeated_count:,}"
        yield from (f"  {each}" for each in found.repeated)
    if len(found.lengths):
        tokens = _tokens(found.lengths)
        yield (
            f"tokens          median {tokens['median']:,}, 95 % {tokens['p95']:,}, "
            f"longest {tokens['longest']:,}"
        )
        yield from _bars(_histogram(found.lengths))
        share = 100 * found.cut / len(found.lengths)
        yield f"cut at {found.max_tokens:<8,} {found.cut:,} ({share:.1f} %)"
    if not found.problems:
        yield "problems        none"
        return
    rows = f"{found.wrong_rows:,} {_plural('row', found.wrong_rows)}"
    yield f"problems        {found.problems:,}, in {rows}"
    for kind, count in found.kinds.most_common():
        yield f"  {kind}: {count:,}"
        yield from (f"    {sentence}" for sentence in found.first[kind])


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _tokens(lengths: np.ndarray) -> dict[str, int]:
    """Median, 95th percentile and the longest, each the length of some row."""
    import numpy as np

    if not len(lengths):
        return {"median": 0, "p95": 0, "longest": 0}
    median, p95 = np.quantile(lengths, (0.5, 0.95), method="higher")
    return {"median": int(median), "p95": int(p95), "longest": int(lengths.max())}


def _histogram(lengths: np.ndarray) -> list[dict[str, int]]:
    """How many rows have from so many tokens to so many, in steps of powers of two."""
    import numpy as np

    if not len(lengths):
        return []
    steps = np.ceil(np.log2(lengths)).astype(int)
    return [
        {"from": 2 ** (step - 1) + 1 if step else 1, "to": 2**step, "rows": int(count)}
        for step, count in enumerate(np.bincount(steps))
        if step >= steps.min()
    ]


def _bars(histogram: list[dict[str, int]]) -> Iterator[str]:
    """A bar for each part of a histogram.

    >>> print(*_bars([{"from": 5, "to": 8, "rows": 2}, {"from": 9, "to": 16, "rows": 1}]), sep="|")
           5 - 8       ████████████████████████████████████████ 2|       9 - 16      \
████████████████████ 1
    """
    most = max(part["rows"] for part in histogram)
    for part in histogram:
        eighths = round(8 * _BAR_COLUMNS * part["rows"] / most)
        bar = "█" * (eighths // 8) + _PARTS[eighths % 8].strip()
        yield f"  {part['from']:>6,} - {part['to']:<7,} {bar} {part['rows']:,}"
