"""What the language model is told: a system message and examples for each type, from files.

A folder holds `conversation/`, `detail/` and `reasoning/`, each with `system.txt` and examples
`1.context.txt`, `1.reply.txt`, `2.context.txt` and so on, and `brief.txt` and `detailed.txt` with
an instruction a line. Imports errors and the types beside it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llava_chat import ASSETS
from llava_chat.errors import UsageError
from llava_chat.training.generation.kinds import (
    ASKED_KINDS,
    Kind,
    Reply,
    UnfitReplyError,
    turns_of,
)

FOLDER = ASSETS / "generate"
MOST_BYTES = 2**20  # of a file: nobody writes a longer prompt

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Prompt:
    """examples: contexts and the replies to them, shown before the context that is asked about."""

    system: str
    examples: tuple[tuple[str, str], ...]

    def messages(self, context: str) -> Messages:
        """System, (context, reply) of each example, the context.

        >>> [m["role"] for m in Prompt("S", (("c", "r"),)).messages("A cat.")]
        ['system', 'user', 'assistant', 'user']
        """
        said = [("system", self.system)]
        for shown, reply in self.examples:
            said += [("user", shown), ("assistant", reply)]
        return [{"role": role, "content": text} for role, text in (*said, ("user", context))]


@dataclass(frozen=True)
class Prompts:
    """brief: the instructions of stage 1's rows. detailed: the questions of descriptions."""

    asked: Mapping[Kind, Prompt]
    brief: tuple[str, ...]
    detailed: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Changes with every word of them."""
        parts = [str(self.asked[kind]) for kind in ASKED_KINDS]
        whole = "\0".join([*parts, *self.brief, "", *self.detailed])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def load_prompts(folder: Path = FOLDER) -> Prompts:
    """Read and check a folder. Raises UsageError naming the file and what is wrong with it."""
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder}; `generate-data --write-prompts {folder}` makes one to "
            "start from."
        )
    return Prompts(
        {kind: _prompt(folder / kind, kind) for kind in ASKED_KINDS},
        _lines(folder / "brief.txt"),
        _lines(folder / "detailed.txt"),
    )


def write_prompts(folder: Path) -> None:
    """Copy those that come along to a new folder. Raises UsageError where there is something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; name a folder that is new or empty.")
    try:
        shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _prompt(folder: Path, kind: Kind) -> Prompt:
    examples: list[tuple[str, str]] = []
    while (context := folder / f"{len(examples) + 1}.context.txt").exists():
        reply = folder / f"{len(examples) + 1}.reply.txt"
        examples.append((_text(context), _text(reply)))
        try:
            turns_of(kind, Reply(examples[-1][1], "stop"))
        except UnfitReplyError as error:
            raise UsageError(f"{reply}: such a reply would be refused ({error})") from None
    if not examples:
        raise UsageError(f"{folder} needs an example at least, from 1.context.txt and 1.reply.txt")
    return Prompt(_text(folder / "system.txt"), tuple(examples))


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in _text(file).splitlines() if line.strip())


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} is larger than a prompt can be")
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8") from error
    if not text:
        raise UsageError(f"{file} is empty")
    return text
