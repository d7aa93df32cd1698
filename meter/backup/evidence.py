"""The evidence: events, charges, draws, entries, journal and grants as Parquet, with a manifest (decision 0023).

    .draft-NAME/ ─ a page at a time, in the order of the tail ─ manifest.json ──rename or upload──▶ NAME/

Nothing is added any more below the oldest running transaction (decision 0005), so pages read one after the other, each
in a transaction of its own, are of one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Numeric,
    Select,
    Table,
    Text,
    any_,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from meter import __version__
from meter.backup.manifest import MANIFEST, summed
from meter.embedded.partdir import write_private
from meter.export.targets.files.parquet_format import DIGITS, EXACT_COLUMN, PLACES, fits
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store import migrate
from meter.store.engine import Database
from meter.store.seals import newest
from meter.store.tables import charges, draws, entries, event_keys, events, grants, journal
from meter.store.xid8 import Xid8

FORMAT: Final = 1
# A row group each: some megabytes, whatever there is in all.
_PAGE_ROWS: Final = 5_000
_AFTER: Final = "({0}.xid, {0}.seq) > (CAST(CAST(:xid AS text) AS xid8), :seq)"
_BELOW: Final = "{0}.xid < CAST(CAST(:below AS text) AS xid8)"
_HORIZON: Final = text(
    "SELECT clock_timestamp() AS at, pg_snapshot_xmin(pg_current_snapshot())::text AS below,"
    " pg_snapshot_xmax(pg_current_snapshot())::text AS next_xid"
)


class EvidenceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A table's file."""

    name: str
    rows: int
    size: int
    sha256: str


class SealHead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest block of the audit chain when the export began (decision 0020): its number, its hash, when."""

    n: int
    hash: str
    sealed_at: datetime


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an export says of itself. It is written last, so one without it is none.

    It holds all that was written by transactions below `below_xid`; `first` and `last` are the times of its events.
    """

    format: int
    name: str
    version: str
    schema: str
    operator: str
    made_at: datetime
    below_xid: int
    first: datetime | None
    last: datetime | None
    head: SealHead | None
    files: list[EvidenceFile]


