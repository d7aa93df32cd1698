"""Bring a database to this version's schema, and tell whether this version can serve it (decision 0025).

Two tables say where a database is. `schema_revision` is Alembic's: how far it was migrated. `alembic_version` says from
which revision on code may serve it: versions before this one ask that table only, and start where it names their own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from meter.model.errors import BadInput, Broken
from meter.store.engine import Database
from meter.store.walls import raise_walls, require_none_older

# Code from this revision on may serve what the migrations make: each after it only adds. One that takes something away
# raises this to its own revision.
SERVED_FROM: Final = "0013"

# An arbitrary fixed number: two gateways that start together migrate one after the other.
_MIGRATION_LOCK: Final = 0x6D65746572
_HERE: Final = Path(__file__).parent
_REACHED: Final = "schema_revision"
_SERVED: Final = "alembic_version"
_SAY_SERVED: Final = (
    f"CREATE TABLE IF NOT EXISTS {_SERVED} (version_num varchar(32) CONSTRAINT {_SERVED}_pkc PRIMARY KEY)",
    f"DELETE FROM {_SERVED}",  # noqa: S608 -- constants of this module
    f"INSERT INTO {_SERVED} VALUES (:served)",  # noqa: S608 -- constants of this module
)
# Until this version one table said both.
_TAKE_OVER: Final = (
    f"CREATE TABLE {_REACHED} (version_num varchar(32) CONSTRAINT {_REACHED}_pkc PRIMARY KEY)",
    f"INSERT INTO {_REACHED} SELECT version_num FROM {_SERVED}",  # noqa: S608 -- constants of this module
)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations").replace("%", "%%"))
    config.attributes["version_table"] = _REACHED
    return config


def _upgrade(connection: Connection, *, finish: bool) -> None:
    reached, served = _read(connection, _REACHED), _read(connection, _SERVED)
    if reached is None and served is not None:
        for statement in _TAKE_OVER:
            connection.execute(text(statement))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    oldest = head() if finish or served is None else max(served, SERVED_FROM)
    if oldest != served:
        for statement in _SAY_SERVED:
            connection.execute(text(statement), {"served": oldest} if ":" in statement else {})


async def upgrade(url: str, *, finish: bool = False) -> list[str]:
    """Migrate to this version in one transaction, and raise the walls. Safe to run twice, side by side, and while the
    gateway serves. A newer schema that this version may serve is left as it is.

    `finish`: no version before this one may serve from now on. Returns the statements that an administrator has to
    run, so that the walls stand for roles, too. Raises BadInput (`schema_mismatch`, `older_at_work`).
    """
    database = Database(url, as_owner=True)
    try:
        async with database.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            if (reached := await connection.run_sync(_reached)) is not None and reached > head():
                # Its walls are a newer version's, too: ours would take away what that one needs.
                if found := await connection.run_sync(_fault):
                    raise BadInput(found, code="schema_mismatch")
                return []
            if finish:
                await require_none_older(connection)
            await connection.run_sync(lambda sync: _upgrade(sync, finish=finish))
        return await raise_walls(database)
    finally:
        await database.dispose()


async def revision(database: Database) -> str | None:
    """Return the schema revision that the database is at; None where nothing was migrated yet."""
    async with database.begin() as connection:
        return await connection.run_sync(_reached)


async def revision_at(url: str) -> str | None:
    """Return the schema revision that the database at `url` is at; None where nothing was migrated yet."""
    database = Database(url, as_owner=True)
    try:
        return await revision(database)
    finally:
        await database.dispose()


async def fault(database: Database) -> str | None:
    """Return why this version cannot serve the database's schema, and what to do; None where it can."""
    async with database.begin() as connection:
        return await connection.run_sync(_fault)


@cache
def head() -> str:
    """Return the schema revision of this version."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        message = "the package holds no migration; install it again"
        raise Broken(message, code="no_migrations")
    return newest


def _reached(connection: Connection) -> str | None:
    return _read(connection, _REACHED) or _read(connection, _SERVED)


def _fault(connection: Connection) -> str | None:
    reached, served, ours = _reached(connection), _read(connection, _SERVED), head()
    if reached is None or reached < ours:
        return f"the database is at schema {reached}, this version needs {ours}; run `meter migrate`"
    if served is not None and served > ours:
        return (
            f"the database is at schema {reached}, which is newer than this version's {ours} and may be served from"
            f" {served} on only; start a version that has it"
        )
    return None


def _read(connection: Connection, table: str) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": table}).get_current_revision()
