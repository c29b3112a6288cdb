"""Importing what a server needs, without Python's collector looking for what is unused in it.

torch, transformers and gradio come as nearly a million objects that stay until the process ends.
The collector would go through them again and again while they come, once more whenever it looks
at all that is old, in the middle of a reply, and twice when the process ends. Imports nothing of
the package.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """What is there when the block ends is never looked at again. For a process of its own."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
