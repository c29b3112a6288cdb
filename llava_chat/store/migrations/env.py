"""Alembic runs this file to migrate over the connection, and in the transaction, it was given."""

from __future__ import annotations

from alembic import context

from llava_chat.store import annotation_schema
from llava_chat.store.schema import Base

assert annotation_schema  # whose tables are in the metadata from here on

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can do it, because the store begins its transactions itself.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
