"""Movements that came long ago lose what no bill reads, block of seals by block (decision 0026).

    sealed block, old enough ──▶ each movement: is it what was sealed? ──▶ data that meters read ──▶ one record a block
                                                                                                    in the sealed log

A record holds a digest over place, content hash before and after of every event that it thinned. Both hashes can be
computed again from what stands, so verifying needs no record an event: see `agrees`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.catalog import Catalog
from meter.model.errors import BadInput
from meter.model.event import MOVEMENTS, WIFI_SESSION, EventKey, UsageEvent
from meter.model.instant import instant_text
from meter.rating.movements import only, read_of
from meter.sources.wifi.sessions import READ
from meter.store.authorizations import EXTENSION
from meter.store.catalogs import StoredVersion, newest_version, read_versions, timeline
from meter.store.directory_write import lock_facts
from meter.store.engine import encode_json
from meter.store.redactions import Form, Step, event_form, redacted_from, sealed_as, steps_of, write_records
from meter.store.seals import VERSION

# Of one transaction: rating waits for it, some hundred milliseconds at most.
ROWS_MAX: Final = 2_000
# In `attributes`, of an event that holds no more than a bill needs. No sender can say it: it has an underscore.
MARK: Final = "is_thinned"
_ACTION: Final = "thinned"
_KIND: Final = "movements"
_BLOCKS: Final = text(
    """
    SELECT n, rows, from_xid::text, from_seq, to_xid::text, to_seq FROM seals
     WHERE operator = :operator AND stream = 'events' AND version = :version AND n > :after AND sealed_at < :before
     ORDER BY n LIMIT :limit
    """
)
# Blocks of a quiet night hold an event or two.
_BLOCKS_MAX: Final = 200
# Numbers of blocks have leading zeros, so that the greatest text is the greatest number.
_LAST: Final = text("SELECT max(object) FROM audit WHERE operator = :operator AND kind = :kind")
_EVENTS: Final = text(
    """
    SELECT e.xid::text, e.seq, e.source, e.id, e.type, e.subject, e.time, e.timed, e.offset_ms, e.data, e.attributes,
           k.content_hash
      FROM events AS e JOIN event_keys AS k ON k.operator = e.operator AND k.source = e.source AND k.id = e.id
     WHERE e.operator = :operator AND split_part(e.type, '.', 1) = ANY(CAST(:kinds AS text[]))
       AND (e.xid, e.seq) > (CAST(CAST(:from_xid AS text) AS xid8), :from_seq)
       AND (e.xid, e.seq) <= (CAST(CAST(:to_xid AS text) AS xid8), :to_seq)
     ORDER BY e.xid, e.seq
    """
)
_WRITE: Final = text(
    """
    UPDATE events AS e SET data = CAST(g.data AS jsonb), attributes = CAST(g.attributes AS jsonb)
      FROM unnest(CAST(:times AS timestamptz[]), CAST(:sources AS text[]), CAST(:ids AS text[]),
                  CAST(:data AS text[]), CAST(:attributes AS text[])) AS g (time, source, id, data, attributes)
     WHERE e.operator = :operator AND e.time = g.time AND e.source = g.source AND e.id = g.id
    """
)
_RECORD: Final = text(
    """
    SELECT a.seq, a.detail ->> 'digest' AS digest, CAST(a.detail ->> 'rows' AS bigint) AS rows,
           (a.xid, a.seq) <= (SELECT s.to_xid, s.to_seq FROM seals AS s
                               WHERE s.operator = :operator AND s.stream = 'audit' ORDER BY s.n DESC LIMIT 1) AS sealed
      FROM audit AS a WHERE a.operator = :operator AND a.kind = :kind AND a.object = :object ORDER BY a.seq LIMIT 1
    """
)
_GONE: Final = text(
    """
    SELECT CAST(a.detail ->> 'catalog' AS bigint) AS catalog, u.key AS type, max(CAST(u.value AS timestamptz)) AS until
      FROM audit AS a CROSS JOIN LATERAL jsonb_each_text(a.detail -> 'until') AS u
     WHERE a.operator = :operator AND a.kind = :kind
     GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_MARKED: Final = text(
    """
    SELECT e.source, e.id FROM events AS e
      JOIN unnest(CAST(:times AS timestamptz[]), CAST(:sources AS text[]), CAST(:ids AS text[])) AS g (time, source, id)
        ON e.time = g.time AND e.source = g.source AND e.id = g.id
     WHERE e.operator = :operator AND jsonb_exists(e.attributes, :mark)
    """
)


