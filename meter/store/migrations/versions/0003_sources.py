"""Objects to fetch, polls' cursors, sessions to look at again, drafts, merged members, hashed identities.

Every column has a default or may be NULL, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "fetches",
        sa.Column("operator", ID, nullable=False),
        sa.Column("vendor", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("object", ID, nullable=False),
        sa.Column("wanted", JSONB(), nullable=False),
        sa.Column("notices", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", WHEN, nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operator", "vendor", "name", "kind", "object", name=op.f("fetches_pkey")),
    )
    op.create_index("fetches_due_idx", "fetches", ["operator", "due_at"])
    op.create_table(
        "feeds",
        sa.Column("operator", ID, nullable=False),
        sa.Column("vendor", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("feed", ID, nullable=False),
        sa.Column("cursor", JSONB(), nullable=True),
        sa.Column("due_at", WHEN, nullable=False),
        sa.Column("polled_at", WHEN, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operator", "vendor", "name", "feed", name=op.f("feeds_pkey")),
    )
    op.create_table(
        "wifi_readings",
        sa.Column("operator", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("session", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("person", sa.Boolean(), nullable=False),
        sa.Column("derived", sa.Boolean(), nullable=False),
        sa.Column("nas", ID, nullable=True),
        sa.PrimaryKeyConstraint("operator", "source", "session", "time", "id", name=op.f("wifi_readings_pkey")),
    )
    op.create_index(
        "wifi_readings_nas_idx",
        "wifi_readings",
        ["operator", "source", "nas", "time"],
        postgresql_where=sa.text("nas IS NOT NULL"),
    )
    op.create_table(
        "wifi_due",
        sa.Column("operator", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("notices", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("operator", "kind", "source", "name", name=op.f("wifi_due_pkey")),
        sa.CheckConstraint("kind IN ('session', 'restart', 'revision')", name=op.f("wifi_due_kind_check")),
    )
    op.create_table(
        "drafts",
        sa.Column("operator", ID, nullable=False),
        sa.Column("vendor", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("fault_facts", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "vendor", "name", "kind", "id", name=op.f("drafts_pkey")),
        sa.CheckConstraint("state IN ('open', 'applied', 'dismissed')", name=op.f("drafts_state_check")),
    )
    op.create_index("drafts_state_idx", "drafts", ["operator", "state", "kind", "id"])
    op.create_table(
        "doubtful_times",
        sa.Column("operator", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("flag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "time", "source", "id", name=op.f("doubtful_times_pkey")),
    )
    op.add_column("members", sa.Column("merged_into", ID, nullable=True))
    op.add_column("operators", sa.Column("identity_check", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("operators", "identity_check")
    op.drop_column("members", "merged_into")
    op.drop_table("doubtful_times")
    op.drop_table("drafts")
    op.drop_table("wifi_due")
    op.drop_table("wifi_readings")
    op.drop_table("feeds")
    op.drop_table("fetches")
