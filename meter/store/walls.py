"""The second wall: what a gateway's connections may do, by role, by column and by row (decision 0018).

    owner, the URL's user   migrates; sees every operator until it says one
      └─ <owner>_gateway    what each connection of a gateway acts as: `NEEDS` and no more, rows of one operator

Walls are raised after every migration and compared at every start, so that neither a new table nor a restored backup
stands open. Each table has a transaction of its own: the locks are short, and no two are held at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.acting import TAKEN, gateway_role
from meter.store.engine import OLDER_NAME, Database, decode_json, sqlstate
from meter.store.tables import metadata

Privilege = Literal["INSERT", "UPDATE", "DELETE"]


def _needs(*privileges: Privilege, change: str = "") -> frozenset[str]:
    """Return what a table is asked for beside SELECT; `change` names the only columns that are ever changed."""
    return frozenset({"SELECT", *privileges, *(f"UPDATE ({column})" for column in change.split())})


_APPENDED: Final = _needs("INSERT")
_LISTED: Final = _needs("INSERT", "DELETE")
_KEPT: Final = _needs("INSERT", "UPDATE")
_WORKED: Final = _needs(*get_args(Privilege))

# Every table is here. TRUNCATE, REFERENCES, TRIGGER and DDL are needed by nobody but the owner.
NEEDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        # What was, and is never changed: a correction is a further row.
        "audit": _APPENDED,
        "catalogs": _APPENDED,
        "charges": _APPENDED,
        "doubtful_times": _APPENDED,
        "draws": _APPENDED,
        "edge_retirements": _APPENDED,
        "entries": _APPENDED,
        "event_keys": _APPENDED,
        "events": _APPENDED,
        "journal": _APPENDED,
        "refunds": _APPENDED,
        "revisions": _APPENDED,
        "seals": _APPENDED,
        "wifi_readings": _APPENDED,
        # What was, and what became of it.
        "api_keys": _needs("INSERT", change="revoked_at expires_at"),
        "authorizations": _needs("INSERT", "DELETE", change="settled_at settled_source settled_id released_at"),
        "closes": _needs("INSERT", change="booked booked_xid"),
        "deferrals": _needs("INSERT", change="next_day"),
        "edge_certificates": _needs("INSERT", change="revoked_at"),
        "edge_enrollments": _needs("INSERT", "DELETE", change="used_at public_key api_key ended_at"),
        "edge_revocations": _needs("INSERT", change="refused kept refused_at lifted_at"),
        "outbox": _needs(
            "INSERT",
            change="state attempts due_at first_sent_at delivered_at remote_id fault burned rejected revision key",
        ),
        "rejections": _needs("INSERT", change="count last_at status"),
        # What is so now.
        "accounts": _KEPT,
        "api_key_uses": _KEPT,
        "drafts": _KEPT,
        "edge_authorities": _LISTED,
        "edges": _KEPT,
        "export_billers": _KEPT,
        "export_buckets": _KEPT,
        "export_cursors": _KEPT,
        "feeds": _KEPT,
        "grants": _KEPT,
        "identities": _WORKED,
        "invoices": _KEPT,
        "leases": _KEPT,
        "member_accounts": _WORKED,
        "member_keys": _needs("INSERT"),
        "members": _KEPT,
        "oauth_tokens": _WORKED,
        "operators": _needs("INSERT", change="facts_version identity_check rating_shards"),
        "rating_cursors": _WORKED,
        "source_receipts": _KEPT,
        "subscriptions": _KEPT,
        # Told by the owner's commands, read by gateways.
        "backups": _needs(),
        "restorations": _needs(),
        # Work that is gone once it is done.
        "checkpoints": _WORKED,
        "fetches": _WORKED,
        "held_events": _LISTED,
        "lanes": _WORKED,
        "openings": _needs("DELETE"),
        "refolds": _LISTED,
        "unread": _LISTED,
        "unresolved": _LISTED,
        "wakes": _WORKED,
        "wifi_due": _WORKED,
        # Which schema this is, and from which on code may serve it.
        "alembic_version": _needs(),
        "schema_revision": _needs(),
    }
)
# Once only, and only where a version before the books has made charges: `meter.store.openings` tells these until when
# they are earned. Taken away by the first migration that finds no account left to restate.
_OPENING: Final = frozenset({"UPDATE (earned_until)"})

_SAID: Final = "(operator = current_setting('meter.operator'::text, true))"
_UNSAID: Final = "(COALESCE(current_setting('meter.operator'::text, true), ''::text) = ''::text)"
# An arbitrary fixed number: two gateways that start together raise walls one after the other.
_LOCK: Final = 0x6D6574657277
_DENIED: Final = "42501"

_TABLES: Final = text(
    """
    SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
           pg_get_userbyid(c.relowner)::text AS owner,
           ARRAY(SELECT a.privilege_type FROM aclexplode(c.relacl) AS a WHERE a.grantee = g.oid
                 UNION ALL
                 SELECT a.privilege_type || ' (' || t.attname || ')'
                   FROM pg_attribute AS t CROSS JOIN aclexplode(t.attacl) AS a
                  WHERE t.attrelid = c.oid AND a.grantee = g.oid) AS granted,
           EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee = 0)
             OR EXISTS (SELECT FROM pg_attribute AS t CROSS JOIN aclexplode(t.attacl) AS a
                         WHERE t.attrelid = c.oid AND a.grantee = 0) AS public,
           (SELECT coalesce(jsonb_object_agg(p.policyname, concat_ws(' ', p.permissive, p.cmd, 'TO',
                            array_to_string(p.roles, ','), 'USING', p.qual, 'CHECK ' || p.with_check)), '{}')::text
              FROM pg_policies AS p
             WHERE p.schemaname = current_schema() AND p.tablename = c.relname) AS policies
      FROM pg_class AS c LEFT JOIN pg_roles AS g ON g.rolname = :role
     WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p')
       AND c.relname = ANY(CAST(:names AS text[]))
     ORDER BY c.relname
    """
)
_OWNER: Final = text("SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'operators'::regclass")
_ROLE: Final = text(
    f"SELECT count(*) > 0 AS made, coalesce(bool_or({TAKEN}), false) AS taken"  # noqa: S608 -- a constant of ours
    " FROM pg_roles AS g WHERE g.rolname = :role"
)
# Databases that began before PostgreSQL 15 let everybody make tables in `public`.
_OPEN_SCHEMA: Final = text(
    "SELECT quote_ident(current_schema()) FROM pg_roles"
    " WHERE rolname = :role AND has_schema_privilege(oid, current_schema(), 'CREATE')"
)
# Versions before this revision write as the owner and by COPY, which PostgreSQL refuses where rows are walled for the
# owner, too: not while one of them may serve, or be gone back to.
_OLDER_MAY_SERVE: Final = text("SELECT EXISTS (SELECT FROM alembic_version WHERE version_num < '0014')")
_OLDER_AT_WORK: Final = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table's walls as they stand. `granted` and `public`: what the gateway's role and everybody may."""

    name: str
    enabled: bool
    forced: bool
    owner: str
    granted: Sequence[str]
    public: bool
    policies: Mapping[str, str]

    @property
    def by_row(self) -> bool:
        """Tell whether its rows are operators'."""
        return self.name in metadata.tables and "operator" in metadata.tables[self.name].c


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What walls are raised to. `role` None: there is none to grant to. `opening` None: either will do."""

    role: str | None
    forced: bool
    opening: bool | None

    def grants(self, table: str) -> list[frozenset[str]]:
        """Return what the role may be granted of a table; the first is granted where nothing of it is."""
        needs = NEEDS[table]
        if table != "charges":
            return [needs]
        return [kept for kept, opening in ((needs, False), (needs | _OPENING, True)) if self.opening in {opening, None}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the walls stand: tables on which a gateway could not work, or saw every operator, and what else is wrong."""

    unraised: tuple[str, ...]
    faults: tuple[str, ...]


