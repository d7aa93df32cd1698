"""Which target bills whom, from which place of the tail on.

The version before bills nobody, and serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")


def upgrade() -> None:
    op.create_table(
        "export_billers",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "account", "xid", name=op.f("export_billers_pkey")),
    )


def downgrade() -> None:
    op.drop_table("export_billers")
