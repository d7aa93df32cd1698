"""Shares of revenue and when it is earned, with each charge.

Every column has a default or may be NULL, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("charges", sa.Column("shares", JSONB(), nullable=True))
    op.add_column("charges", sa.Column("earned_until", WHEN, nullable=True))


def downgrade() -> None:
    op.drop_column("charges", "earned_until")
    op.drop_column("charges", "shares")
