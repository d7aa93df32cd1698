"""Which versions may serve a schema, and that a migration takes nothing away from those that may (decision 0025)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from meter.model.errors import BadInput
from meter.store import migrate
from meter.store.engine import Database
from tests.cli.command import meter
from tests.older import migrate_to

NEWER = "9999"
# What code that serves may rest on, by name: columns with their types, and what a row has to hold.
_HELD = text(
    """
    SELECT 'column ' || c.relname || '.' || a.attname AS name,
           format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' THEN ' has to be given' ELSE '' END
           AS what, c.relname AS relation
      FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'rule ' || c.relname || '.' || k.conname, pg_get_constraintdef(k.oid), c.relname
      FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
     WHERE c.relnamespace = 'public'::regnamespace AND k.contype <> 'n'
    UNION ALL
    SELECT 'unique ' || c.relname || '.' || i.relname, pg_get_indexdef(i.oid), c.relname
      FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid
     WHERE c.relnamespace = 'public'::regnamespace AND x.indisunique
    """
)
Held = Mapping[str, tuple[str, str]]


@pytest_asyncio.fixture
async def owner(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(empty_database_url, as_owner=True)
    yield database
    await database.dispose()


def held(connection: Connection) -> Held:
    """What there is, by name: its definition, and the table that it is of."""
    return {row.name: (row.what, row.relation) for row in connection.execute(_HELD)}


def breaches(before: Held, after: Held) -> Iterator[str]:
    """What code for the schema before could no longer do with the one after."""
    tables = {relation for _, relation in before.values()}
    for name, (what, _) in before.items():
        if name not in after:
            # A rule that is gone bars nothing; but what is unique may be what ON CONFLICT names.
            if not (name.startswith("rule ") and what.startswith(("CHECK", "FOREIGN"))):
                yield f"{name} is gone"
        elif after[name][0] not in {what, what.removesuffix(" has to be given")}:
            yield f"{name} was {what} and is {after[name][0]}"
    for name in after.keys() - before.keys():
        what, relation = after[name]
        if relation in tables and (not name.startswith("column ") or what.endswith("has to be given")):
            yield f"{name} is new, and what is written must heed it: {what}"


async def served_from(database: Database) -> str:
    """Which revision the version before compares its own with."""
    async with database.begin() as connection:
        return str(await connection.scalar(text("SELECT version_num FROM alembic_version")))


# --- a migration takes nothing away ----------------------------------------------------------------------------------


async def test_migrations_after_the_oldest_that_may_serve_only_add(owner: Database) -> None:
    """One that has to take something away says `SERVED_FROM` in `meter.store.migrate`: its own revision."""
    script = ScriptDirectory.from_config(migrate._config())
    revisions = [one.revision for one in reversed([*script.walk_revisions(head=migrate.head())])]
    assert revisions == sorted(revisions), "numbers, so that two of them can be compared"
    assert all(re.fullmatch(r"\d{4}", one) for one in revisions)
    found = {}
    async with owner.begin() as connection:
        await connection.run_sync(migrate_to, migrate.SERVED_FROM)
        before = await connection.run_sync(held)
        for revision in revisions[revisions.index(migrate.SERVED_FROM) + 1 :]:
            await connection.run_sync(migrate_to, revision)
            after = await connection.run_sync(held)
            if broken := sorted(breaches(before, after)):
                found[revision] = broken
            before = after
    assert found == {}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DROP TABLE wakes", "column wakes.account is gone"),
        ("ALTER TABLE wakes DROP COLUMN due_at", "column wakes.due_at is gone"),
        ("ALTER TABLE wakes RENAME COLUMN due_at TO at", "column wakes.due_at is gone"),
        ("ALTER TABLE wakes ALTER COLUMN due_at TYPE date", "column wakes.due_at was"),
        ("ALTER TABLE accounts ALTER COLUMN external SET NOT NULL, ALTER COLUMN external DROP DEFAULT", "has to be"),
        ("ALTER TABLE wakes ADD COLUMN why text NOT NULL", "column wakes.why is new"),
        ("ALTER TABLE wakes ADD CHECK (account <> '')", "rule wakes.wakes_account_check is new"),
        ("CREATE UNIQUE INDEX one_a_day ON wakes (due_at)", "unique wakes.one_a_day is new"),
        ("ALTER TABLE wakes DROP CONSTRAINT wakes_pkey", "rule wakes.wakes_pkey is gone"),
    ],
)
async def test_what_a_migration_takes_away_is_named(owner: Database, change: str, named: str) -> None:
    async with owner.begin() as connection:
        await connection.run_sync(migrate_to, migrate.head())
        before = await connection.run_sync(held)
        await connection.execute(text(change))
        assert named in "\n".join(breaches(before, await connection.run_sync(held)))


# --- who may serve ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("began_at", "expected"), [("0009", migrate.SERVED_FROM), ("0013", "0013"), ("0015", "0015")])
async def test_a_database_that_was_migrated_is_served_by_the_version_before(
    owner: Database, began_at: str, expected: str
) -> None:
    """That one compares the table's revision with its own: it sees the schema that it knows."""
    async with owner.begin() as connection:
        await connection.run_sync(migrate_to, began_at)
    for _ in range(2):
        await migrate.upgrade(owner.url)
        assert await migrate.revision(owner) == migrate.head()
        assert await migrate.fault(owner) is None
        assert await served_from(owner) == expected
    await migrate.upgrade(owner.url, finish=True)
    assert await served_from(owner) == migrate.head()


