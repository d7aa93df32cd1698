"""Migrations: they make what the tables say, twice and side by side, and a hypertable where there can be one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names

from meter.rating.state import SaleKey
from meter.store import migrate
from meter.store.catalogs import read_versions
from meter.store.closes import due_wakes
from meter.store.directory import read_grants, read_subscriptions
from meter.store.engine import Database
from meter.store.tables import metadata
from meter.store.usage import refunds_of
from meter.store.xid8 import Xid8
from tests.older import migrate_to


async def test_the_migrations_make_exactly_the_tables(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ischema_names, "xid8", Xid8)

    def differences(connection: Connection) -> list[Any]:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, _type, _parents: name != "schema_revision",
        }
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return found

    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_two_gateways_that_start_together_migrate_once(empty_database_url: str) -> None:
    await asyncio.gather(migrate.upgrade(empty_database_url), migrate.upgrade(empty_database_url))
    database = Database(empty_database_url)
    assert await migrate.revision(database) == migrate.head()
    await database.dispose()


async def test_what_the_version_before_writes_fits_and_is_kept(empty_database_url: str) -> None:
    """It serves on while this one migrates, and knows nothing of the columns that are new."""
    rows = (
        "INSERT INTO subscriptions (operator, subscription, plan, account) VALUES ('o', :id, 'p', 'a')",
        (
            'INSERT INTO grants (operator, "grant", account, unit, amount, priority)'
            " VALUES ('o', :id, 'a', 'page', 1, 100)"
        ),
        "INSERT INTO catalogs (operator, version, body, digest) VALUES ('o', CAST(CAST(:id AS text) AS int), '{}', '')",
    )
    database = Database(empty_database_url, as_owner=True)

    async def write(id: str) -> None:
        async with database.begin() as connection:
            for row in rows:
                await connection.execute(text(row), {"id": id})

    async with database.begin() as connection:
        await connection.run_sync(migrate_to, "0001")
        await connection.execute(
            text(
                "INSERT INTO events (operator, time, source, id, type, site, timed, channel, received_at, data) VALUES"
                " ('o', now(), 's', '1', 'pos.refund', 'berlin', true, 'http', now(),"
                """ '{"sale": {"source": "berlin/till", "order": 17}}')"""
            )
        )
        await connection.execute(
            text(
                "INSERT INTO accounts (operator, account, name, currency, timezone, anchor_day)"
                " VALUES ('o', 'a', 'A', 'EUR', 'Europe/Berlin', 1)"
            )
        )
    await write("1")
    await migrate.upgrade(empty_database_url)
    await write("2")
    async with database.begin() as connection:
        woken = await due_wakes(connection, "o", datetime.now(UTC), rows_max=9)
        subscriptions = await read_subscriptions(connection, "o")
        grants = await read_grants(connection, "o")
        versions = await read_versions(connection, "o")
        refunded = await refunds_of(connection, "o", [SaleKey("berlin/till", "17")])
    await database.dispose()
    assert [refund.id for refund in refunded] == ["1"]
    assert woken == ["a"], "nobody is folded by the new rules"
    assert [(held.id, held.discounts, held.deposit) for held in subscriptions] == [("1", (), None), ("2", (), None)]
    assert [(grant.id, grant.bought) for grant in grants] == [("1", None), ("2", None)]
    assert [(version.version, version.account) for version in versions] == [(1, None), (2, None)]


async def test_events_become_a_hypertable_where_timescaledb_is(empty_database_url: str) -> None:
    """TimescaleDB itself cannot be had here: a function of its signature stands in and keeps what it was asked."""
    database = Database(empty_database_url, as_owner=True)
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE asked (relation regclass, dimension name, span interval)"))
        await connection.execute(
            text(
                "CREATE FUNCTION create_hypertable(relation regclass, time_column_name name, create_default_indexes"
                " boolean, chunk_time_interval interval) RETURNS void LANGUAGE sql AS"
                " 'INSERT INTO asked VALUES (relation, time_column_name, chunk_time_interval)'"
            )
        )
    await migrate.upgrade(empty_database_url)
    async with database.begin() as connection:
        asked = (await connection.execute(text("SELECT relation::text, dimension, span::text FROM asked"))).all()
    await database.dispose()
    assert [tuple(row) for row in asked] == [("events", "time", "7 days")]


async def test_every_key_is_led_by_the_operator() -> None:
    """So that one operator's rows can live on one node; leases are the deployment's, not an operator's."""
    others = {
        table.name for table in metadata.sorted_tables if next(iter(table.primary_key.columns)).name != "operator"
    }
    assert others == {"backups", "leases", "restorations"}
