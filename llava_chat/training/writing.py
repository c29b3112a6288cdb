"""Files of which nobody ever sees a part: written aside, then renamed. Imports errors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from llava_chat.errors import TrainingDataError


def write_whole(path: Path, parts: str | Iterable[str]) -> None:
    """On the disk when it returns, and the file before it there until then.

    parts: what it holds, in one piece or several.

    Raises TrainingDataError where it cannot be written; what raises in `parts` goes on.
    """
    aside = path.with_name(path.name + ".part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            # A text alone would be written letter by letter.
            file.writelines([parts] if isinstance(parts, str) else parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def json_list(items: Iterable[str]) -> Iterator[str]:
    r"""The pieces of a JSON list, an item a line, so that two lists can be compared.

    >>> "".join(json_list(["1", "2"])), "".join(json_list([]))
    ('[\n1,\n2\n]\n', '[\n]\n')
    """
    yield "["
    for number, item in enumerate(items):
        yield f"{',' if number else ''}\n{item}"
    yield "\n]\n"


def unwritable(path: Path, error: OSError) -> TrainingDataError:
    """The sentence for it."""
    return TrainingDataError(f"{path} cannot be written: {error.strerror}.")
