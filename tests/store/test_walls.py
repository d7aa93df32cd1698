"""The second wall: what a gateway's own connection is refused, by role, by column and by row (decision 0018).

The first tests walk every table that there is, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import ARRAY, Boolean, Column, Date, DateTime, Integer, LargeBinary, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from meter.catalog.load import read_catalog_text
from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import BadInput
from meter.store import walls as walling
from meter.store.acting import gateway_role
from meter.store.apply import apply_catalog
from meter.store.directory import current_operator
from meter.store.engine import OLDER_NAME, Database, sqlstate
from meter.store.migrate import upgrade
from meter.store.tables import metadata
from meter.store.walls import NEEDS, require_walls, walls
from meter.store.xid8 import Xid8
from tests.older import migrate_to
from tests.owning import as_owner

OF_OPERATORS = sorted(table.name for table in metadata.sorted_tables if "operator" in table.c)
# Decision 0004, and what the tables say of themselves: these are only ever inserted into.
APPEND_ONLY = (
    "audit catalogs charges doubtful_times draws edge_retirements entries event_keys events journal member_keys refunds"
    " revisions seals wifi_readings"
).split()
CATALOG = "operator: {}\ncurrency: EUR\ntimezone: UTC\n"


async def refused(database: Database, statement: str, **given: Any) -> str:
    """The SQLSTATE with which a gateway's connection is refused; a statement that runs fails the test."""
    with pytest.raises(DBAPIError) as caught:
        async with database.begin() as connection:
            await connection.execute(text(statement), given)
    return sqlstate(caught.value) or ""


# --- the house: every table ------------------------------------------------------------------------------------------


def test_it_is_said_of_every_table_what_a_gateway_needs_of_it() -> None:
    assert set(NEEDS) == {*metadata.tables, "alembic_version", "schema_revision"}
    for name, needs in NEEDS.items():
        columns = {need.partition("(")[2].rstrip(")") for need in needs if "(" in need}
        assert "SELECT" in needs
        assert {need.partition(" (")[0] for need in needs} <= {"SELECT", "INSERT", "UPDATE", "DELETE"}
        assert not columns or columns <= {*metadata.tables[name].c.keys()}, name
        assert "operator" not in columns
    of_the_deployment = set(metadata.tables) - set(OF_OPERATORS)
    assert of_the_deployment == {"backups", "leases", "restorations"}


def test_what_is_kept_for_good_can_only_be_added_to() -> None:
    assert {name for name, needs in NEEDS.items() if needs == {"SELECT", "INSERT"}} == set(APPEND_ONLY)
    for name in ("api_keys", "closes", "deferrals", "outbox", "rejections"):
        assert not {"UPDATE", "DELETE"} & NEEDS[name], name
    assert "UPDATE (payload)" not in NEEDS["outbox"]


async def test_every_table_has_its_grants_and_every_operators_table_its_policies(database: Database) -> None:
    """Asked of PostgreSQL in other words than the walls are raised and compared with."""
    said = "(operator = current_setting('meter.operator'::text, true))"
    unsaid = "(COALESCE(current_setting('meter.operator'::text, true), ''::text) = ''::text)"
    async with as_owner(database) as connection:
        owner = await connection.scalar(text("SELECT current_user::text"))
        for name in metadata.tables:
            row = (
                await connection.execute(
                    text(
                        "SELECT relrowsecurity, relforcerowsecurity,"
                        " (SELECT coalesce(json_agg(json_build_array(policyname, roles, cmd, permissive, qual,"
                        " with_check) ORDER BY policyname), '[]')::text FROM pg_policies WHERE tablename = :name)"
                        " FROM pg_class WHERE oid = to_regclass(quote_ident(:name))"
                    ),
                    {"name": name},
                )
            ).one()
            policies = [
                ["operator", ["public"], "ALL", "PERMISSIVE", said, None],
                ["owner", [owner], "ALL", "PERMISSIVE", unsaid, None],
            ]
            if name == "operators":
                policies.insert(0, ["asking", ["public"], "SELECT", "PERMISSIVE", unsaid, None])
            walled = name in OF_OPERATORS
            assert (row[0], row[1], json.loads(row[2])) == (walled, walled, policies if walled else []), name
            assert await _allowed(connection, name, gateway_role(str(owner))) == NEEDS[name], name


