"""A database as an older version leaves it: one table says how far it was migrated, and who may serve it."""

from alembic import command
from sqlalchemy import Connection

from meter.store import migrate


def migrate_to(connection: Connection, revision: str, *, table: str = "alembic_version") -> None:
    """Migrate as a version whose newest revision is `revision` did; `table` is where it says so."""
    config = migrate._config()
    config.attributes |= {"connection": connection, "version_table": table}
    command.upgrade(config, revision)
