"""The connection to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meter.model.errors import BadInput, Unavailable
from meter.model.hashing import PLAIN, IdentityHasher
from meter.store.acting import act_as_gateway
from meter.store.audited import say_actor

# Bounds a gateway's share of the server's connections; each role needs only a few at a time.
POOL_CONNECTIONS_MAX: Final = 20
CONNECT_TIMEOUT_S: Final = 10
# Who waits longer for one of them is told to come again.
POOL_TIMEOUT_S: Final = 10
# A statement that runs longer holds back every reader of the tail (decision 0005).
STATEMENT_TIMEOUT_S: Final = 60
# The server says so itself after `STATEMENT_TIMEOUT_S`; one that says nothing at all is given up a little later.
COMMAND_TIMEOUT_S: Final = STATEMENT_TIMEOUT_S + 5
# A transaction that does nothing for so long is forgotten by its owner and would hold readers back for ever.
IDLE_TRANSACTION_TIMEOUT_S: Final = 60

# Decimals leave as JSON numbers, digit for digit, and come back so: PostgreSQL keeps a jsonb number exactly.
# Serialization failure and deadlock (PostgreSQL, appendix A).
_CONTENDED: Final = frozenset({"40001", "40P01"})
# No such table: the database was never migrated, or is far behind.
_NO_TABLE: Final = "42P01"

# By these names the server shows our connections. Gateways of before the walls are known by theirs (decision 0018).
_GATEWAY_NAME: Final = "meter gateway"
_OWNER_NAME: Final = "meter owner"
OLDER_NAME: Final = "meter"

# The execution option that holds how identities are stored.
HASHER_OPTION: Final = "identity_hasher"

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


def encode_json(value: Any) -> str:
    """Return `value` as JSON text; Decimals as numbers, exactly."""
    return _ENCODER.encode(value).decode()


def decode_json(text: str | bytes) -> Any:
    """Return the decoded JSON; numbers are int or Decimal, never float."""
    return _DECODER.decode(text)


def sqlalchemy_url(url: str) -> URL:
    """Return `postgresql://...` as SQLAlchemy wants it. Raises BadInput (`bad_database_url`)."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        message = f"the database URL begins with {parsed.drivername}://; use postgresql://user:password@host:port/name"
        raise BadInput(message, code="bad_database_url")
    return parsed.set(drivername="postgresql+asyncpg")


class Database:
    """A pool of connections. `begin()` gives a transaction that commits at the end and rolls back on any error.

    `hasher` says how identities are stored; each connection carries it, so that nothing writes them otherwise
    (`meter.store.hashing`). Connections act as a gateway, on rows of one operator (`meter.store.acting`); `as_owner`
    they are the URL's user, who migrates.
    """

    def __init__(
        self,
        url: str,
        *,
        hasher: IdentityHasher = PLAIN,
        operator: str | None = None,
        as_owner: bool = False,
        actor: str | None = None,
    ) -> None:
        """Prepare the pool; nothing connects before the first use.

        `operator` None: the one that the database has. `actor`: as whose what changes is recorded where no key asked.
        """
        self.url = url
        self._actor = actor
        self.hasher = hasher
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=POOL_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=False,
            isolation_level="READ COMMITTED",
            execution_options={HASHER_OPTION: hasher},
            json_serializer=encode_json,
            json_deserializer=decode_json,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                # Whoever works on all rows at once tells the server how long that may take, and waits for it.
                "command_timeout": None if as_owner else COMMAND_TIMEOUT_S,
                "server_settings": {
                    "application_name": _OWNER_NAME if as_owner else _GATEWAY_NAME,
                    "jit": "off",  # compiling costs more than any of these short statements
                    "timezone": "UTC",
                    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
                    "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_TIMEOUT_S}s",
                },
            },
        )
        event.listen(self.engine.sync_engine, "do_connect", self._credentials)
        if not as_owner:
            act_as_gateway(self.engine, operator)

    def renew(self, url: str) -> None:
        """Have connections that are made from now on use the user and the password of `url`."""
        self.url = url

    def _credentials(self, _dialect: Any, _record: Any, _args: Any, params: dict[str, Any]) -> None:
        """Put in who we are now: the pool has kept who we were when it was made."""
        now = sqlalchemy_url(self.url)
        given = {"user": now.username, "password": now.password}
        params |= {name: value for name, value in given.items() if value is not None}

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction (READ COMMITTED).

        Raises Unavailable (`database_contended`) where another transaction was in the way and nothing was written, or
        (`database_unavailable`) where the server does not answer, goes away, or cannot do it now; whether a commit
        that was under way took place is then unknown, and the caller repeats by key.
        """
        try:
            async with self.engine.begin() as connection:
                await say_actor(connection, self._actor)
                yield connection
        except (OSError, InterfaceError, OperationalError, PoolTimeoutError) as error:
            raise _unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or passing_fault(error):
                raise _unavailable(error) from error
            if sqlstate(error) in _CONTENDED:
                message = "two transactions got into each other's way; nothing was written, try again"
                raise Unavailable(message, code="database_contended") from error
            if sqlstate(error) == _NO_TABLE:
                message = "the database lacks tables of this version; run `meter migrate`"
                raise Unavailable(message, code="schema_mismatch") from error
            raise

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE that the server gave with `error`, if it gave one (PostgreSQL, appendix A)."""
    original = getattr(error, "orig", error)
    code = getattr(original, "sqlstate", None)
    return code if isinstance(code, str) else None


def passing_fault(error: DBAPIError) -> bool:
    """Tell whether the server is at fault and not what it was asked, so that the same can succeed later.

    It is gone, stops or does not let us in (SQLSTATE 08, 57P, 28), lacks connections, memory or disk (53), cannot read
    its files (58), only reads (25006, a standby), or took too long (57014, 55P03).
    """
    code = sqlstate(error)
    return code is not None and code.startswith(("08", "28", "53", "57P", "58", "25006", "57014", "55P03"))


def reason_of(error: BaseException) -> str:
    """Return an error in one line for people; some say nothing but their name."""
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def _unavailable(error: BaseException) -> Unavailable:
    message = f"PostgreSQL does not answer: {reason_of(error)}; check METER_DATABASE_URL and the server"
    return Unavailable(message, code="database_unavailable")
