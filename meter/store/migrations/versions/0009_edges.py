"""What lies beyond a hole of an agent as ranges, what its latest heartbeat says, and agents that are gone for good.

The version before keeps single sequences in `also`, and serves on while this runs and after it; whoever stores the
agent's next batch takes them over.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "edges", sa.Column("beyond", sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False)
    )
    op.add_column("edges", sa.Column("said", postgresql.JSONB(), nullable=True))
    op.add_column("edges", sa.Column("said_sequence", sa.BigInteger(), nullable=True))
    op.add_column("edges", sa.Column("heartbeat_at", WHEN, nullable=True))
    op.create_table(
        "edge_retirements",
        sa.Column("operator", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("edge", ID, nullable=False),
        sa.Column("heard_at", WHEN, nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "site", "edge", "heard_at", name=op.f("edge_retirements_pkey")),
    )


def downgrade() -> None:
    op.drop_table("edge_retirements")
    op.drop_column("edges", "heartbeat_at")
    op.drop_column("edges", "said_sequence")
    op.drop_column("edges", "said")
    op.drop_column("edges", "beyond")
