"""What the commands share: settings, the database, output for people and for machines."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pwd import getpwuid
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.cli.running import RUNNING
from meter.config import Settings, load_settings
from meter.model.errors import BadInput, Unavailable
from meter.model.hashing import IdentityHasher
from meter.model.money import plain
from meter.rundir import identity_key, read_addresses
from meter.store.acting import say_operator
from meter.store.directory import NO_CATALOG, current_operator
from meter.store.engine import Database, sqlstate
from meter.store.records import Reading, record_readings

T = TypeVar("T")

F = TypeVar("F", bound=Callable[..., None])

# What a terminal obeys instead of showing it: C0 (but line ends and tabs), C1 and directions of writing. Names are
# those that devices and vendors send.
_OBEYED: Final = dict.fromkeys(
    (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)


class SafeConsole(Console):
    """A console that shows what it prints and obeys nothing of it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Return the segments of `renderable`, the texts without control characters."""
        for segment in super().render(renderable, options):
            told = segment.text if segment.control else segment.text.translate(_OBEYED)
            yield segment if told == segment.text else Segment(told, segment.style)


# Of PostgreSQL: this user may not.
_DENIED: Final = "42501"
out: Final = SafeConsole()
err: Final = SafeConsole(stderr=True)
# Whom what is kept of an act names, where no key asked for it.
COMMAND_LINE: Final = "command line"
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def by_default(group: typer.Typer) -> Callable[[F], F]:
    """Return a decorator of the command that runs where none of `group` is named."""

    def decorated(command: F) -> F:
        @group.callback(invoke_without_command=True)
        def default(context: typer.Context) -> None:
            if context.invoked_subcommand is None:
                command()

        return command

    return decorated


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, on an event loop of its own."""
    return asyncio.run(work)


def print_json(value: Any) -> None:
    """Print `value` for machines: Decimals as strings, one document."""
    json.dump(value, sys.stdout, default=_plain, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def json_text(value: Any) -> str:
    """Return `value` on one line, for machines: Decimals as strings."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)


def database_url(settings: Settings) -> str:
    """Return the database to work on: the one that is set, else that of the `meter up` on the data directory.

    Raises BadInput (`no_database`).
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    addresses = read_addresses(settings.data_dir)
    if addresses is None:
        message = (
            f"no database: METER_DATABASE_URL is not set and no gateway runs on {settings.data_dir}; "
            "start `meter up`, or set METER_DATABASE_URL or METER_DATA_DIR"
        )
        raise BadInput(message, code="no_database")
    return addresses.database


def hasher(settings: Settings) -> IdentityHasher:
    """Return how identities are stored: with the key that is set, else that of the data directory, made when needed."""

    def key() -> bytes:
        given = settings.identity_key
        return (identity_key(settings.data_dir) if given is None else given.get_secret_value()).encode()

    return IdentityHasher(settings.hash_identities, key)


@asynccontextmanager
async def connect() -> AsyncIterator[Database]:
    """Yield the database that the settings name, or the running gateway's."""
    settings = load_settings()
    actor = _actor()
    database = Database(database_url(settings), hasher=hasher(settings), actor=actor)
    try:
        try:
            await _record(database, actor)
        except Unavailable as error:
            # Before `meter migrate` there is nowhere to record, and nothing of this version to be read.
            if error.code != "schema_mismatch":
                raise
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def begin_as_owner(
    operator: str, *, begun: Callable[[AsyncConnection], Awaitable[None]] | None = None
) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction that may change what gateways only append to, of one operator's rows.

    `begun` is called before its first query, for what can be said only then.

    Raises BadInput (`not_owner`) where the database URL names another user than the tables' owner.
    """
    settings = load_settings()
    database = Database(database_url(settings), hasher=hasher(settings), as_owner=True, actor=_actor())
    try:
        async with database.begin() as connection:
            if begun is not None:
                await begun(connection)
            await say_operator(connection, operator)
            yield connection
    except DBAPIError as error:
        if sqlstate(error) != _DENIED:
            raise
        message = (
            "only the owner of the tables may do this: set METER_DATABASE_URL to the user that `meter migrate` has"
        )
        raise BadInput(message, code="not_owner") from error
    finally:
        await database.dispose()


def _actor() -> str:
    return f"cli:{getpwuid(os.getuid()).pw_name}"


async def _record(database: Database, actor: str) -> None:
    """Record that a command ran on what is kept: each may show or change it."""
    running = RUNNING.get()
    async with database.begin() as connection:
        operator = await current_operator(connection)
        if running is None or operator is None:
            return
        # What was given may be a person's: only its names are kept, and whose account.
        given = {name: value for name, value in running.given.items() if value not in (None, False, [], ())}
        ran = Reading(
            actor=actor,
            action="ran",
            kind=running.path,
            object=str(given.get("account") or ""),
            member=given["member"] if isinstance(given.get("member"), str) else None,
            filters=tuple(sorted(given)),
        )
        await record_readings(connection, operator, [(ran, 1)])


async def require_operator(database: Database) -> str:
    """Return the operator of the database. Raises BadInput (`no_catalog`) before the first catalog."""
    async with database.begin() as connection:
        operator = await current_operator(connection)
    if operator is None:
        raise BadInput(NO_CATALOG, code="no_catalog")
    return operator
