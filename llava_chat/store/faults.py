"""What went wrong with the database or the disk, in one sentence that a person can act on."""

from __future__ import annotations

import errno

from sqlalchemy.exc import DBAPIError

_AWAY = "The database {place} cannot be reached, so nothing was saved: check that its server runs."
_SENTENCES = (
    (("is full", "no space left"), "The disk is full, so nothing was saved: free some space."),
    (("is locked", "is busy"), "Another program holds the database {place}, so nothing was saved: "
     "try again in a moment."),
    (("lock timeout", "deadlock detected"), "Another program holds what was to change in the "
     "database {place}, so nothing was saved: try again in a moment."),
    (("connection refused", "server closed the", "connection is lost", "terminating connection",
      "starting up", "shutting down", "too many clients"), _AWAY),
    (("fatal:", "no password"), "The database {place} lets nobody in with this address: check the "
     "name, the user and the password in it."),
    (("connection failed", "connection timeout", "failed to resolve"), _AWAY),
    (("unique constraint", "duplicate key"), "Something else has this id already, so nothing was "
     "saved: make a new id."),
    (("malformed", "not a database", "corrupt"), "The database {place} is damaged. The file is "
     "kept there as it is: restore a backup over it, or name another database."),
    (("readonly", "read-only"), "The database {place} cannot be written: check its permissions."),
    (("unable to open",), "The database {place} cannot be opened: check that its folder exists and "
     "may be written."),
    (("disk i/o",), "The disk failed to read or write the database {place}: check the disk."),
)  # fmt: skip


def sentence(error: Exception, place: str) -> str:
    """Name what failed and the way out.

    error: from SQLAlchemy, its driver or the operating system. place: the database's file or URL.

    >>> import sqlite3
    >>> sentence(OSError(errno.ENOSPC, "No space left on device"), "chat.sqlite3")
    'The disk is full, so nothing was saved: free some space.'
    >>> sentence(sqlite3.OperationalError("database is locked"), "chat.sqlite3")[:60]
    'Another program holds the database chat.sqlite3, so nothing '
    """
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, OSError):
        return _of_file(cause)
    told = str(cause).lower()
    for signs, text in _SENTENCES:
        if any(sign in told for sign in signs):
            return text.format(place=place)
    first_line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return f"The database {place} failed: {first_line.rstrip('.')}."


def _of_file(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full, so nothing was saved: free some space."
    name = f" {error.filename}" if error.filename else ""
    return f"The file{name} cannot be read or written: {error.strerror or error}."