async def _allowed(connection: Any, name: str, role: str) -> set[str]:
    """What the role may do with the table: by asking of each privilege and column whether it has it."""
    allowed: set[str] = set()
    for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
        query = text("SELECT has_table_privilege(:role, quote_ident(:name), :privilege)")
        given = {"role": role, "name": name, "privilege": privilege}
        if await connection.scalar(query, given):
            allowed.add(privilege)
        elif privilege in {"INSERT", "UPDATE", "REFERENCES"}:
            query = text("SELECT has_column_privilege(:role, quote_ident(:name), :column, :privilege)")
            for column in metadata.tables[name].columns.keys():  # noqa: SIM118 -- it holds columns
                if await connection.scalar(query, {**given, "column": column}):
                    allowed.add(f"{privilege} ({column})")
    return allowed


# --- by role ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [*APPEND_ONLY, "rejections", "outbox", "closes"])
async def test_nothing_that_is_kept_for_good_can_be_removed_or_changed(database: Database, table: str) -> None:
    assert await refused(database, f"DELETE FROM {table}") == "42501"  # noqa: S608 -- our tables
    assert await refused(database, f"TRUNCATE {table}") == "42501"
    columns = metadata.tables[table].c if table in APPEND_ONLY else metadata.tables[table].primary_key.columns
    for column in columns:
        if column.identity is None:  # nobody, not even the owner, gives those numbers
            statement = f'UPDATE {table} SET "{column.name}" = "{column.name}"'  # noqa: S608 -- our tables
            assert await refused(database, statement) == "42501", column.name


async def test_a_payload_stays_as_it_was_decided(database: Database) -> None:
    assert await refused(database, "UPDATE outbox SET payload = ''") == "42501"
    assert await refused(database, "UPDATE deferrals SET net = net + 1") == "42501"
    assert await refused(database, "UPDATE rejections SET body = ''") == "42501"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n int)",
        "ALTER TABLE events ADD COLUMN mine int",
        "DROP TABLE events",
        "CREATE INDEX mine ON events (id)",
        "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "DROP POLICY operator ON events",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE ROLE mine",
    ],
)
async def test_a_gateway_changes_no_schema(database: Database, statement: str) -> None:
    assert await refused(database, statement) == "42501"


# --- by row -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_operators(url: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two gateways on one database, with a row of each in every table."""
    northside, southside = Database(url, operator="northside"), Database(url, operator="southside")
    try:
        async with as_owner(northside) as connection:
            for name in OF_OPERATORS:
                for operator in ("northside", "southside"):
                    await connection.execute(metadata.tables[name].insert().values(row_of(name, operator)))
        yield northside, southside
    finally:
        await northside.dispose()
        await southside.dispose()


def row_of(name: str, operator: str) -> dict[str, Any]:
    """A row that the table takes: each column that has no value of its own gets one of its type."""
    table = metadata.tables[name]
    given = {
        column.name: _value(column)
        for column in table.c
        if not column.nullable and column.server_default is None and column.identity is None
    }
    special: dict[str, Any] = {
        "outbox": {"key": operator},
        "api_keys": {"secret_hash": operator.encode()},
        "edge_enrollments": {"code_hash": operator.encode()},
        "subscriptions": {"account": "a"},
        "entries": {"kind": "charge"},
        "invoices": {"status": "open"},
        "wifi_due": {"kind": "session"},
        "accounts": {"anchor_day": 1},
        "deferrals": {"first_day": date(2026, 3, 1), "next_day": date(2026, 3, 1), "end_day": date(2026, 3, 2)},
    }
    return {**given, **special.get(name, {}), "operator": operator}


