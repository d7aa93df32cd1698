"""Holds everything that is sealed, and everything whose changes are recorded, against its seals and records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import is_movement
from meter.model.instant import instant_text
from meter.store.audited import AUDITED, Audited
from meter.store.engine import Database
from meter.store.redactions import Step, event_form, sealed_as, steps_of
from meter.store.seals import GENESIS, STREAMS, VERSION, Block, Sealed, digest_now, leaves_now, prepare, read_blocks
from meter.store.thinning import record_of

# Blocks of one transaction: some tens of milliseconds each, for a long one holds back every reader of the log.
_PAGE: Final = 20
_EVENTS: Final = text(
    """
    SELECT e.xid::text, e.seq, e.source, e.id, e.type, e.subject, e.time, e.timed, e.offset_ms, e.data, k.content_hash
      FROM events AS e JOIN event_keys AS k ON k.operator = e.operator AND k.source = e.source AND k.id = e.id
     WHERE e.operator = :operator
       AND (e.xid, e.seq) > (CAST(CAST(:from_xid AS text) AS xid8), :from_seq)
       AND (e.xid, e.seq) <= (CAST(CAST(:to_xid AS text) AS xid8), :to_seq)
     ORDER BY e.xid, e.seq
    """
)
_UNSEALED: Final = "; the record that it was erased is not sealed yet, verify again once it is"
_UNSEALED_THINNING: Final = "; the record that they were thinned is not sealed yet, verify again once it is"
# What stands, beside the newest record of each: by `seq`, which is drawn under the row's lock.
_OBJECTS: Final = """
    WITH now AS (
        SELECT f.object, f.digest
          FROM {0} AS t
         CROSS JOIN LATERAL meter_audit_of(to_jsonb(t), CAST(:keys AS text[]), CAST(:hashed AS text[]),
                                           CAST(:left_out AS text[])) AS f
         WHERE t.operator = :operator
    ), told AS (
        SELECT DISTINCT ON (object) object, action, detail ->> 'digest' AS digest
          FROM audit WHERE operator = :operator AND kind = :kind ORDER BY object, seq DESC
    )
    SELECT count(now.object) AS objects,
           count(*) FILTER (WHERE now.object IS NOT NULL AND (told.digest IS DISTINCT FROM now.digest)) AS unlike,
           min(now.object) FILTER (WHERE now.object IS NOT NULL AND (told.digest IS DISTINCT FROM now.digest)) AS first,
           count(*) FILTER (WHERE now.object IS NULL AND told.action <> 'removed') AS gone
      FROM now FULL JOIN told USING (object)
"""
# Rows of a stream's parts that belong to no row of it: each is matched by its own first.
_STRAYS: Final = {
    "draws without a charge": "SELECT count(*) FROM draws AS p WHERE p.operator = :operator AND NOT EXISTS"
    " (SELECT FROM charges AS t WHERE t.operator = p.operator AND t.id = p.charge)",
    "postings without an entry": "SELECT count(*) FROM journal AS p WHERE p.operator = :operator AND NOT EXISTS"
    " (SELECT FROM entries AS t WHERE t.operator = p.operator AND t.id = p.entry)",
    "keys without an event": "SELECT count(*) FROM event_keys AS p WHERE p.operator = :operator AND NOT EXISTS"
    " (SELECT FROM events AS t WHERE t.operator = p.operator AND t.time = p.time AND t.source = p.source"
    " AND t.id = p.id)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest block's number and hash (hexadecimal) as they were kept outside; `at` is text for people."""

    n: int
    hash: str
    at: str


@dataclass(slots=True, kw_only=True)
class Verified:
    """What verifying found; `faults` are lines for people, each naming stream, block and rows."""

    blocks: int = 0
    rows: int = 0
    heads: int = 0
    objects: int = 0
    redacted: int = 0  # rows of which a member was erased
    thinned: int = 0  # movements of which only what a bill needs was kept
    sealed_at: str | None = None
    faults: list[str] = field(default_factory=list)


async def verify(
    database: Database,
    operator: str,
    *,
    heads: Sequence[Head],
    checked: Callable[[int], None] = lambda _blocks: None,
) -> Verified:
    """Return what differs from its seals, from the heads kept outside and from its records. Reads only."""
    found = Verified(heads=len(heads))
    outside: dict[int, list[Head]] = {}
    for head in heads:
        outside.setdefault(head.n, []).append(head)
    ends: dict[str, tuple[str, int]] = {}
    previous, expected = GENESIS, 1
    while True:
        async with database.begin() as connection:
            await prepare(connection)
            page = await read_blocks(connection, operator, after=expected - 1, limit=_PAGE)
            for sealed in page:
                found.faults += _chained(sealed, previous, expected, ends)
                found.faults += [
                    f"{sealed.block.place}: the head kept outside at {head.at} is of another chain"
                    for head in outside.pop(sealed.block.n, ())
                    if head.hash != sealed.hash.hex()
                ]
                found.faults += await _rows(connection, sealed.block, found)
                previous, expected = sealed.hash, sealed.block.n + 1
                found.blocks += 1
                found.rows += sealed.block.rows
                found.sealed_at = instant_text(sealed.block.sealed_at)
        checked(found.blocks)
        if len(page) < _PAGE:
            break
    found.faults += _missing(outside, ends_at=expected - 1, sealed_at=found.sealed_at)
    await _beside(database, operator, found)
    return found


