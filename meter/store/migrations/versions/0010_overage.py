"""What becomes of usage beyond a given grant: billed, as the version before thinks, or refused to whoever asks."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("overage", sa.Text(), server_default=sa.text("'bill'"), nullable=False))


def downgrade() -> None:
    op.drop_column("grants", "overage")
