"""What was asked before acting, and what became of it. The version before asks nothing and settles nothing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "authorizations",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account", ID, nullable=True),
        sa.Column("member", ID, nullable=True),
        sa.Column("identity", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("meter", ID, nullable=False),
        sa.Column("event_type", ID, nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("answer", postgresql.JSONB(), nullable=False),
        sa.Column("asked_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("settled_at", WHEN, nullable=True),
        sa.Column("settled_source", ID, nullable=True),
        sa.Column("settled_id", ID, nullable=True),
        sa.Column("released_at", WHEN, nullable=True),
        sa.Column("key", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("authorizations_pkey")),
    )
    op.create_index("authorizations_asked_idx", "authorizations", ["operator", "asked_at", "id"])
    op.create_index("authorizations_account_idx", "authorizations", ["operator", "account", "asked_at", "id"])
    op.create_index(
        "authorizations_open_idx",
        "authorizations",
        ["operator", "account", "expires_at"],
        postgresql_where=sa.text("allowed AND settled_at IS NULL AND released_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("authorizations")
