"""The names of the conversation templates, one a line."""

from __future__ import annotations

import argparse

from llava_chat.conversation import TEMPLATES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Print them in the order of the table that they are kept in."""
    for name in TEMPLATES:
        print(name)
    return 0