async def test_a_new_database_has_no_version_before(owner: Database) -> None:
    await migrate.upgrade(owner.url)
    assert await served_from(owner) == await migrate.revision(owner) == migrate.head()


async def test_an_older_schema_is_to_be_migrated_first(owner: Database) -> None:
    assert "run `meter migrate`" in str(await migrate.fault(owner))
    async with owner.begin() as connection:
        await connection.run_sync(migrate_to, "0013")
    fault = await migrate.fault(owner)
    assert fault == f"the database is at schema 0013, this version needs {migrate.head()}; run `meter migrate`"


async def _newer(owner: Database, *, served: str) -> None:
    await migrate.upgrade(owner.url)
    async with owner.begin() as connection:
        await connection.execute(text("UPDATE schema_revision SET version_num = :newer"), {"newer": NEWER})
        await connection.execute(text("UPDATE alembic_version SET version_num = :served"), {"served": served})


async def test_a_newer_schema_that_this_version_may_serve_is_served_and_left_alone(
    owner: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _newer(owner, served="0013")
    monkeypatch.setenv("METER_DATABASE_URL", owner.url)
    async with owner.begin() as connection:
        await connection.execute(text("ALTER TABLE wakes NO FORCE ROW LEVEL SECURITY"))
    assert await migrate.fault(owner) is None
    assert json.loads((await meter("migrate", "--json")).stdout) == {"schema": NEWER}
    assert (await served_from(owner), await migrate.revision(owner)) == ("0013", NEWER)
    async with owner.begin() as connection:
        forced = text("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'wakes'")
        assert not await connection.scalar(forced), "the walls are the newer version's"
    checked = {line["part"]: line for line in json.loads((await meter("check", "--json")).stdout)}
    assert checked["schema"]["ok"]


async def test_a_newer_schema_that_this_version_may_not_serve_is_refused_by_name(
    owner: Database, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _newer(owner, served="9998")
    monkeypatch.setenv("METER_DATABASE_URL", owner.url)
    said = f"at schema {NEWER}, which is newer than this version's {migrate.head()} and may be served from 9998 on only"
    assert said in str(await migrate.fault(owner))
    with pytest.raises(BadInput, match="served from 9998 on only") as refused:
        await migrate.upgrade(owner.url)
    assert refused.value.code == "schema_mismatch"
    checked = {line["part"]: line for line in json.loads((await meter("check", "--json")).stdout)}
    assert said in checked["schema"]["detail"]
    serving = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meter", "serve", "--data-dir", str(data_dir), "--http", "127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await serving.communicate()
    assert serving.returncode != 0
    assert said in " ".join(told.decode().split())