class _File:
    """A Parquet file that grows by row groups."""

    def __init__(self, path: Path, columns: Sequence[Column[Any]]) -> None:
        self.rows = 0
        self.path = path
        self._columns = columns
        fields = [pa.field(column.name, _arrow_type(column)) for column in columns]
        self._schema = pa.schema([*fields, pa.field(EXACT_COLUMN, pa.string())])
        path.touch(mode=0o600)
        self._writer = pq.ParquetWriter(path, self._schema, version="2.6", compression="zstd", coerce_timestamps="us")

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append a row group."""
        if not rows:
            return
        exact: list[dict[str, str]] = [{} for _ in rows]
        values: dict[str, list[Any]] = {}
        for n, column in enumerate(self._columns):
            values[column.name] = [_value(row[n], column, beyond) for row, beyond in zip(rows, exact, strict=True)]
        told = [msgspec.json.encode(one).decode() if one else None for one in exact]
        self._writer.write_table(pa.table({**values, EXACT_COLUMN: told}, schema=self._schema))
        self.rows += len(rows)

    def close(self) -> EvidenceFile:
        self._writer.close()
        size, digest = summed(self.path)
        return EvidenceFile(name=self.path.name, rows=self.rows, size=size, sha256=digest)


def _arrow_type(column: Column[Any]) -> pa.DataType:
    match column.type:
        case Xid8():
            return pa.uint64()
        case DateTime():
            return pa.timestamp("us", tz="UTC")
        case Date():
            return pa.date32()
        case Boolean():
            return pa.bool_()
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case Numeric():
            return pa.decimal128(DIGITS, PLACES)
        case _:
            return pa.string()


def _value(value: Any, column: Column[Any], beyond: dict[str, str]) -> Any:
    """Return a value as its column takes it; a number that no decimal column takes goes `beyond`, exactly."""
    match value:
        case Decimal() if not fits(value):
            beyond[column.name] = plain(value)
            return None
        case datetime(tzinfo=None):
            return value.replace(tzinfo=UTC)  # the driver's "since always"
        case bytes():
            return value.hex()
        case str() if isinstance(column.type, Xid8):
            return int(value)
        case _:
            return value


def _read(column: Column[Any]) -> ColumnElement[Any]:
    """Return how a column is read: JSON as its text, every digit as it was sent."""
    if isinstance(column.type, ARRAY):
        return cast(func.array_to_json(column), Text).label(column.name)
    if isinstance(column.type, JSONB | Xid8):
        return cast(column, Text).label(column.name)
    return column


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name != "operator"]


# What is added to a table of the tail: each page of it brings the rows that belong to it.
_PARTS: Final[Mapping[str, tuple[Table, Column[Any]]]] = {
    "charges": (draws, draws.c.charge),
    "entries": (journal, journal.c.entry),
}
_HASHED: Final = event_keys.c.content_hash


def _select(table: Table) -> tuple[list[Column[Any]], Select[*tuple[Any, ...]]]:
    columns = _columns(table)
    query = select(*map(_read, columns))
    if table is events:
        columns = [*columns, _HASHED]
        on = (event_keys.c.operator == events.c.operator) & (event_keys.c.source == events.c.source)
        query = select(*map(_read, columns)).outerjoin_from(events, event_keys, on & (event_keys.c.id == events.c.id))
    return columns, query


async def write_evidence(database: Database, operator: str, draft: Path, *, name: str) -> Evidence:
    """Write the evidence of an operator to a directory, the manifest last. Raises Unavailable, OSError."""
    async with database.begin() as connection:
        at = (await connection.execute(_HORIZON)).one()
        head = await newest(connection, operator)
        span = select(func.min(events.c.time), func.max(events.c.time)).where(
            events.c.operator == operator, text(_BELOW.format("events"))
        )
        first, last = (await connection.execute(span, {"below": at.below})).one()
    files = []
    for table in (events, charges, entries):
        files += await _write_tail(database, operator, table, draft, below=at.below)
    files.append(await _write_grants(database, operator, draft))
    made = Evidence(
        format=FORMAT,
        name=name,
        version=__version__,
        schema=migrate.head(),
        operator=operator,
        made_at=at.at,
        below_xid=int(at.below),
        first=first,
        last=last,
        head=None if head is None else SealHead(n=head.block.n, hash=head.hash.hex(), sealed_at=head.block.sealed_at),
        files=files,
    )
    write_private(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(made), indent=2))
    return made


async def _write_tail(
    database: Database, operator: str, table: Table, draft: Path, *, below: str
) -> list[EvidenceFile]:
    columns, query = _select(table)
    part, key = _PARTS.get(table.name, (None, None))
    written = [_File(draft / f"{table.name}.parquet", columns)]
    if part is not None:
        written.append(_File(draft / f"{part.name}.parquet", _columns(part)))
    names = [column.name for column in columns]
    page_of = (
        query.where(table.c.operator == operator, text(_AFTER.format(table.name)), text(_BELOW.format(table.name)))
        .order_by(table.c.xid, table.c.seq)
        .limit(_PAGE_ROWS)
    )
    place: dict[str, Any] = {"xid": "0", "seq": 0, "below": below}
    try:
        while True:
            async with database.begin() as connection:
                rows = (await connection.execute(page_of, place)).all()
                parts: Sequence[Any] = []
                if part is not None and key is not None:
                    parts = await _read_parts(connection, operator, part, key, [row.id for row in rows])
            await asyncio.to_thread(written[0].add, rows)
            if parts:
                await asyncio.to_thread(written[1].add, parts)
            if len(rows) < _PAGE_ROWS:
                break
            last = dict(zip(names, rows[-1], strict=True))
            place |= {"xid": last["xid"], "seq": last["seq"]}
    finally:
        files = [await asyncio.to_thread(file.close) for file in written]
    return files


async def _read_parts(
    connection: AsyncConnection, operator: str, part: Table, key: Column[Any], ids: list[str]
) -> Sequence[Any]:
    query = select(*map(_read, _columns(part))).where(part.c.operator == operator, key == any_(cast(ids, ARRAY(Text))))
    return (await connection.execute(query.order_by(key, part.c.n))).all()


async def _write_grants(database: Database, operator: str, draft: Path) -> EvidenceFile:
    """Write the grants as they are now: there are as many as people gave."""
    columns, query = _select(grants)
    file = _File(draft / "grants.parquet", columns)
    try:
        async with database.begin() as connection:
            found = await connection.execute(query.where(grants.c.operator == operator).order_by(grants.c.grant))
            file.add(found.all())
    finally:
        told = file.close()
    return told


# --- verifying --------------------------------------------------------------------------------------------------------


def read_evidence(folder: Path) -> Evidence:
    """Return the manifest of an export. Raises BadInput (`bad_evidence`)."""
    path = folder / MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Evidence)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}; an export without a manifest was never finished"
        raise BadInput(message, code="bad_evidence") from error
    except msgspec.MsgspecError as error:
        message = f"{path} is no manifest of an export: {error}; take another export"
        raise BadInput(message, code="bad_evidence") from error
    if found.format != FORMAT:
        message = f"{path} is of format {found.format}, this version reads {FORMAT}; use version {found.version}"
        raise BadInput(message, code="bad_evidence")
    return found


def evidence_faults(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Give what differs from the manifest, by file."""
    for file in evidence.files:
        path = folder / file.name
        try:
            size, digest = summed(path)
        except FileNotFoundError:
            yield f"{file.name} is missing"
            continue
        except OSError as error:
            yield f"{file.name} cannot be read: {error.strerror}"
            continue
        if size != file.size:
            yield f"{file.name} has {size} bytes and should have {file.size}"
        elif digest != file.sha256:
            yield f"{file.name} is not what was written: its checksum differs"
        yield from _row_faults(path, file)
    for path in sorted(folder.glob("*.parquet")):
        if path.name not in {file.name for file in evidence.files}:
            yield f"{path.name} is in no manifest"


def _row_faults(path: Path, file: EvidenceFile) -> Iterator[str]:
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError, ValueError):
        yield f"{file.name} cannot be read as Parquet"
        return
    if rows != file.rows:
        yield f"{file.name} has {rows} rows and should have {file.rows}"


def evidence_json(evidence: Evidence) -> dict[str, Any]:
    """Return what a manifest says, for machines."""
    told: dict[str, Any] = msgspec.to_builtins(evidence)
    return told | {"made_at": instant_text(evidence.made_at)}
