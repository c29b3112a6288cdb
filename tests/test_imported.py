"""What is imported for good is left alone by the collector, which then works as before."""

from __future__ import annotations

import subprocess
import sys

COUNTED = """
import gc
from llava_chat.imported import kept_for_good
class Loop:
    def __init__(self): self.itself = self
with kept_for_good():
    import argparse, email.message
    assert not gc.isenabled()
kept = gc.get_freeze_count()
assert gc.isenabled() and kept > 1000
left = Loop()
del left
assert gc.collect() and gc.get_freeze_count() == kept
try:
    with kept_for_good():
        raise ImportError
except ImportError:
    assert gc.isenabled()
gc.disable()
with kept_for_good(): pass
assert not gc.isenabled()  # as it was
print("as before")
"""


def test_the_collector_leaves_what_was_imported_alone() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True)
    assert done.stdout == "as before\n", done.stderr
