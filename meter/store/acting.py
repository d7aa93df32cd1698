"""Whom a gateway's connections act as, and for which operator: said once a connection, before its first use.

Beyond transactions, so that no rollback takes it back. A connection that nothing was said on sees no operator's rows as
the gateways' role, and in a pool that forgets settings the value is '', which is nobody's name (decision 0018).
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

# PostgreSQL cuts longer names.
_NAME_BYTES_MAX: Final = 63
_SUFFIX: Final = "_gateway"
_OWNER_CHARS: Final = _NAME_BYTES_MAX - len(_SUFFIX)

# Whether the current user may act as the role `g`. From 16 on, being a member does not mean that.
TAKEN: Final = (
    "pg_has_role(g.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"
)
# As long as the walls are not raised the connection stays what it is: the schema is read before it is served.
_ACT: Final = f"""
    SELECT (SELECT set_config('role', g.rolname, false)
              FROM pg_class AS c
              JOIN pg_roles AS o ON o.oid = c.relowner
              JOIN pg_roles AS g ON g.rolname = left(o.rolname::text, {_OWNER_CHARS}) || '{_SUFFIX}'
             WHERE c.oid = to_regclass('operators') AND {TAKEN} AND has_table_privilege(g.oid, c.oid, 'SELECT')
               AND NOT (g.rolsuper OR g.rolbypassrls)),
           set_config('meter.operator', coalesce($1::text, ''), false)
"""  # noqa: S608 -- constants of this module
_LEARN: Final = """
    SELECT set_config('meter.operator',
                      coalesce((SELECT operator FROM operators ORDER BY created_at LIMIT 1), ''), false)
"""
_SAY: Final = text("SELECT set_config('meter.operator', :operator, true)")
_SAID: Final = "meter.operator"


def gateway_role(owner: str) -> str:
    """Return the role that gateways act as on the tables of `owner`.

    Each owner has one of its own: roles are the whole server's, and who may take one could use every database of it.
    """
    return owner[:_OWNER_CHARS] + _SUFFIX


async def say_operator(connection: AsyncConnection, operator: str) -> None:
    """Have the rest of the transaction be about `operator`: the one that its catalog is about to make."""
    await connection.execute(_SAY, {"operator": operator})


def act_as_gateway(engine: AsyncEngine, operator: str | None) -> None:
    """Have each of the engine's connections act as a gateway of `operator`; None: the database's, once there is one."""

    async def introduce(driver: asyncpg.Connection) -> str:
        await driver.fetchrow(_ACT, operator)
        if operator is not None:
            return operator
        try:
            return str(await driver.fetchval(_LEARN))
        except asyncpg.UndefinedTableError:
            return ""

    def checked_out(dbapi: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        if record.info.get(_SAID):
            return
        adapted: Any = dbapi  # SQLAlchemy's around asyncpg's
        try:
            record.info[_SAID] = adapted.run_async(introduce)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DBAPIError("acting as a gateway", None, error, connection_invalidated=True) from error

    event.listen(engine.sync_engine, "checkout", checked_out)
