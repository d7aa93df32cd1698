"""Blocks of rows that are kept for good, chained by hash: edited, removed, added or reordered, a row breaks its block.

    events ──┐
    charges ─┤   in a tail's order (decision 0005)      block n: stream, (from, to], rows, digest, previous ─▶ hash
    entries ─┤   a block a stream a step            ─▶  block n + 1: ...                     previous = hash of n
    audit ───┘

PostgreSQL hashes the rows, so that no row travels. Each column that is sealed is its text behind its length in bytes,
NULL a dash: no two rows have one form (decision 0020 names what is left out, and why).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.instant import instant_text
from meter.store.tables import audit, charges, draws, entries, event_keys, events, journal

# Of the canonical form: it is written into each block, and a block is verified by its own.
VERSION: Final = 1
# Hashed by one statement in some tens of milliseconds; a fault is told as one of so many rows at most.
BLOCK_ROWS_MAX: Final = 2_000
GENESIS: Final = bytes(32)

_XID: Final = "CAST(CAST(:{0}_xid AS text) AS xid8)"
_AFTER: Final = f"(t.xid, t.seq) > ({_XID.format('from')}, :from_seq)"
_UP_TO: Final = f"(t.xid, t.seq) <= ({_XID.format('to')}, :to_seq)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table whose rows belong to those of a stream, matched by `on` and put in order by `order`."""

    table: Table
    on: str
    order: str
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A table that is sealed in its tail's order; `left_out` are the columns that may change, or must be erasable."""

    table: Table
    left_out: frozenset[str] = frozenset()
    parts: tuple[Part, ...] = ()

    @property
    def rows(self) -> str:
        """Return SQL for the table `t`, with what its canonical text needs beside it."""
        keys = " LEFT JOIN member_keys AS k ON k.operator = t.operator AND k.member = t.member"
        return f"{self.table.name} AS t{keys if _personal(self.table) else ''}"

    @property
    def canonical(self) -> str:
        """Return SQL for the canonical text of a row `t`."""
        return " || ".join(["''", *_columns(self.table, "t", self.left_out), *(_part(part) for part in self.parts)])


STREAMS: Final[Mapping[str, Stream]] = MappingProxyType(
    {
        "events": Stream(
            table=events,
            # Content, which `content_hash` stands for: what is erased leaves it, and verifying computes it again.
            left_out=frozenset({"subject", "thing", "data", "attributes"}),
            parts=(Part(table=event_keys, on="p.source = t.source AND p.id = t.id", order="p.source, p.id"),),
        ),
        "charges": Stream(
            table=charges,
            # Told once by an upgrade from before the books.
            left_out=frozenset({"earned_until"}),
            parts=(Part(table=draws, on="p.charge = t.id", order="p.n"),),
        ),
        "entries": Stream(table=entries, parts=(Part(table=journal, on="p.entry = t.id", order="p.n"),)),
        "audit": Stream(table=audit),
    }
)


def _columns(table: Table, alias: str, left_out: frozenset[str]) -> list[str]:
    """Return SQL for each sealed column's part of the canonical text, in the order of their names."""
    told = []
    for name in sorted(set(table.c.keys()) - left_out):
        value = f'{alias}."{name}"::text'
        if name == "member" and _personal(table):
            # Whoever is erased is known by the pseudonym from then on: the row's form stays what it was.
            value = f"coalesce(k.pseudonym, {value})"
        told.append(f"coalesce(octet_length({value}) || ':' || {value}, '-')")
    return told


def _personal(table: Table) -> bool:
    return "member" in table.c and table is not audit


def _part(part: Part) -> str:
    inner = " || ".join(_columns(part.table, "p", part.left_out))
    return (
        f"(SELECT count(*) || '[' || coalesce(string_agg({inner}, '' ORDER BY {part.order}), '') || ']'"  # noqa: S608 -- our tables
        f" FROM {part.table.name} AS p WHERE p.operator = t.operator AND {part.on})"
    )


