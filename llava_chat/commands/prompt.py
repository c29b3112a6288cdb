"""The exact prompt text of a conversation, with <image> where a picture's features go.

CONVERSATION.json holds {"system"?: text, "turns": [{"role": "user" or "assistant", "text": text,
"images"?: [path]}]}. When the last turn is the user's, the cue for the reply is included.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from llava_chat.conversation import TEMPLATES, Conversation, conversation_from_json, prompt
from llava_chat.errors import InputError, UsageError
from llava_chat.image import Picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and the template."""
    parser.add_argument("conversation", type=Path, metavar="CONVERSATION.json")
    parser.add_argument(
        "--template",
        required=True,
        choices=tuple(TEMPLATES),
        metavar="NAME",
        help="one of those that the command `templates` lists",
    )


def run(args: argparse.Namespace) -> int:
    """Write the prompt and not a character more, so that it can be compared with another's."""
    sys.stdout.write(prompt(read_conversation(args.conversation), args.template))
    if sys.stdout.isatty():
        print()
    return 0


def read_conversation(path: Path) -> Conversation:
    """Read and check a CONVERSATION.json. Raises InputError naming the file and the place in it.

    Pictures are not opened: a prompt's text tells how many there are, and nothing of what they
    show. Nor is there a limit to the length: no model has to read it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
        return conversation_from_json(data, path.parent, _unopened, max_chars=sys.maxsize)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, not JSON, or a key twice
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply.") from error
    except (InputError, UsageError) as error:
        raise InputError(f"{path}: {error}") from error


def _unopened(path: Path) -> Picture:
    return Picture(id=str(path), width=0, height=0, source=path)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return data