async def raise_walls(database: Database) -> list[str]:
    """Bring every table's walls to what they should be; `database` is the owner's. Safe to run twice and side by side.

    Returns the statements that only an administrator may make, and without which connections act as the owner.
    Raises BadInput (`not_owner`).
    """
    async with database.begin() as connection:
        owner = str(await connection.scalar(_OWNER))
    left = await _make_role(database, owner)
    try:
        async with database.begin() as connection:
            tables = await _tables(connection, owner)
            wanted = await _wanted(connection, owner)
        for name in [table.name for table in tables if _statements(table, wanted)]:
            async with database.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                [table] = await _tables(connection, owner, [name])
                for statement in _statements(table, wanted):
                    await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if sqlstate(error) != _DENIED:
            raise
        message = f"the tables belong to {owner}: run `meter migrate` with a METER_DATABASE_URL that names that user"
        raise BadInput(message, code="not_owner") from error
    return left


async def walls(connection: AsyncConnection) -> Standing:
    """Return how the walls of a migrated database stand for a gateway's connection."""
    owner = str(await connection.scalar(_OWNER))
    role = gateway_role(owner)
    acting = str(await connection.scalar(text("SELECT current_user::text")))
    tables = await _tables(connection, owner)
    older = bool(await connection.scalar(_OLDER_MAY_SERVE))
    wanted = _Wanted(role=role if acting == role else None, forced=not older, opening=None)
    unraised = tuple(table.name for table in tables if not _raised(table, wanted))
    faults = []
    if acting != role:
        lines = " ".join(_role_statements(owner, role))
        faults.append(
            f"connections act as {acting}, who may change what is kept for good; as an administrator run {lines} "
            "and then `meter migrate`"
        )
    if older:
        faults.append(
            "rows are not walled for the tables' owner, for an older version may still serve; once you will not go back"
            " to it, run `meter migrate --finish`"
        )
    if await connection.scalar(_OPEN_SCHEMA, {"role": role}):
        faults.append(f"{role} may make tables; run `meter migrate`")
    if others := [table.name for table in tables if table.name not in unraised and _statements(table, wanted)]:
        faults.append(f"not as they should be: {', '.join(others)}; run `meter migrate`")
    return Standing(unraised=unraised, faults=tuple(faults))


