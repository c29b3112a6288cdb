"""A real store on a fresh database, and the small things that fill it."""

from tests.databases import (
    backend,
    blue,
    database_file,
    database_url,
    open_store,
    record,
    red,
    store,
)

__all__ = [
    "backend",
    "blue",
    "database_file",
    "database_url",
    "open_store",
    "record",
    "red",
    "store",
]
