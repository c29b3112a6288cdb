"""Comparisons of two models, and annotation: members, projects, items, leases, what is said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; every earlier conversation was a chat."""
    op.add_column(
        "conversations",
        sa.Column("purpose", sa.String(16), nullable=False, server_default=sa.text("'chat'")),
    )
    _comparisons()
    _projects()
    _of_items()


def _comparisons() -> None:
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("left_id", sa.String(32), nullable=False),
        sa.Column("right_id", sa.String(32), nullable=False),
        sa.Column("left_name", sa.Text(), nullable=False),
        sa.Column("right_name", sa.Text(), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
        _going_with("comparisons", "left_id", "conversations"),
        _going_with("comparisons", "right_id", "conversations"),
        sa.UniqueConstraint("left_id", name="uq_comparisons_left_id"),
        sa.UniqueConstraint("right_id", name="uq_comparisons_right_id"),
    )
    op.create_index("ix_comparisons_owner", "comparisons", ["owner"])
    op.create_table(
        "comparison_votes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("choice", sa.String(16), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("lead_time_s", sa.Float(), nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_comparison_votes"),
        _going_with("comparison_votes", "comparison_id", "comparisons"),
        sa.UniqueConstraint("comparison_id", "turn", name="uq_comparison_votes_comparison_id_turn"),
        sa.CheckConstraint(
            "choice IN ('left', 'right', 'tie', 'both_bad')", name="ck_comparison_votes_choice"
        ),
    )


def _projects() -> None:
    op.create_table(
        "members",
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("study", sa.JSON(), nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("owner", name="pk_members"),
        sa.CheckConstraint("role IN ('annotator', 'lead', 'host')", name="ck_members_role"),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("guidelines", sa.Text(), nullable=False),
        sa.Column("form", sa.JSON(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("lease_s", sa.Float(), nullable=False),
        sa.Column("gold_every", sa.Integer(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("completion_code", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(128), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("gold", sa.JSON(), nullable=True),
        sa.Column("source_id", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
        _going_with("items", "project_id", "projects"),
        _going_with("items", "source_id", "messages"),
        sa.UniqueConstraint("project_id", "position", name="uq_items_project_id_position"),
    )
    op.create_index("ix_items_source_id", "items", ["source_id"])
    op.create_table(
        "item_pictures",
        sa.Column("item_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("picture_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "position", name="pk_item_pictures"),
        _going_with("item_pictures", "item_id", "items"),
        sa.ForeignKeyConstraint(
            ["picture_id"], ["pictures.id"], name="fk_item_pictures_picture_id_pictures"
        ),
    )
    op.create_index("ix_item_pictures_picture_id", "item_pictures", ["picture_id"])


def _of_items() -> None:
    """What one person has of one item."""
    for name, further in (
        ("leases", (_time("taken_at"), _time("expires_at"))),
        (
            "drafts",
            (
                sa.Column("values", sa.JSON(), nullable=False),
                sa.Column("lead_time_s", sa.Float(), nullable=False),
                _time("updated_at"),
            ),
        ),
    ):
        op.create_table(
            name,
            sa.Column("item_id", sa.String(32), nullable=False),
            sa.Column("annotator", sa.String(128), nullable=False),
            *further,
            sa.PrimaryKeyConstraint("item_id", "annotator", name=f"pk_{name}"),
            _going_with(name, "item_id", "items"),
        )
        op.create_index(f"ix_{name}_annotator", name, ["annotator"])
    op.create_table(
        "annotations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("item_id", sa.String(32), nullable=False),
        sa.Column("annotator", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("lead_time_s", sa.Float(), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        _going_with("annotations", "item_id", "items"),
        sa.UniqueConstraint(
            "item_id", "annotator", "position", name="uq_annotations_item_id_annotator_position"
        ),
        sa.CheckConstraint(
            "outcome IN ('answered', 'skipped', 'flagged')", name="ck_annotations_outcome"
        ),
    )
    op.create_index("ix_annotations_annotator", "annotations", ["annotator"])


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _going_with(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    """A reference to a row with which this one is deleted."""
    return sa.ForeignKeyConstraint(
        [column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}", ondelete="CASCADE"
    )
