"""The end of a process that something holds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELD_UP = """
import threading, time
from llava_chat.web.ending import ending_within

told = threading.Event()
told.set()
print("what was said")
with ending_within(0.05, told):
    time.sleep(60)
"""
COMMAND = [sys.executable, "-c", HELD_UP]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_what_holds_it_up_is_left_and_what_was_printed_is_seen() -> None:
    ended = subprocess.run(
        COMMAND, cwd=ROOT, env=BUFFERED, capture_output=True, text=True, timeout=30
    )
    assert (ended.returncode, ended.stdout) == (0, "what was said\n")


def test_it_ends_though_nobody_reads_what_was_printed() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ended = subprocess.run(COMMAND, cwd=ROOT, env=BUFFERED, stdout=writes, timeout=30)
    finally:
        os.close(writes)
    assert ended.returncode == 0