@dataclass(slots=True, kw_only=True)
class Thinned:
    """What was done, or would be. `after`: the last block that was looked at; `more`: there are others behind it.

    `changed`: movements that are not what was sealed; they are left for `meter audit verify` to name.
    """

    after: int = 0
    movements: int = 0
    thinned: int = 0
    changed: int = 0
    more: bool = True
    members: dict[str, int] = field(default_factory=dict)
    kept: Kept | None = None  # read again only where there is a newer version


class Change(NamedTuple):
    """An event that was thinned: where it stands, and its content hashes (hexadecimal)."""

    place: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinningRecord:
    """The record of a block; `seq` is its place in the log, `sealed` whether it is sealed itself."""

    seq: int
    digest: str
    rows: int
    sealed: bool

    def change_of(self, stands: Form, sealed: str, steps: Sequence[Step]) -> Change:
        """Return what thinning made of an event: its hash before by the erasures before, after by those since.

        `sealed` is the hash that came with it. Only erasures that are sealed themselves lead anywhere.
        """
        known = [step for step in steps if step.sealed]
        before = redacted_from(sealed, [step for step in known if step.seq < self.seq])
        return Change(stands.place, before, sealed_as(stands.hash, [step for step in known if step.seq > self.seq]))

    def agrees(self, changes: Sequence[Change]) -> bool:
        """Tell whether these are the events that were thinned, each as it was and as it was left."""
        return self.digest == _digest(changes)


def _digest(changes: Iterable[Change]) -> str:
    # Places and hashes hold neither spaces nor line ends.
    return sha256("".join(f"{' '.join(change)}\n" for change in changes).encode()).hexdigest()


async def thin_some(
    connection: AsyncConnection, operator: str, *, before: datetime, found: Thinned, write: bool = True
) -> None:
    """Thin the movements of the next blocks that were sealed before an instant, and add to `found` what that was.

    As the owner of the tables, within the caller's transaction; without `write` it only looks, as anybody. Several may
    run side by side: rating, changes of facts and others of its kind wait.
    """
    if write:
        await lock_facts(connection, operator)
    done = await connection.scalar(_LAST, {"operator": operator, "kind": _KIND})
    found.after = max(found.after, int(done or 0))
    if found.kept is None or found.kept.newest != await newest_version(connection, operator):
        found.kept = Kept(await read_versions(connection, operator))
    kept = found.kept
    asked = {"operator": operator, "version": VERSION, "after": found.after, "before": before, "limit": _BLOCKS_MAX}
    blocks = (await connection.execute(_BLOCKS, asked)).all()
    rows = 0
    for number, block in enumerate(blocks):
        rows += block.rows
        if number and rows > ROWS_MAX:
            return
        await _thin(connection, operator, dict(block._mapping), kept, found, write=write)  # noqa: SLF001 -- public
        found.after = block.n
    found.more = len(blocks) == _BLOCKS_MAX


class Kept:
    """What is kept of each type, by every version that there is."""

    def __init__(self, versions: Sequence[StoredVersion]) -> None:
        """Read the versions."""
        self.newest = versions[-1].version if versions else None
        self._catalogs = _catalogs(versions)
        self._of: dict[str, frozenset[str]] = {}

    def of(self, event_type: str) -> frozenset[str]:
        """Return the members of `data` that are kept of a type."""
        if event_type not in self._of:
            self._of[event_type] = kept_of(self._catalogs, event_type)
        return self._of[event_type]


def _catalogs(versions: Sequence[StoredVersion]) -> Sequence[Catalog]:
    found = timeline(versions)
    return () if found is None else found.versions


def kept_of(catalogs: Iterable[Catalog], event_type: str) -> frozenset[str]:
    """Return the members of `data` that are kept: what meters read, and by what a Wi-Fi session hangs together."""
    return read_of(catalogs, event_type) | (READ if event_type == WIFI_SESSION else frozenset())


