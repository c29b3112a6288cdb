"""`evaluate ablations`: what each choice of the papers' recipe is worth, on the scenes world.

It trains, yet stands with the benchmarks: what comes out is a table, and no model to use.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from llava_chat.commands.checks import check_above_0, make_folder
from llava_chat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llava_chat.evaluation.ablations.table import Row


def add_arguments(ablations: argparse.ArgumentParser) -> None:
    """How large, which of them, and where they are kept."""
    ablations.add_argument(
        "--size",
        choices=("small", "cpu", "gpu"),
        default="small",
        help="small: about an hour and a half of two idle cores; cpu: the bundled shapes, many "
        "hours; gpu: larger ones",
    )
    ablations.add_argument("--seeds", type=int, default=3, help="how often each is trained")
    ablations.add_argument(
        "--variant", action="append", metavar="NAME", help="only this one; may be given again"
    )
    ablations.add_argument(
        "--work", type=Path, default=Path("runs/ablations"), help="for resuming, and the tables"
    )
    ablations.add_argument(
        "--table-only", action="store_true", help="of what is judged already; train nothing"
    )
    ablations.add_argument("--device", default="auto")
    ablations.add_argument("--json", action="store_true", help="figures for a program")


def run(args: argparse.Namespace) -> int:
    """Train and judge what is not done yet; print the table, and keep it as Markdown and JSON."""
    check_above_0(args, "seeds")
    from llava_chat.evaluation.ablations.runs import judged_so_far, run_all
    from llava_chat.evaluation.ablations.sizes import SIZES
    from llava_chat.evaluation.ablations.table import rows
    from llava_chat.evaluation.ablations.variants import VARIANTS
    from llava_chat.model.device import choose_device

    names = [variant.name for variant in VARIANTS]
    unknown = sorted(set(args.variant or ()) - set(names))
    if unknown:
        raise UsageError(f"--variant: {unknown[0]!r} is none of {', '.join(names)}")
    chosen = [v for v in VARIANTS if not args.variant or v.name in args.variant]
    size = SIZES[args.size]
    make_folder("--work", args.work)
    if args.table_only:
        judged = judged_so_far(size, chosen, args.seeds, args.work)
    else:
        device = choose_device(args.device)
        judged = run_all(size, chosen, args.seeds, work=args.work, device=device)
    if not judged:
        raise UsageError(f"--work: nothing is judged in {args.work} yet; leave --table-only out")
    _tell(rows(chosen, judged), args)
    return 0


def _tell(found: Sequence[Row], args: argparse.Namespace) -> None:
    from llava_chat.evaluation.ablations.table import as_json, markdown, sentences
    from llava_chat.training.writing import write_whole

    figures = json.dumps({"size": args.size, "rows": as_json(found)}, indent=2)
    table = "\n".join([markdown(found), "", *sentences(found)])
    print(figures if args.json else table, flush=True)
    write_whole(args.work / "ablations.json", [figures, "\n"])
    write_whole(args.work / "ablations.md", [table, "\n"])
