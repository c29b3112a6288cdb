"""Parts of a training that do not need each other, side by side on the cores of one machine.

Small models do not fill many cores: two of them at a time, on half of the cores each, are done
before one after the other on all of them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

import torch

from llava_chat.errors import LlavaChatError


def side_by_side(parts: Mapping[str, Callable[[], object]]) -> None:
    """Run each part in a process of its own, on its share of the threads; return when all are done.

    A part can be pickled: a function of a module, or a partial of one; its results are the files it
    writes. The first that fails ends the others: raises LlavaChatError, after the part itself has
    said why.
    """
    threads = max(1, torch.get_num_threads() // len(parts))
    spawn = get_context("spawn").Process
    processes = [
        spawn(target=_run, args=(part, threads), name=name) for name, part in parts.items()
    ]
    try:
        for process in processes:
            process.start()
        running = {process.sentinel: process for process in processes}
        while running:
            for sentinel in wait(list(running)):
                ended = running.pop(int(sentinel))  # type: ignore[arg-type]
                ended.join()
                if ended.exitcode:
                    raise LlavaChatError(f"{ended.name}: ended with exit code {ended.exitcode}")
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def _run(part: Callable[[], object], threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        part()
    except KeyboardInterrupt:
        sys.exit(130)
    except LlavaChatError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its children."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
