"""What browsers upload, for as long as it is needed: originals can hold where they were taken.

Gradio keeps every upload in one folder, which `settings.prepare_libraries` puts into the data
folder. Once the pixels of a picture are kept, its original goes; what was never sent goes by age.
Imports nothing of this project.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

UNSENT_AGE_S = 24 * 3600  # a page that was left open overnight still sends its picture
SWEEP_EVERY_S = 3600


def forget(files: Iterable[Path]) -> None:
    """Delete uploads whose pixels are kept now."""
    for file in files:
        # The reply is on its way; a file that will not go now goes by age.
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def forget_leftovers(folder: Path, age_s: float = UNSENT_AGE_S) -> None:
    """Delete what an earlier run left: Gradio deletes by age what it remembers, and nothing else.

    age_s: younger files stay, because another server may have the same data folder.
    """
    before = time.time() - age_s
    for path in sorted(folder.rglob("*"), reverse=True):  # files before the folders around them
        with contextlib.suppress(OSError):  # in use, or just gone
            if path.lstat().st_mtime < before:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