def _value(column: Column[Any]) -> Any:
    at = datetime.combine(date(2026, 3, 1), time(12), UTC)
    values: Sequence[tuple[type, Any]] = (
        (Boolean, True),
        (Xid8, 7),
        (Integer, 1),
        (Numeric, Decimal(1)),
        (LargeBinary, b"x"),
        (JSONB, {}),
        (ARRAY, []),
        (DateTime, at),
        (Date, at.date()),
        (Text, "x"),
    )
    return next(value for kind, value in values if isinstance(column.type, kind))


async def test_a_statement_without_a_condition_sees_its_own_operator_only(database_url: str) -> None:
    async with two_operators(database_url) as gateways:
        for database, operator in zip(gateways, ("northside", "southside"), strict=True):
            async with database.begin() as connection:
                for name in OF_OPERATORS:
                    found = await connection.execute(text(f"SELECT operator FROM {name}"))  # noqa: S608 -- our tables
                    assert {*found.scalars()} == {operator}, name
        async with as_owner(gateways[0]) as connection:
            for name in OF_OPERATORS:
                assert await connection.scalar(text(f"SELECT count(DISTINCT operator) FROM {name}")) == 2, name  # noqa: S608


async def test_whoever_says_another_operator_writes_nothing(database_url: str) -> None:
    """Neither by an insert nor by a change or a removal, wherever the gateway may make one at all."""
    database = Database(database_url, operator="northside")
    for name in OF_OPERATORS:
        table: Table = metadata.tables[name]
        with pytest.raises(DBAPIError, match=r"policy|permission") as caught:
            async with database.begin() as connection:
                await connection.execute(table.insert().values(row_of(name, "southside")))
        assert sqlstate(caught.value) == "42501", name
        if "UPDATE" in NEEDS[name]:
            async with as_owner(database) as connection:
                await connection.execute(table.insert().values(row_of(name, "northside")))
            assert await refused(database, f"UPDATE {name} SET operator = 'southside'") == "42501"  # noqa: S608
    await database.dispose()


async def test_changes_without_a_condition_touch_their_own_operator_only(database_url: str) -> None:
    async with two_operators(database_url) as (northside, _):
        for name in OF_OPERATORS:
            async with northside.begin() as connection:
                if "UPDATE" in NEEDS[name]:
                    changed = await connection.execute(text(f"UPDATE {name} SET operator = operator"))  # noqa: S608
                    assert changed.rowcount == 1, name
                if "DELETE" in NEEDS[name]:
                    gone = await connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608 -- our tables
                    assert gone.rowcount == 1, name


@pytest.mark.parametrize("forgotten", ["RESET meter.operator", "SET meter.operator = ''", "RESET ALL"])
async def test_a_connection_that_forgot_whose_it_is_sees_nothing(database_url: str, forgotten: str) -> None:
    """After a reset the setting is '' and not NULL: neither is anybody's name."""
    async with two_operators(database_url) as (northside, _), northside.begin() as connection:
        await connection.execute(text(forgotten))
        for name in OF_OPERATORS:
            if name != "operators":
                assert await connection.scalar(text(f"SELECT count(*) FROM {name}")) == 0, name  # noqa: S608
        await connection.rollback()


async def test_a_rollback_takes_back_neither_the_role_nor_the_operator(database_url: str) -> None:
    acting = text("SELECT current_user::text, current_setting('meter.operator')")
    database = Database(database_url, operator="northside")
    for _ in range(2):
        async with database.begin() as connection:
            assert tuple((await connection.execute(acting)).one()) == ("meter_gateway", "northside")
            await connection.rollback()
    await database.dispose()


