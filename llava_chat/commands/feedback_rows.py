"""What `train adapter` takes from the page: its database, and the folder where it finds adapters.

Imported when that is asked for, as a machine that only trains has nothing of the page. Imports
feedback, settings, errors and `commands.feedback`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llava_chat.commands.feedback import export_of, filter_of, opened_store, store_settings
from llava_chat.errors import LlavaChatError, UsageError
from llava_chat.feedback import REASONS
from llava_chat.feedback.export import file_name

REPLIES, PAIRS = "llava", "dpo"


def adapter_folder(args: argparse.Namespace) -> Path:
    """Where the page looks for adapters. Raises SettingError."""
    return store_settings(args).adapter_folder


def exported(args: argparse.Namespace, folder: Path) -> tuple[Path | None, Path | None]:
    """The files of replies to learn and of pairs, below a folder; None for one without a row.

    They are those of an export. Raises UsageError where there is no database or a filter is wrong,
    StoreError, LlavaChatError when there is nothing to learn from.
    """
    if args.reason is not None and args.reason not in REASONS:
        raise UsageError(f"--reason must be one of {', '.join(REASONS)}, not {args.reason!r}")
    files: list[Path | None] = []
    with opened_store(store_settings(args)) as store:
        for form in (REPLIES, PAIRS):
            wanted = filter_of(args, "of_")
            manifest = export_of(store, form, folder / form, wanted, args.project)
            some = manifest["counts"]["records"]
            files.append(folder / form / file_name(form) if some else None)
            for reason, number in manifest["left_out"].items():
                print(f"{form}: left out {number} ({reason})", file=sys.stderr)
    if not any(files):
        raise LlavaChatError(
            "the feedback that was asked for holds no correction, no liked reply and no ranking; "
            "`llava_chat feedback stats` tells what there is"
        )
    return files[0], files[1]
