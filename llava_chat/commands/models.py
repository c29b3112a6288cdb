"""Known models: what to pass as --model, what each needs, and whether it is on this machine.

Any other model of the LLaVA family works by its folder or Hub id. Nothing is downloaded here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from llava_chat.model.inspection import KnownModel, known_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to write the list."""
    parser.add_argument("--json", action="store_true", help="a JSON list, sizes in bytes")


def run(args: argparse.Namespace) -> int:
    """Print a line for each."""
    models = known_models()
    if args.json:
        print(json.dumps([asdict(model) for model in models], indent=2))
    else:
        width = max(len(model.name) for model in models)
        for model in models:
            print(f"{model.name:{width}}  {needs(model)}  {model.description}{also(model)}")
    return 0


def also(model: KnownModel) -> str:
    """What has to be there or done besides, '' for most."""
    if model.convert_first:
        return f"; first: python -m llava_chat {model.convert_first}"
    return f"; with {', '.join(model.needs)}" if model.needs else ""


def needs(model: KnownModel) -> str:
    """What a person wants to know before choosing, in columns.

    >>> needs(KnownModel("x", "", 7_063_427_072, 14_126_854_144, "vicuna_v1", False))
    'not here   7063.4 M parameters   14.13 GB in bfloat16  vicuna_v1'
    """
    if not model.parameters:
        return f"{'not here':8}  {'size unknown until it is':44}  {model.template}"
    presence = "here" if model.present else "not here"
    return (
        f"{presence:8} {model.parameters / 1e6:8.1f} M parameters "
        f"{model.memory_bytes / 1e9:7.2f} GB in bfloat16  {model.template}"
    )
