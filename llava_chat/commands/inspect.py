"""What a checkpoint holds, from its configuration and the headers of its files.

No weight is read or downloaded; of a Hub id that is not here the small files are. The exit code is
1 when it could not be loaded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from llava_chat.errors import CheckpointError
from llava_chat.model.inspection import inspect_checkpoint
from llava_chat.templates import template_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which one, and how to write it."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, `scenes`, or a Hub id")
    parser.add_argument(
        "--adapter", metavar="CHECKPOINT", help="a LoRA adapter or a projector to put on it"
    )
    parser.add_argument(
        "--vision-tower", metavar="CHECKPOINT", help="in place of the tower that it names"
    )
    parser.add_argument("--template", metavar="NAME", help="in place of the one that it names")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what was found; then raise CheckpointError with the first problem, if there is one."""
    if args.template is not None:
        template_named(args.template)
    found = inspect_checkpoint(
        args.checkpoint,
        adapter=args.adapter,
        vision_tower=args.vision_tower,
        template=args.template,
    )
    print(json.dumps(found, indent=2) if args.json else "\n".join(lines(found)))
    if found["problems"]:
        raise CheckpointError(f"{args.checkpoint} cannot be loaded: {found['problems'][0]}")
    return 0


def lines(found: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """One fact a line, those of a part indented below its name.

    >>> list(lines({"tower": {"image_size": 336}, "problems": []}))
    ['tower:', '  image size: 336', 'problems: none']
    """
    for name, value in found.items():
        title = indent + name.replace("_", " ")
        if isinstance(value, Mapping):
            yield f"{title}:"
            yield from lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{title}: {'; '.join(map(str, value)) or 'none'}"
        else:
            yield f"{title}: {value:,}" if type(value) is int else f"{title}: {value}"
