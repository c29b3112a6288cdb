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

from llava_chat.conversation import TEMPLATES, Conversation, Turn, prompt
from llava_chat.errors import InputError
from llava_chat.image import Picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and the template."""
    parser.add_argument("conversation", type=Path, metavar="CONVERSATION.json")
    parser.add_argument(
        "--template",
        required=True,
        choices=tuple(TEMPLATES),
        metavar="NAME",
        help="see `templates`",
    )


def run(args: argparse.Namespace) -> int:
    """Write the prompt and not a character more, so that it can be compared with another's."""
    conversation = read_conversation(args.conversation)
    sys.stdout.write(prompt(conversation, args.template))
    if sys.stdout.isatty():
        print()
    return 0


def read_conversation(path: Path) -> Conversation:
    """Read and check a CONVERSATION.json. Raises InputError naming the file and the place in it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
        return conversation_from_json(data)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, not JSON, or a key twice
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def conversation_from_json(data: Any) -> Conversation:
    """The conversation that parsed JSON describes. Raises InputError naming the place.

    >>> conversation_from_json({"turns": [{"role": "user", "text": "Hi"}]}).turns[0].text
    'Hi'
    >>> conversation_from_json({"turns": [{"role": "human", "text": "Hi"}]})
    Traceback (most recent call last):
    llava_chat.errors.InputError: turns[0].role must be "user" or "assistant", not 'human'.
    """
    _check_keys(data, "the conversation", required={"turns"}, optional={"system"})
    system = data.get("system")
    if system is not None and not isinstance(system, str):
        raise InputError(f"system must be a text, not {system!r}.")
    if not isinstance(data["turns"], list):
        raise InputError(f"turns must be a list, not {data['turns']!r}.")
    turns = tuple(_turn(turn, f"turns[{place}]") for place, turn in enumerate(data["turns"]))
    return Conversation(turns, system=system)


def _turn(data: Any, where: str) -> Turn:
    _check_keys(data, where, required={"role", "text"}, optional={"images"})
    if data["role"] not in ("user", "assistant"):
        raise InputError(f'{where}.role must be "user" or "assistant", not {data["role"]!r}.')
    if not isinstance(data["text"], str):
        raise InputError(f"{where}.text must be a text, not {data['text']!r}.")
    images = data.get("images", [])
    if not isinstance(images, list) or not all(isinstance(path, str) for path in images):
        raise InputError(f"{where}.images must be a list of paths, not {images!r}.")
    if images and data["role"] == "assistant":
        raise InputError(f"{where}.images: only the user brings pictures.")
    return Turn(data["role"], data["text"], tuple(_unopened(path) for path in images))


def _unopened(path: str) -> Picture:
    """Stands for a picture in a prompt's text, which tells how many there are and no more."""
    return Picture(id=path, width=0, height=0, source=Path(path))


def _check_keys(data: Any, where: str, *, required: set[str], optional: set[str]) -> None:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be an object, not {data!r}.")
    if missing := required - data.keys():
        raise InputError(f"{where} has no {', '.join(sorted(missing))}.")
    if unknown := data.keys() - required - optional:
        raise InputError(f"{where} has unknown keys: {', '.join(sorted(unknown))}.")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return data
