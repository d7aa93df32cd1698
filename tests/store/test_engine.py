"""Whatever keeps the server from answering, callers hear of it as Unavailable, and in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from meter.model.errors import Unavailable
from meter.store import engine
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from tests.owning import as_owner


@asynccontextmanager
async def _silent_server() -> AsyncIterator[str]:
    """The URL of a server that takes connections and says nothing."""
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"postgresql://meter@127.0.0.1:{server.sockets[0].getsockname()[1]}/meter"
        finally:
            over.set()


async def test_a_server_that_says_nothing_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT_S", 0.05)
    async with _silent_server() as url:
        database = Database(url)
        with pytest.raises(Unavailable, match="does not answer: TimeoutError"):
            async with database.begin():
                pass
        with pytest.raises(Unavailable, match="leases cannot be kept"):
            await LeaseKeeper(database).maintain(["one"])
        await database.dispose()


async def test_a_pool_without_a_free_connection_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_CONNECTIONS_MAX", 1)
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 0.05)
    database = Database(database_url)
    async with database.begin():
        with pytest.raises(Unavailable, match="QueuePool"):
            async with database.begin():
                pass
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'no space left on device'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '57014' USING MESSAGE = 'canceling statement due to statement timeout'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '25006' USING MESSAGE = 'cannot execute INSERT in a read-only transaction'; END $$",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ],
)
async def test_what_a_server_cannot_do_now_may_be_tried_again(database_url: str, statement: str) -> None:
    database = Database(database_url)
    with pytest.raises(Unavailable) as caught:
        async with as_owner(database) as connection:
            await connection.execute(text(statement))
    assert caught.value.code == "database_unavailable"
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.dispose()


async def test_a_statement_that_is_never_answered_is_given_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "COMMAND_TIMEOUT_S", 0.2)
    database = Database(database_url)
    with pytest.raises(Unavailable):
        async with database.begin() as connection:
            await connection.execute(text("SELECT pg_sleep(600)"))
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.dispose()


async def test_an_owner_waits_for_as_long_as_the_server_may_take(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erasing reads whole tables: what gave up a gateway's statement would end it in the middle, each time anew."""
    monkeypatch.setattr(engine, "COMMAND_TIMEOUT_S", 0.2)
    database = Database(database_url, as_owner=True)
    async with database.begin() as connection:
        await connection.execute(text("SELECT pg_sleep(0.5)"))
    await database.dispose()
