"""How agents on site come by their keys, and which are shut out. The version before enrols and refuses nobody."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "edge_authorities",
        sa.Column("operator", ID, nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("made_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", name=op.f("edge_authorities_pkey")),
    )
    op.create_table(
        "edge_enrollments",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("edge", ID, nullable=False),
        sa.Column("opened_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("used_at", WHEN, nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("api_key", ID, nullable=True),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("edge_enrollments_pkey")),
        sa.UniqueConstraint("code_hash", name=op.f("edge_enrollments_code_hash_key")),
    )
    op.create_index(
        "edge_enrollments_agent_idx",
        "edge_enrollments",
        ["operator", "site", "edge"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "edge_certificates",
        sa.Column("operator", ID, nullable=False),
        sa.Column("serial", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("edge", ID, nullable=False),
        sa.Column("issued_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("revoked_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "serial", name=op.f("edge_certificates_pkey")),
    )
    op.create_index("edge_certificates_agent_idx", "edge_certificates", ["operator", "site", "edge"])
    op.create_table(
        "edge_revocations",
        sa.Column("operator", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("edge", ID, nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("lifted_at", WHEN, nullable=True),
        sa.Column("refused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("kept", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "site", "edge", "at", name=op.f("edge_revocations_pkey")),
    )
    op.create_index(
        "edge_revocations_open_idx",
        "edge_revocations",
        ["operator", "site", "edge"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("edge_revocations")
    op.drop_table("edge_certificates")
    op.drop_table("edge_enrollments")
    op.drop_table("edge_authorities")