def _missing(outside: Mapping[int, Sequence[Head]], *, ends_at: int, sealed_at: str | None) -> list[str]:
    """Return what is wrong with heads of blocks that are not there: lost within the chain, or above its end."""
    faults = [
        f"block {n}: kept outside as the head at {outside[n][0].at}, and missing from the chain"
        for n in sorted(outside)
        if n <= ends_at
    ]
    if ahead := sorted(n for n in outside if n > ends_at):
        place = f"block {ahead[0]}" if len(ahead) == 1 else f"block {ahead[0]} to {ahead[-1]}"
        told = sorted(head.at for n in ahead for head in outside[n])
        chain = "is empty" if sealed_at is None else f"ends with block {ends_at}, sealed at {sealed_at}"
        faults.append(
            f"{place}: kept outside as {len(told)} heads, told from {told[0]} to {told[-1]}, and not in the chain, "
            f"which {chain}. The database is older than these heads. Was it restored from a backup? Then what was "
            "stored since is not in it: 'Heads that are ahead' in docs/backups.md says what to do. Else its newest "
            "seals were removed"
        )
    return faults


async def _beside(database: Database, operator: str, found: Verified) -> None:
    """Add what no block tells: rows that belong to none, and objects whose changes are recorded."""
    async with database.begin() as connection:
        await prepare(connection)
        for what, statement in _STRAYS.items():
            if count := await connection.scalar(text(statement), {"operator": operator}):
                found.faults.append(f"{count} {what}")
    for table, audited in AUDITED.items():
        if audited.by == "all":
            async with database.begin() as connection:
                await prepare(connection)
                await _objects(connection, operator, table, audited, found)


def _chained(sealed: Sealed, previous: bytes, expected: int, ends: dict[str, tuple[str, int]]) -> list[str]:
    """Return what is wrong with a block itself; `ends` is where each stream's last block ended."""
    block, faults = sealed.block, []
    if block.n != expected:
        faults.append(f"block {expected} to {block.n - 1}: missing from the chain of seals")
    if block.stream not in STREAMS or block.version != VERSION:
        return [f"block {block.n}: of stream {block.stream!r}, form {block.version}, which this version does not know"]
    if block.hash != sealed.hash:
        faults.append(f"{block.place}: the seal itself was changed")
    if block.previous != previous:
        faults.append(f"{block.place}: does not follow the block before it")
    if ends.get(block.stream, ("0", 0)) != (block.from_xid, block.from_seq):
        faults.append(f"{block.place}: does not begin where the block of {block.stream} before it ends")
    ends[block.stream] = (block.to_xid, block.to_seq)
    return faults


async def _rows(connection: AsyncConnection, block: Block, found: Verified) -> list[str]:
    if block.stream not in STREAMS or block.version != VERSION:
        return []
    rows, digest = await digest_now(connection, block)
    steps = await steps_of(connection, block.operator, block.stream, block.bounds)
    found.redacted += len(steps)
    faults = []
    if rows != block.rows:
        faults.append(f"{block.place}: {rows} rows stand there now")
    elif digest != block.digest and not await _led_to(connection, block, steps):
        unsealed = any(not step.sealed for several in steps.values() for step in several)
        faults.append(f"{block.place}: a row was changed, replaced or put in another place" + _UNSEALED * unsealed)
    if block.stream == "events":
        faults += await _contents(connection, block, steps, found)
    return faults


async def _led_to(connection: AsyncConnection, block: Block, steps: Mapping[str, Sequence[Step]]) -> bool:
    """Tell whether erasures lead from what was sealed to what stands: all of them, or those since it was sealed."""
    if not steps:
        return False
    leaves = await leaves_now(connection, block)
    for since in sorted({step.erasure for several in steps.values() for step in several}):
        forms = (bytes.fromhex(sealed_as(form, steps.get(place, ()), since=since)) for place, form in leaves)
        if sha256(b"".join(forms)).digest() == block.digest:
            return True
    return False


async def _contents(
    connection: AsyncConnection, block: Block, steps: Mapping[str, Sequence[Step]], found: Verified
) -> list[str]:
    """Return the events whose content is not what its hash says: the hash is sealed, the content can be erased.

    Of a block whose movements were thinned all of them are held against its record at once.
    """
    record = await record_of(connection, block.operator, block.n)
    faults, thinned = [], []
    for row in map(dict, (await connection.execute(_EVENTS, block.bounds)).mappings()):
        form = event_form(row)
        several = steps.get(form.place, ())
        sealed = bytes(row["content_hash"]).hex()
        if record is not None and is_movement(row["type"]):
            change = record.change_of(form, sealed, several)
            thinned += [change] if change.before != change.after else []
        elif sealed_as(form.hash, several) != sealed:
            unsealed = any(not step.sealed for step in several)
            told = f"{block.place}: the content of event {row['source']} {row['id']} was changed"
            faults.append(told + _UNSEALED * unsealed)
    if record is not None:
        found.thinned += len(thinned)
        if not record.sealed or not record.agrees(thinned):
            told = f"{block.place}: its movements are not what was left of them when they were thinned"
            faults.append(told + _UNSEALED_THINNING * (not record.sealed))
    return faults


async def _objects(connection: AsyncConnection, operator: str, table: str, audited: Audited, found: Verified) -> None:
    """Add the rows of a table that are not as the newest record of each says, and records whose rows are gone."""
    rows = await connection.execute(
        text(_OBJECTS.format(table)),
        {
            "operator": operator,
            "kind": table,
            "keys": list(audited.keys),
            "hashed": list(audited.hashed),
            "left_out": list(audited.left_out),
        },
    )
    for row in rows:
        found.objects += row.objects
        if row.unlike:
            found.faults.append(
                f"{table}: {row.unlike} rows are not as their newest records say, the first {row.first}"
            )
        if row.gone:
            found.faults.append(f"{table}: {row.gone} rows are gone without a record")