async def _thin(
    connection: AsyncConnection, operator: str, block: Mapping[str, Any], kept: Kept, found: Thinned, *, write: bool
) -> None:
    bounds = {name: block[name] for name in ("from_xid", "from_seq", "to_xid", "to_seq")} | {"operator": operator}
    rows = await connection.execute(_EVENTS, {**bounds, "kinds": sorted(MOVEMENTS)})
    events = [dict(row) for row in rows.mappings()]
    if not events:
        return
    steps = await steps_of(connection, operator, "events", bounds)
    changes: list[Change] = []
    written: list[tuple[Mapping[str, Any], str, str]] = []
    until: dict[str, datetime] = {}
    for row in events:
        old = event_form(row)
        found.movements += 1
        if old.hash != redacted_from(bytes(row["content_hash"]).hex(), steps.get(old.place, ())):
            # Somebody edited it. To thin it would put our record over that.
            found.changed += 1
            continue
        data = only(row["data"], kept.of(row["type"]))
        attributes = only(row["attributes"] or {}, frozenset({EXTENSION}))
        if data == row["data"] and attributes == (row["attributes"] or {}):
            continue
        for name in row["data"].keys() - data.keys():
            found.members[f"{row['type']} {name}"] = found.members.get(f"{row['type']} {name}", 0) + 1
        new = event_form({**row, "data": data})
        if new.hash != old.hash:
            changes.append(Change(old.place, old.hash, new.hash))
            until[row["type"]] = max(until.get(row["type"], row["time"]), row["time"])
        written.append((row, encode_json(data), encode_json({**attributes, MARK: True})))
    found.thinned += len(written)
    if not write or not written:
        return
    await connection.execute(
        _WRITE,
        {
            "operator": operator,
            "times": [row["time"] for row, *_ in written],
            "sources": [row["source"] for row, *_ in written],
            "ids": [row["id"] for row, *_ in written],
            "data": [data for _, data, _ in written],
            "attributes": [attributes for *_, attributes in written],
        },
    )
    detail = {
        "rows": len(changes),
        "digest": _digest(changes),
        "catalog": kept.newest,
        "until": {name: instant_text(at) for name, at in sorted(until.items())},
    }
    await write_records(connection, operator, [(_ACTION, _KIND, _object(block["n"]), detail)])


def _object(block: int) -> str:
    return f"{block:012d}"


async def record_of(connection: AsyncConnection, operator: str, block: int) -> ThinningRecord | None:
    """Return the record of what was thinned of a block; None: nothing was."""
    asked = {"operator": operator, "kind": _KIND, "object": _object(block)}
    row = (await connection.execute(_RECORD, asked)).one_or_none()
    if row is None:
        return None
    return ThinningRecord(seq=row.seq, digest=str(row.digest), rows=int(row.rows or 0), sealed=bool(row.sealed))


async def thinned_of(connection: AsyncConnection, operator: str, events: Collection[UsageEvent]) -> set[EventKey]:
    """Return which of the events hold no more than a bill needs."""
    asked = {
        "operator": operator,
        "times": [event.time for event in events],
        "sources": [event.source for event in events],
        "ids": [event.id for event in events],
        "mark": MARK,
    }
    return {EventKey(row.source, row.id) for row in await connection.execute(_MARKED, asked)}


async def require_readable(
    connection: AsyncConnection, operator: str, version: StoredVersion, versions: Sequence[StoredVersion]
) -> None:
    """Raise BadInput (`movements_thinned`) where a new version reads what is gone of movements that it rates.

    To fold on without it would bill something else, in silence.
    """
    [catalog] = _catalogs([version])
    for row in await connection.execute(_GONE, {"operator": operator, "kind": _KIND}):
        if catalog.effective is not None and catalog.effective > row.until:
            continue
        known = _catalogs([one for one in versions if one.version <= row.catalog])
        if missing := sorted(read_of([catalog], row.type) - kept_of(known, row.type)):
            message = (
                f"meters of {row.type} read {', '.join(missing)}, which movements up to {instant_text(row.until)} do "
                f"not hold any more (METER_PRIVACY__MOVEMENTS_DAYS); let the catalog take effect after that"
            )
            raise BadInput(message, code="movements_thinned")
