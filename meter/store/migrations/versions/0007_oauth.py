"""The tokens by which targets are asked."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "oauth_tokens",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("seed", ID, nullable=False),
        sa.Column("access_token", sa.Text(), nullable=False),
        sa.Column("access_until", WHEN, nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=True),
        sa.Column("previous_refresh_token", sa.Text(), nullable=True),
        sa.Column("refresh_until", WHEN, nullable=True),
        sa.Column("refreshed_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("operator", "target", "seed", name=op.f("oauth_tokens_pkey")),
    )


def downgrade() -> None:
    op.drop_table("oauth_tokens")
