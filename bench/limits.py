"""What the database alone could do, and what the naive way does: with the very rows that a run of the gateway left."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any, Final

import asyncpg

from meter.store import migrate

# In the order of the pipeline's writes; those of one batch of events belong to one transaction.
_INGEST: Final = ("event_keys", "events")
_BOOKING: Final = ("charges", "draws", "entries", "journal", "outbox")
# What the database makes itself.
_GENERATED: Final = {
    "events": {"xid", "seq"},
    "charges": {"xid", "seq"},
    "entries": {"xid", "seq"},
    "outbox": {"id"},
}
BATCH_EVENTS: Final = 500

Chunks = list[bytes]


async def columns_of(connection: asyncpg.Connection, table: str) -> list[str]:
    """Return the columns of `table` that a writer gives."""
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public'"
        " ORDER BY ordinal_position",
        table,
    )
    return [row[0] for row in rows if row[0] not in _GENERATED.get(table, set())]


async def fresh_database(url: str, name: str) -> str:
    """Return the URL of a new migrated database beside that of `url`; without walls, through which nobody copies."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    made = url.rpartition("/")[0] + f"/{name}"
    await migrate.upgrade(made)
    connection = await asyncpg.connect(made)
    try:
        for table in (*_INGEST, *_BOOKING):
            await connection.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    finally:
        await connection.close()
    return made


async def _export(connection: asyncpg.Connection, table: str, parts: int) -> Chunks:
    """Return a table's rows as `parts` pieces of COPY's binary format, in the order in which they were written."""
    names = ", ".join(f'"{name}"' for name in await columns_of(connection, table))
    total = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 -- our own names
    pieces: Chunks = []
    for part in range(parts):
        low, high = total * part // parts, total * (part + 1) // parts
        piece = io.BytesIO()
        await connection.copy_from_query(
            f"SELECT {names} FROM {table} ORDER BY ctid LIMIT {high - low} OFFSET {low}",  # noqa: S608 -- see above
            output=piece,
            format="binary",
        )
        pieces.append(piece.getvalue())
    return pieces


async def copy_rate(source: str, target: str, events: int) -> float:
    """Return the events a second at which COPY writes all rows of `source` into the empty `target`.

    A transaction a batch, as the gateway has: keys and events on one connection, what was booked on another.
    """
    parts = max(events // BATCH_EVENTS, 1)
    pieces: dict[str, Chunks] = {}
    reader = await asyncpg.connect(source)
    try:
        for table in (*_INGEST, *_BOOKING):
            pieces[table] = await _export(reader, table, parts)
    finally:
        await reader.close()
    started = time.perf_counter()
    await asyncio.gather(_copy(target, _INGEST, pieces, parts), _copy(target, _BOOKING, pieces, parts))
    return events / (time.perf_counter() - started)


async def _copy(url: str, tables: tuple[str, ...], pieces: dict[str, Chunks], parts: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        names = {table: await columns_of(connection, table) for table in tables}
        for part in range(parts):
            async with connection.transaction():
                for table in tables:
                    await connection.copy_to_table(
                        table, source=io.BytesIO(pieces[table][part]), columns=names[table], format="binary"
                    )
    finally:
        await connection.close()


async def naive_rate(source: str, target: str, events: int) -> float:
    """Return the events a second of one commit an event: its key, itself, and a charge where it has one."""
    reader = await asyncpg.connect(source)
    try:
        rows = await _naive_rows(reader, events)
    finally:
        await reader.close()
    connection = await asyncpg.connect(target)
    try:
        statements = {
            table: await connection.prepare(_insert(table, await columns_of(connection, table)))
            for table in ("event_keys", "events", "charges")
        }
        started = time.perf_counter()
        for row in rows:
            async with connection.transaction():
                for table, values in row:
                    await statements[table].fetch(*values)
        return len(rows) / (time.perf_counter() - started)
    finally:
        await connection.close()


async def _naive_rows(reader: asyncpg.Connection, events: int) -> list[list[tuple[str, list[Any]]]]:
    """Return what belongs to each of the first events: values by table, in the order to write them."""
    first = f"SELECT source, id FROM events ORDER BY xid, seq LIMIT {events}"  # noqa: S608 -- a number
    rows: dict[tuple[str, str], list[tuple[str, list[Any]]]] = {}
    for table, key, order in (
        ("event_keys", "(t.source, t.id)", "time"),
        ("events", "(t.source, t.id)", "seq"),
        ("charges", "(t.source, t.event_id)", "seq"),
    ):
        names = await columns_of(reader, table)
        found = await reader.fetch(f"SELECT t.* FROM {table} AS t WHERE {key} IN ({first}) ORDER BY {order}")  # noqa: S608
        for row in found:
            event = (row["source"], row["event_id"] if table == "charges" else row["id"])
            written = rows.setdefault(event, [])
            if all(name != table for name, _ in written):
                written.append((table, [row[name] for name in names]))
    return list(rows.values())


def _insert(table: str, names: list[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    return f"INSERT INTO {table} ({quoted}) VALUES ({places})"  # noqa: S608 -- our own names