async def test_a_gateway_learns_its_operator_from_the_first_catalog(database_url: str) -> None:
    database = Database(database_url)
    asked = text("SELECT current_setting('meter.operator')")
    async with database.begin() as connection:
        assert await connection.scalar(asked) == ""
    async with database.begin() as connection:
        catalog = read_catalog_text([("c", CATALOG.format("northside"))])
        await apply_catalog(connection, catalog, now=datetime(2026, 3, 1, tzinfo=UTC))
    async with database.begin() as connection:
        assert await connection.scalar(asked) == "northside"
        assert await current_operator(connection) == "northside"
        with pytest.raises(BadInput, match="serves the operator northside"):
            await apply_catalog(
                connection,
                read_catalog_text([("c", CATALOG.format("southside"))]),
                now=datetime(2026, 3, 1, tzinfo=UTC),
            )
    await database.dispose()


# --- raising and comparing --------------------------------------------------------------------------------------------


async def test_walls_stand_after_a_migration_and_raising_them_again_changes_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(database_url, operator="northside")
    async with database.begin() as connection:
        assert await require_walls(connection) == walling.Standing(unraised=(), faults=())
    rows = text("SELECT sum(xmin::text::bigint), count(*) FROM pg_policy")
    async with as_owner(database) as connection:
        before = tuple((await connection.execute(rows)).one())
    assert await upgrade(database_url) == []
    async with as_owner(database) as connection:
        assert tuple((await connection.execute(rows)).one()) == before
    await database.dispose()


@pytest.mark.parametrize(
    ("damage", "stops"),
    [
        ("DROP POLICY operator ON events", True),
        ("ALTER TABLE charges DISABLE ROW LEVEL SECURITY", True),
        ("REVOKE INSERT ON draws FROM meter_gateway", True),
        ("ALTER TABLE charges NO FORCE ROW LEVEL SECURITY", False),
        ("ALTER POLICY operator ON events USING (true)", False),
        ("CREATE POLICY more ON events USING (true)", False),
        ("GRANT UPDATE ON events TO meter_gateway", False),
        ("GRANT UPDATE (amount) ON charges TO meter_gateway", False),
        ("GRANT DELETE ON journal TO PUBLIC", False),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", False),
    ],
)
async def test_damage_is_told_at_the_start_and_mended_by_a_migration(
    database_url: str, damage: str, *, stops: bool
) -> None:
    database = Database(database_url, operator="northside")
    async with as_owner(database) as connection:
        await connection.execute(text(damage))
    async with database.begin() as connection:
        found = await walls(connection)
        if stops:
            with pytest.raises(BadInput, match=r"no walls are raised around .*meter migrate"):
                await require_walls(connection)
    words = damage.split()
    damaged = "make tables" if "SCHEMA" in words else words[words.index("ON" if "ON" in words else "TABLE") + 1]
    assert (damaged in found.unraised, damaged in "".join(found.faults)) == (stops, not stops)
    assert await upgrade(database_url) == []
    async with database.begin() as connection:
        assert await walls(connection) == walling.Standing(unraised=(), faults=())
    await database.dispose()


async def test_rows_are_walled_for_the_owner_once_no_older_version_may_serve(empty_database_url: str) -> None:
    """It writes by COPY as the owner, which PostgreSQL refuses then."""
    owner = Database(empty_database_url, as_owner=True)
    async with owner.begin() as connection:
        await connection.run_sync(migrate_to, "0013")
    await owner.dispose()
    await upgrade(empty_database_url)
    older = await asyncpg.connect(empty_database_url, server_settings={"application_name": OLDER_NAME})
    columns = ("operator", "account", "due_at")
    await older.copy_records_to_table("wakes", records=[("o", "a", datetime(2026, 3, 1, tzinfo=UTC))], columns=columns)
    assert await older.fetchval("SELECT account FROM wakes") == "a"
    database = Database(empty_database_url, operator="o")
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT account FROM wakes"))).scalars().all() == ["a"]
        [fault] = (await require_walls(connection)).faults
        assert "meter migrate --finish" in fault
    with pytest.raises(BadInput, match="stop it first"):
        await upgrade(empty_database_url, finish=True)
    await older.close()
    await upgrade(empty_database_url, finish=True)
    async with database.begin() as connection:
        assert (await require_walls(connection)).faults == ()
    await database.dispose()


