"""What more than one of the stages' commands checks before anything is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llava_chat.training.data import Rows
    from llava_chat.training.survey import Survey


def named_base(model: str) -> str:
    """The name by which an adapter finds its base again, from whatever folder."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "scenes" and folder.is_dir() else model


def look_at(rows: Rows, args: argparse.Namespace, max_tokens: int) -> Survey:
    """Every row of a stage before the model is there.

    Raises TrainingDataError for one that is wrong.
    """
    from llava_chat.progress import ProgressLine
    from llava_chat.training.measure import measure_of
    from llava_chat.training.stages import template_of
    from llava_chat.training.survey import survey

    measure = measure_of(args.model, template_of(args.stage, args.template))
    with ProgressLine(args.stage, sys.stderr) as report:
        found = survey(
            rows,
            measure,
            max_tokens,
            pictures_only=args.stage == "align",
            workers=args.workers and (os.cpu_count() or 1),  # nothing else runs yet
            report=report,
        )
    if found.missing_count:
        print(
            f"{args.stage}: {found.missing_count} rows are left out, their pictures are not there; "
            f"the first: {found.missing}",
            file=sys.stderr,
        )
    return found
