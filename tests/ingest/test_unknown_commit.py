"""A connection that is lost around COMMIT: whether it took place is unknown, and repeating by key finds out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from meter.store.engine import Database
from meter.store.tables import events, rejections
from tests.ingest.bodies import acceptor, arrival
from tests.ingest.rows import rows

_COMMIT = b"COMMIT;\x00"


@asynccontextmanager
async def cutting_proxy(url: str, *, cuts: int, after_commit: bool) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy before PostgreSQL that cuts the first `cuts` connections at COMMIT: before it, or before its answer."""
    parts = urlsplit(url)
    cut: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)

        async def down() -> None:
            with suppress(ConnectionError):
                while data := await up_reader.read(65536):
                    writer.write(data)
            writer.close()

        answers = asyncio.create_task(down())
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if _COMMIT in data and len(cut) < cuts:
                    cut.append("commit")
                    answers.cancel()
                    await asyncio.wait([answers])
                    if after_commit:
                        up_writer.write(data)
                        await up_reader.read(65536)  # committed, and nobody hears of it
                    break
                up_writer.write(data)
        answers.cancel()
        up_writer.close()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}").geturl(), cut
    server.close()


@pytest.mark.parametrize("after_commit", [True, False])
async def test_what_may_have_been_committed_is_stored_once(
    database_url: str, database: Database, *, after_commit: bool
) -> None:
    batch = [
        arrival(id="1", edge="edge-7", boot=1, sequence=1),
        arrival(id="1", type="x", edge="edge-7", boot=1, sequence=2),
        arrival(id="2", edge="edge-7", boot=1, sequence=3),
    ]
    async with cutting_proxy(database_url, cuts=2, after_commit=after_commit) as (url, cut):
        unsafe = Database(url, operator="northside")
        outcome = await acceptor(unsafe).accept(batch)
        await unsafe.dispose()
    assert len(cut) == 2
    stored = "duplicate" if after_commit else "accepted"
    assert [receipt.status for receipt in outcome.receipts] == [stored, "rejected", stored]
    assert len(await rows(database, events)) == 2
    assert [row["code"] for row in await rows(database, rejections)] == ["conflict"]
    assert outcome.progress[0].up_to == 3