async def test_charges_are_told_until_when_they_are_earned_while_books_are_to_be_restated(database_url: str) -> None:
    database = Database(database_url, operator="northside")
    change = "UPDATE charges SET earned_until = NULL"
    assert await refused(database, change) == "42501"
    async with as_owner(database) as connection:
        await connection.execute(text("INSERT INTO openings (operator, account) VALUES ('northside', 'a')"))
    await upgrade(database_url)
    async with database.begin() as connection:
        await connection.execute(text(change))
        await connection.execute(text("DELETE FROM openings"))
        assert (await require_walls(connection)).faults == (), "whoever is done is not warned"
    await upgrade(database_url)
    assert await refused(database, change) == "42501"
    await database.dispose()


# --- who may make no roles --------------------------------------------------------------------------------------------


@asynccontextmanager
async def managed(server: EmbeddedPostgres, url: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """A URL of a user that owns its database and may make no role, and the administrator's connection."""
    admin = await asyncpg.connect(server.admin_url)
    name = urlsplit(url).path.lstrip("/")
    parts = urlsplit(url)
    await admin.execute("CREATE ROLE tenant LOGIN PASSWORD 'tenant'")
    await admin.execute(f'ALTER DATABASE "{name}" OWNER TO tenant')
    try:
        yield parts._replace(netloc=f"tenant:tenant@{parts.hostname}:{parts.port}").geturl(), admin
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" OWNER TO meter')
        there = await asyncpg.connect(parts._replace(netloc=urlsplit(server.admin_url).netloc).geturl())
        for role in ("tenant_gateway", "tenant"):
            if await there.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role):
                await there.execute(f"REASSIGN OWNED BY {role} TO meter; DROP OWNED BY {role}; DROP ROLE {role}")
        await there.close()
        await admin.close()


async def test_without_a_role_rows_are_walled_and_an_administrator_is_told_what_to_run(
    pg_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    async with managed(pg_server, empty_database_url) as (url, admin):
        lines = await upgrade(url)
        assert lines == ['CREATE ROLE "tenant_gateway" NOLOGIN;', 'GRANT "tenant_gateway" TO "tenant";']
        async with two_operators(url) as (northside, _):
            async with northside.begin() as connection:
                assert (await connection.execute(text("SELECT operator FROM charges"))).scalars().all() == ["northside"]
                [fault] = (await require_walls(connection)).faults
            assert all(line in fault for line in lines)
            assert await refused(northside, "INSERT INTO members (operator, member, name) VALUES ('south', 'm', '')")
        for line in lines:
            await admin.execute(line)
        assert await upgrade(url) == []
        database = Database(url, operator="northside")
        async with database.begin() as connection:
            assert await require_walls(connection) == walling.Standing(unraised=(), faults=())
        assert await refused(database, "DELETE FROM charges") == "42501"
        await database.dispose()


async def test_a_login_that_owns_nothing_serves_as_the_gateways_role(
    pg_server: EmbeddedPostgres, database_url: str
) -> None:
    """The strictest install: not even a statement of somebody else's can become the owner."""
    admin = await asyncpg.connect(pg_server.admin_url)
    await admin.execute("CREATE ROLE serving LOGIN PASSWORD 'serving'; GRANT meter_gateway TO serving")
    parts = urlsplit(database_url)
    url = parts._replace(netloc=f"serving:serving@{parts.hostname}:{parts.port}").geturl()
    database = Database(url, operator="northside")
    try:
        async with database.begin() as connection:
            assert (await require_walls(connection)).faults == ()
            assert await connection.scalar(text("SELECT current_user::text")) == "meter_gateway"
        assert await refused(database, "SET ROLE meter") == "42501"
        assert await upgrade(url) == [], "there is nothing left to do"
    finally:
        await database.dispose()
        await admin.execute("DROP ROLE serving")
        await admin.close()
