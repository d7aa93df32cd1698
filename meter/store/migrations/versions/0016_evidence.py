"""Who changed what, written by the database itself, and the seals over what is kept for good (decision 0020).

Triggers, so that the version before, which serves on, is recorded as well; and a row for each object that is there.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.xid8 import Xid8

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)

# Table; columns of its key; of those, what is told as a keyed hash; what is left out of the digest; who is recorded.
AUDITED = (
    ("accounts", "account", "", "name,external,replaced", "all"),
    ("api_keys", "id", "", "", "all"),
    ("catalogs", "version", "", "", "all"),
    ("closes", "account,period_start", "", "booked,booked_xid", "all"),
    ("drafts", "vendor,name,kind,id", "id", "body,note,fault,fault_facts", "people"),
    ("edge_authorities", "certificate", "certificate", "", "all"),
    ("edge_certificates", "serial", "", "", "all"),
    ("edge_enrollments", "id", "", "", "all"),
    ("edge_retirements", "site,edge,heard_at", "", "", "all"),
    ("edge_revocations", "site,edge,at", "", "refused,kept,refused_at", "all"),
    ("grants", "grant", "", "", "all"),
    ("identities", "identity,member,start", "identity", "", "all"),
    ("member_accounts", "member,account,start", "", "", "all"),
    ("members", "member", "", "", "all"),
    ("outbox", "id", "", "payload,booked_at,fault", "people"),
    ("rejections", "id", "", "body,stands,detail,count,last_at", "people"),
    ("subscriptions", "subscription", "", "", "all"),
)

FUNCTIONS = (
    """
    CREATE FUNCTION meter_member_keys() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO member_keys (operator, member, pseudonym, key)
        SELECT operator, member, replace(gen_random_uuid()::text, '-', ''),
               uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
          FROM new_rows AS m
         WHERE NOT EXISTS (SELECT FROM member_keys AS k WHERE k.operator = m.operator AND k.pseudonym = m.member)
         ORDER BY operator, member
            ON CONFLICT (operator, member) DO NOTHING;
        RETURN NULL;
    END $$
    """,
    # What is told of a row. A member is told by the pseudonym, and what is about one hashed with the member's key, so
    # that nothing can be guessed once the key is destroyed.
    """
    CREATE FUNCTION meter_audit_of(r jsonb, keys text[], hashed text[], left_out text[],
                                   OUT object text, OUT member text, OUT digest text)
    LANGUAGE plpgsql STABLE AS $$
    DECLARE
        salt bytea := '';
        told jsonb;
    BEGIN
        IF r ->> 'member' IS NOT NULL THEN
            SELECT k.pseudonym, coalesce(k.key, '') INTO member, salt FROM member_keys AS k
             WHERE k.operator = r ->> 'operator' AND k.member = r ->> 'member';
            IF NOT FOUND THEN
                SELECT k.pseudonym, '' INTO member, salt FROM member_keys AS k
                 WHERE k.operator = r ->> 'operator' AND k.pseudonym = r ->> 'member';
            END IF;
            member := coalesce(member, 'unknown');
            salt := coalesce(salt, '');
        END IF;
        SELECT jsonb_agg(CASE WHEN c = 'member' THEN to_jsonb(member)
                              WHEN c = ANY (hashed)
                              THEN to_jsonb(left(encode(sha256(salt || convert_to(r ->> c, 'UTF8')), 'hex'), 32))
                              ELSE r -> c END ORDER BY place)
          INTO told FROM unnest(keys) WITH ORDINALITY AS listed (c, place);
        object := CASE WHEN jsonb_array_length(told) = 1 THEN told ->> 0 ELSE told::text END;
        -- Without what is null, so that a column which a later migration adds changes no digest.
        SELECT encode(sha256(salt || convert_to(coalesce(jsonb_object_agg(f.key, f.value), '{}')::text, 'UTF8')), 'hex')
          INTO digest FROM jsonb_each(r - left_out) AS f WHERE f.value <> 'null';
    END $$
    """,
    """
    CREATE FUNCTION meter_audited() RETURNS trigger LANGUAGE plpgsql SET timezone TO 'UTC' AS $$
    DECLARE
        actor text := coalesce(nullif(current_setting('meter.actor', true), ''), 'system');
        keys text[] := string_to_array(TG_ARGV[0], ',');
        hashed text[] := string_to_array(TG_ARGV[1], ',');
        left_out text[] := string_to_array(TG_ARGV[2], ',');
        ignored text[] := CASE WHEN TG_TABLE_NAME IN ('accounts', 'drafts') THEN '{}' ELSE left_out END;
    BEGIN
        IF TG_ARGV[3] = 'people' AND actor = 'system' THEN
            RETURN NULL;
        END IF;
        IF TG_OP = 'INSERT' THEN
            INSERT INTO audit (operator, actor, action, kind, object, member, detail)
            SELECT n.r ->> 'operator', actor, 'made', TG_TABLE_NAME, t.object, t.member,
                   jsonb_build_object('digest', t.digest)
              FROM (SELECT to_jsonb(new_rows) AS r FROM new_rows) AS n,
                   meter_audit_of(n.r, keys, hashed, left_out) AS t;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO audit (operator, actor, action, kind, object, member, detail)
            SELECT o.r ->> 'operator', actor, 'removed', TG_TABLE_NAME, t.object, t.member, '{}'
              FROM (SELECT to_jsonb(old_rows) AS r FROM old_rows) AS o,
                   meter_audit_of(o.r, keys, hashed, left_out) AS t;
        ELSE
            INSERT INTO audit (operator, actor, action, kind, object, member, detail)
            SELECT coalesce(n.r, o.r) ->> 'operator', actor,
                   CASE WHEN n.r IS NULL THEN 'removed' WHEN o.r IS NULL THEN 'made' ELSE 'changed' END,
                   TG_TABLE_NAME, t.object, t.member,
                   CASE WHEN n.r IS NULL THEN '{}' ELSE jsonb_build_object('digest', t.digest, 'fields',
                       (SELECT coalesce(jsonb_agg(f ORDER BY f), '[]') FROM jsonb_object_keys(n.r) AS f
                         WHERE (n.r -> f) IS DISTINCT FROM (o.r -> f))) END
              FROM (SELECT to_jsonb(old_rows) AS r,
                           (SELECT jsonb_agg(to_jsonb(old_rows) -> c) FROM unnest(ARRAY['operator'] || keys) AS c) AS k
                      FROM old_rows) AS o
              FULL JOIN (SELECT to_jsonb(new_rows) AS r,
                           (SELECT jsonb_agg(to_jsonb(new_rows) -> c) FROM unnest(ARRAY['operator'] || keys) AS c) AS k
                      FROM new_rows) AS n ON n.k = o.k,
                   meter_audit_of(coalesce(n.r, o.r), keys, hashed, left_out) AS t
             WHERE (n.r - ignored) IS DISTINCT FROM (o.r - ignored);
        END IF;
        RETURN NULL;
    END $$
    """,
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("operator", ID, nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", ID, nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("object", ID, nullable=False),
        sa.Column("member", ID, nullable=True),
        sa.Column("detail", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "seq", name=op.f("audit_pkey")),
    )
    op.create_index("audit_tail_idx", "audit", ["operator", "xid", "seq"])
    op.create_index("audit_object_idx", "audit", ["operator", "kind", "object", "seq"])
    op.create_table(
        "seals",
        sa.Column("operator", ID, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("stream", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("from_xid", Xid8(), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_xid", Xid8(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", WHEN, nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "n", name=op.f("seals_pkey")),
    )
    op.create_index("seals_stream_idx", "seals", ["operator", "stream", "n"])
    op.create_table(
        "member_keys",
        sa.Column("operator", ID, nullable=False),
        sa.Column("member", ID, nullable=False),
        sa.Column("pseudonym", ID, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("operator", "member", name=op.f("member_keys_pkey")),
        sa.UniqueConstraint("operator", "pseudonym", name=op.f("member_keys_operator_pseudonym_key")),
    )
    for statement in FUNCTIONS:
        op.execute(statement)
    # Before those of the audit, which go by name: it tells members by their pseudonyms.
    op.execute(
        "CREATE TRIGGER a_member_keys AFTER INSERT ON members REFERENCING NEW TABLE AS new_rows"
        " FOR EACH STATEMENT EXECUTE FUNCTION meter_member_keys()"
    )
    op.execute(
        "INSERT INTO member_keys (operator, member, pseudonym, key)"
        " SELECT operator, member, replace(gen_random_uuid()::text, '-', ''),"
        " uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) FROM members"
    )
    for table, keys, hashed, left_out, who in AUDITED:
        for event, rows in (("INSERT", "NEW"), ("UPDATE", "both"), ("DELETE", "OLD")):
            tables = [f"{one} TABLE AS {one.lower()}_rows" for one in ("OLD", "NEW") if rows in {one, "both"}]
            op.execute(
                f"CREATE TRIGGER audited_{event.lower()} AFTER {event} ON {table} REFERENCING {' '.join(tables)}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION meter_audited('{keys}', '{hashed}', '{left_out}', '{who}')"
            )
        if who == "all":
            op.execute(
                "INSERT INTO audit (operator, actor, action, kind, object, member, detail)"  # noqa: S608 -- constants
                f" SELECT t.operator, 'system', 'found', '{table}', f.object, f.member,"
                f" jsonb_build_object('digest', f.digest) FROM {table} AS t,"
                f" meter_audit_of(to_jsonb(t), string_to_array('{keys}', ','), string_to_array('{hashed}', ','),"
                f" string_to_array('{left_out}', ',')) AS f"
            )


def downgrade() -> None:
    for table, *_ in AUDITED:
        for event in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER audited_{event} ON {table}")
    op.execute("DROP TRIGGER a_member_keys ON members")
    op.execute("DROP FUNCTION meter_audited()")
    op.execute("DROP FUNCTION meter_audit_of(jsonb, text[], text[], text[])")
    op.execute("DROP FUNCTION meter_member_keys()")
    for table in ("member_keys", "seals", "audit"):
        op.drop_table(table)
