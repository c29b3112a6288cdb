"""Ratings, corrections, rankings, consents, and conversations that are not to be kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; every earlier conversation was meant to be kept."""
    op.add_column(
        "conversations", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    _of_messages(
        "ratings",
        sa.Column("liked", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("replaced_ids", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("message_id", "owner", name="uq_ratings_message_id_owner"),
    )
    for name, said in (
        ("corrections", sa.Column("text", sa.Text(), nullable=False)),
        ("rankings", sa.Column("reply_ids", sa.JSON(), nullable=False)),
    ):
        _of_messages(
            name,
            sa.Column("position", sa.Integer(), nullable=False),
            said,
            sa.UniqueConstraint(
                "message_id", "owner", "position", name=f"uq_{name}_message_id_owner_position"
            ),
        )
    op.create_table(
        "consents",
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("keep", sa.Boolean(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wording", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_consents"),
    )


def _of_messages(name: str, *further: sa.schema.SchemaItem) -> None:
    """A table of what somebody said of a message, and goes with it."""
    op.create_table(
        name,
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *further,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=f"fk_{name}_message_id_messages",
            ondelete="CASCADE",
        ),
    )
    op.create_index(f"ix_{name}_owner", name, ["owner"])
