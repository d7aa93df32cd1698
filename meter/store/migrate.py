"""Bring a database to this version's schema, and tell whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from meter.model.errors import Broken
from meter.store.engine import Database
from meter.store.walls import raise_walls

# An arbitrary fixed number: two gateways that start together migrate one after the other.
_MIGRATION_LOCK: Final = 0x6D65746572
_HERE: Final = Path(__file__).parent


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations").replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upgrade(url: str) -> list[str]:
    """Migrate to this version in one transaction, and raise the walls. Safe to run twice, side by side, and while the
    gateway serves.

    Returns the statements that an administrator has to run, so that the walls stand for roles, too.
    """
    database = Database(url, as_owner=True)
    try:
        async with database.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
        return await raise_walls(database)
    finally:
        await database.dispose()


async def revision(database: Database) -> str | None:
    """Return the schema revision that the database is at; None where nothing was migrated yet."""
    async with database.begin() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


def head() -> str:
    """Return the schema revision of this version."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        message = "the package holds no migration; install it again"
        raise Broken(message, code="no_migrations")
    return newest
