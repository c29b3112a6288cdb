"""Write a checkpoint in another layout: for transformers and servers built on it, or the authors'.

What a checkpoint has apart goes into the one that is written: its vision tower, a LoRA adapter
(merged), a projector. A delta is added to the LLaMA named with --base. The weights keep their
number format, so that converting there and back gives the same bits.

With --new-projector a model begins here: SOURCE is a language model alone, such as Vicuna, and gets
a vision tower and a projector that knows nothing yet, for `train align`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from llava_chat.errors import UsageError
from llava_chat.model.beginning import new_projector
from llava_chat.model.conversion import convert
from llava_chat.model.projector import PROJECTOR_KINDS
from llava_chat.model.sources import Search
from llava_chat.progress import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is read and where it goes."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a folder, a Hub id, which is downloaded, or `scenes`"
    )
    parser.add_argument("target", metavar="TARGET", type=Path, help="a folder that is not there")
    parser.add_argument(
        "--layout",
        required=True,
        choices=("hf", "original"),
        help="hf: llava-hf's, for transformers, vLLM, SGLang; original: haotian-liu/LLaVA's",
    )
    parser.add_argument("--base", metavar="LLAMA", help="what SOURCE is a delta to")
    parser.add_argument("--adapter", metavar="CHECKPOINT", help="a LoRA adapter or a projector")
    parser.add_argument("--vision-tower", metavar="CHECKPOINT", help="instead of the one it names")
    parser.add_argument(
        "--new-projector",
        choices=PROJECTOR_KINDS,
        help="an untrained one, between the language model SOURCE and --vision-tower: linear as "
        "LLaVA v1, mlp2x_gelu as LLaVA-1.5",
    )
    parser.add_argument("--template", metavar="NAME", help="what it was trained with, if unknown")


def run(args: argparse.Namespace) -> int:
    """Convert, and say where the result is."""
    if args.new_projector and (args.adapter or args.base):
        raise UsageError("--new-projector goes on a language model, without --adapter and --base")
    if args.new_projector and not args.vision_tower:
        raise UsageError(
            "--new-projector needs --vision-tower, such as openai/clip-vit-large-patch14-336"
        )
    with ExitStack() as stack:
        stack.enter_context(_cleaned_up())
        report = stack.enter_context(ProgressLine(args.source, sys.stderr))
        on_top = args.adapter
        if args.new_projector:
            parts = new_projector(
                args.source, args.vision_tower, args.new_projector, Search(report=report)
            )
            on_top = str(stack.enter_context(parts))
        convert(
            args.source,
            args.target,
            args.layout,
            base=args.base,
            adapter=on_top,
            vision_tower=args.vision_tower,
            template=args.template,
            report=report,
        )
    print(args.target)
    return 0


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that gigabytes of half a model do not stay."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
