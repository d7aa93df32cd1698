"""Alembic's entry: runs on the connection that `meter.store.migrate` hands in."""

from alembic import context

from meter.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transaction_per_migration=False,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