_DIGEST: Final = (
    "SELECT count(*) AS rows, (array_agg(s.xid ORDER BY s.xid DESC, s.seq DESC))[1]::text AS to_xid,"
    " (array_agg(s.seq ORDER BY s.xid DESC, s.seq DESC))[1] AS to_seq,"
    " sha256(coalesce(string_agg(sha256(convert_to(s.form, 'UTF8')), ''::bytea ORDER BY s.xid, s.seq), ''::bytea))"
    " AS digest FROM (SELECT t.xid, t.seq, {0} AS form FROM {1} WHERE t.operator = :operator AND {2}"
    " ORDER BY t.xid, t.seq {3}) AS s"
)
_SEALING: Final = {
    name: text(
        _DIGEST.format(
            stream.canonical,
            stream.rows,
            f"{_AFTER} AND t.xid < pg_snapshot_xmin(pg_current_snapshot())",
            "LIMIT :limit",
        )
    )
    for name, stream in STREAMS.items()
}
_VERIFYING: Final = {
    name: text(_DIGEST.format(stream.canonical, stream.rows, f"{_AFTER} AND {_UP_TO}", ""))
    for name, stream in STREAMS.items()
}
_LEAVES: Final = {
    name: text(
        f"SELECT t.xid::text || '-' || t.seq AS place, sha256(convert_to({stream.canonical}, 'UTF8')) AS form"  # noqa: S608 -- our tables
        f" FROM {stream.rows} WHERE t.operator = :operator AND {_AFTER} AND {_UP_TO} ORDER BY t.xid, t.seq"
    )
    for name, stream in STREAMS.items()
}
_LAST: Final = text("SELECT * FROM seals WHERE operator = :operator ORDER BY n DESC LIMIT 1")
_LAST_OF: Final = text(
    "SELECT to_xid::text, to_seq FROM seals WHERE operator = :operator AND stream = :stream ORDER BY n DESC LIMIT 1"
)
_WRITE: Final = text(
    f"""
    INSERT INTO seals (operator, n, stream, version, from_xid, from_seq, to_xid, to_seq, rows, digest, sealed_at,
                       previous, hash)
    VALUES (:operator, :n, :stream, :version, {_XID.format("from")}, :from_seq, {_XID.format("to")}, :to_seq, :rows,
            :digest, :sealed_at, :previous, :hash)
    """  # noqa: S608 -- constants of this module
)
_PAGE: Final = text(
    "SELECT operator, n, stream, version, from_xid::text, from_seq, to_xid::text, to_seq, rows, digest, sealed_at,"
    " previous, hash FROM seals WHERE operator = :operator AND n > :after ORDER BY n LIMIT :limit"
)
# Dates, times and floats have one text, whatever the session or the role was set to.
_SETTINGS: Final = text(
    "SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),"
    " set_config('intervalstyle', 'iso_8601', true), set_config('bytea_output', 'hex', true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of the chain: the rows of a stream in (from, to]. `xid`s are texts, digests and hashes bytes."""

    operator: str
    n: int
    stream: str
    version: int
    from_xid: str
    from_seq: int
    to_xid: str
    to_seq: int
    rows: int
    digest: bytes
    sealed_at: datetime
    previous: bytes

    @property
    def hash(self) -> bytes:
        """Return SHA-256 over every field, each behind its length."""
        fields = (
            self.operator,
            self.n,
            self.stream,
            self.version,
            self.from_xid,
            self.from_seq,
            self.to_xid,
            self.to_seq,
            self.rows,
            self.digest.hex(),
            instant_text(self.sealed_at),
            self.previous.hex(),
        )
        return sha256(b"".join(b"%d:%s" % (len(told), told) for told in (str(one).encode() for one in fields))).digest()

    @property
    def bounds(self) -> dict[str, Any]:
        """Return what statements about its rows are given."""
        return {name: getattr(self, name) for name in ("operator", "from_xid", "from_seq", "to_xid", "to_seq")}

    @property
    def place(self) -> str:
        """Return which block it is, for people."""
        return f"block {self.n} ({self.stream}, {self.rows} rows up to {self.to_xid}-{self.to_seq})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A block as it stands in the database; `hash` is what is written there."""

    block: Block
    hash: bytes


def _sealed(row: Any) -> Sealed:
    fields = dict(row._mapping)  # noqa: SLF001 -- public
    return Sealed(hash=bytes(fields.pop("hash")), block=Block(**fields))


async def prepare(connection: AsyncConnection) -> None:
    """Have the rest of the transaction write every value as one text."""
    await connection.execute(_SETTINGS)


async def seal_some(connection: AsyncConnection, operator: str, *, at: datetime) -> list[Block]:
    """Write a block for each stream that has new rows, and return them; a full one leaves more to do.

    Only in a transaction that is fenced: two that write one chain are one too many.
    """
    await prepare(connection)
    last = (await connection.execute(_LAST, {"operator": operator})).one_or_none()
    n, previous = (0, GENESIS) if last is None else (last.n, bytes(last.hash))
    made = []
    for stream, statement in _SEALING.items():
        found = (await connection.execute(_LAST_OF, {"operator": operator, "stream": stream})).one_or_none()
        start = ("0", 0) if found is None else (found.to_xid, found.to_seq)
        bounds = {"operator": operator, "from_xid": start[0], "from_seq": start[1], "limit": BLOCK_ROWS_MAX}
        rows = (await connection.execute(statement, bounds)).one()
        if not rows.rows:
            continue
        block = Block(
            operator=operator,
            n=(n := n + 1),
            stream=stream,
            version=VERSION,
            from_xid=start[0],
            from_seq=start[1],
            to_xid=rows.to_xid,
            to_seq=rows.to_seq,
            rows=rows.rows,
            digest=bytes(rows.digest),
            sealed_at=at,
            previous=previous,
        )
        previous = block.hash
        fields = {name: getattr(block, name) for name in Block.__dataclass_fields__}
        await connection.execute(_WRITE, {**fields, "hash": previous})
        made.append(block)
    return made


async def newest(connection: AsyncConnection, operator: str) -> Sealed | None:
    """Return the last block of the chain; None before the first."""
    page = await connection.execute(
        _PAGE, {"operator": operator, "after": await _count(connection, operator) - 1, "limit": 1}
    )
    row = page.one_or_none()
    return None if row is None else _sealed(row)


async def _count(connection: AsyncConnection, operator: str) -> int:
    found = await connection.scalar(text("SELECT max(n) FROM seals WHERE operator = :o"), {"o": operator})
    return int(found or 0)


async def read_blocks(connection: AsyncConnection, operator: str, *, after: int, limit: int) -> list[Sealed]:
    """Return the blocks behind number `after`, in order."""
    page = await connection.execute(_PAGE, {"operator": operator, "after": after, "limit": limit})
    return [_sealed(row) for row in page]


async def digest_now(connection: AsyncConnection, block: Block) -> tuple[int, bytes]:
    """Return how many rows stand in the block's bounds, and their digest. Only in a transaction that is prepared."""
    row = (await connection.execute(_VERIFYING[block.stream], block.bounds)).one()
    return row.rows, bytes(row.digest)


async def leaves_now(connection: AsyncConnection, block: Block) -> list[tuple[str, str]]:
    """Return the rows that the digest is made of, in order: place (`XID-SEQ`) and hash (hexadecimal) of each form."""
    rows = await connection.execute(_LEAVES[block.stream], block.bounds)
    return [(row.place, bytes(row.form).hex()) for row in rows]
