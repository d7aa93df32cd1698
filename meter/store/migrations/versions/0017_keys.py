"""How long keys are good, whose they are, and when each was used last.

The version before knows no end of a key: while it serves, revoke what must end at once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("label", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("client", ID, nullable=True))
    op.add_column("api_keys", sa.Column("expires_at", WHEN, nullable=True))
    op.create_table(
        "api_key_uses",
        sa.Column("operator", ID, nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("used_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "key", name=op.f("api_key_uses_pkey")),
    )


def downgrade() -> None:
    op.drop_table("api_key_uses")
    op.drop_column("api_keys", "expires_at")
    op.drop_column("api_keys", "client")
    op.drop_column("api_keys", "label")
