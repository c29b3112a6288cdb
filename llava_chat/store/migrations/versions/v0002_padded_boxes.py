"""How the model of a reply counts its boxes: a server may have had several models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of earlier replies it is not known."""
    op.add_column("reply_records", sa.Column("padded_boxes", sa.Boolean(), nullable=True))