async def require_none_older(connection: AsyncConnection) -> None:
    """Raise BadInput (`older_at_work`) where a gateway of before the walls is connected."""
    if await connection.scalar(_OLDER_AT_WORK, {"name": OLDER_NAME}):
        message = "a gateway of the version before is at work, and could write nothing any more; stop it first"
        raise BadInput(message, code="older_at_work")


async def require_walls(connection: AsyncConnection) -> Standing:
    """Return how the walls stand. Raises BadInput (`schema_mismatch`) where a gateway cannot work behind them."""
    standing = await walls(connection)
    if standing.unraised:
        message = f"no walls are raised around {', '.join(standing.unraised)}; run `meter migrate`"
        raise BadInput(message, code="schema_mismatch")
    return standing


async def _tables(connection: AsyncConnection, owner: str, names: Collection[str] = NEEDS.keys()) -> Sequence[_Table]:
    rows = await connection.execute(_TABLES, {"role": gateway_role(owner), "names": sorted(names)})
    return [_Table(**{**row._mapping, "policies": decode_json(row.policies)}) for row in rows]  # noqa: SLF001 -- public


async def _wanted(connection: AsyncConnection, owner: str) -> _Wanted:
    role = gateway_role(owner)
    made = await connection.scalar(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"), {"role": role})
    return _Wanted(
        role=role if made else None,
        forced=not await connection.scalar(_OLDER_MAY_SERVE),
        opening=bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM openings)"))),
    )


def _raised(table: _Table, wanted: _Wanted) -> bool:
    """Tell whether a gateway can work on the table, and on one operator's rows only."""
    if table.by_row and not (table.enabled and "operator" in table.policies):
        return False
    return wanted.role is None or all(
        need in table.granted or need.split(" ")[0] in table.granted for need in NEEDS[table.name]
    )


def _statements(table: _Table, wanted: _Wanted) -> list[str]:
    """Return what is to be run so that the table's walls are as they should be."""
    on, made = _quoted(table.name), []
    if table.public:
        made.append(f"REVOKE ALL ON {on} FROM PUBLIC")
    if wanted.role is not None and {*table.granted} not in (grants := wanted.grants(table.name)):
        made.append(f"REVOKE ALL ON {on} FROM {_quoted(wanted.role)}")
        made.append(f"GRANT {', '.join(sorted(grants[0]))} ON {on} TO {_quoted(wanted.role)}")
    if not table.by_row:
        return made
    policies = _policies(table)
    changed = [name for name, shown in table.policies.items() if name not in policies or policies[name][1] != shown]
    made += [f"DROP POLICY {_quoted(name)} ON {on}" for name in sorted(changed)]
    made += [create for name, (create, _) in policies.items() if name in changed or name not in table.policies]
    if not table.enabled:
        made.append(f"ALTER TABLE {on} ENABLE ROW LEVEL SECURITY")
    if wanted.forced and not table.forced:
        made.append(f"ALTER TABLE {on} FORCE ROW LEVEL SECURITY")
    return made


def _policies(table: _Table) -> dict[str, tuple[str, str]]:
    """Return each policy of a table as it is made, and as PostgreSQL shows it.

    Whoever says an operator sees and writes that one's rows. The owner sees all until it says one: migrations, the
    version before, people. Who there is may be asked before one is said, for that is how a gateway learns its own.
    """
    on = _quoted(table.name)
    found = {
        "operator": (f"CREATE POLICY operator ON {on} USING {_SAID}", f"PERMISSIVE ALL TO public USING {_SAID}"),
        "owner": (
            f"CREATE POLICY owner ON {on} TO {_quoted(table.owner)} USING {_UNSAID}",
            f"PERMISSIVE ALL TO {table.owner} USING {_UNSAID}",
        ),
    }
    if table.name == "operators":
        found["asking"] = (
            f"CREATE POLICY asking ON {on} FOR SELECT USING {_UNSAID}",
            f"PERMISSIVE SELECT TO public USING {_UNSAID}",
        )
    return found


def _role_statements(owner: str, role: str) -> list[str]:
    return [f"CREATE ROLE {_quoted(role)} NOLOGIN;", f"GRANT {_quoted(role)} TO {_quoted(owner)};"]


async def _make_role(database: Database, owner: str) -> list[str]:
    """Make the gateways' role, which makes nothing itself, and let the owner take it.

    Returns what only an administrator may do of that.
    """
    role = gateway_role(owner)
    create, grant = _role_statements(owner, role)
    async with database.begin() as connection:
        found = (await connection.execute(_ROLE, {"role": role})).one()
    left = await _tried(database, [*([] if found.made else [create]), *([] if found.taken else [grant])])
    async with database.begin() as connection:
        schema = await connection.scalar(_OPEN_SCHEMA, {"role": role})
    return [*left, *(await _tried(database, [f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;"] if schema else []))]


async def _tried(database: Database, statements: Sequence[str]) -> list[str]:
    """Run the statements, all or none; return them where this user may not."""
    try:
        async with database.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if sqlstate(error) != _DENIED:
            raise
        return [*statements]
    return []


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
