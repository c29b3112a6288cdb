"""A file by the name that somebody else's row gives it, below one folder and nowhere else.

Imports errors only.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from llava_chat.errors import MissingPictureError, PictureError

SPOKEN_CHARS = 60


def file_below(folder: Path, name: str) -> Path:
    """The file `name` below `folder`.

    Raises MissingPictureError where it is not there, PictureError where it leads out.

    >>> file_below(Path("pictures"), "../passwords.png")
    Traceback (most recent call last):
    llava_chat.errors.PictureError: '../passwords.png' leaves the folder of pictures
    """
    check_name(name)
    path = folder / PurePosixPath(name)
    try:
        inside, present = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except OSError as error:  # a name too long for a file
        raise PictureError(f"{name[:SPOKEN_CHARS]!r} cannot be opened: {error.strerror}") from error
    except RuntimeError as error:  # Python 3.13 and later follow no loop, and find no file
        raise PictureError(f"{name!r} is a link that leads back to itself") from error
    if not inside:
        raise PictureError(f"{name!r} is a link out of the folder of pictures")
    if not present:
        raise MissingPictureError(f"there is no file {path}")
    return path


def check_name(name: str) -> None:
    """Raise PictureError for a name that leaves the folder which it is relative to."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise PictureError(f"{name!r} leaves the folder of pictures")
