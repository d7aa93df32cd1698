"""The outbox as its lanes and its readers see it: what is open, what became of it, what is dead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.outbox import FAULT_CHARS_MAX, OutboxItem, add_items, item_key
from meter.store.tables import outbox

State: TypeAlias = Literal["pending", "sending", "delivered", "verified", "uncertain", "dead", "superseded"]
STATES: Final[tuple[State, ...]] = (
    "pending",
    "sending",
    "delivered",
    "verified",
    "uncertain",
    "dead",
    "superseded",
)
OPEN_STATES: Final[tuple[State, ...]] = ("pending", "sending", "uncertain")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """An item that is not yet settled. `due_in_s` is at most 0 where it may be worked on now, by the server's clock.

    `sent_ago_s` is how long ago it was first sent under its key (None: not yet). `burned`: the key would only be
    answered as it was before.
    """

    id: int
    state: State
    attempts: int
    due_in_s: float
    item: OutboxItem
    sent_ago_s: float | None = None
    burned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of an item: its new state, due again in `delay_s`.

    `was`: only where it is in this state (None: in any). `attempt` is 1 where an attempt begins, -1 where none was made
    after all. `burned`: its key is used up. `renewed`: from now on it is a further revision under a key of its own.
    """

    id: int
    was: State | None = None
    state: State
    delay_s: float = 0.0
    fault: str | None = None
    remote_id: str | None = None
    attempt: Literal[-1, 0, 1] = 0
    burned: bool = False
    renewed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What a lane may work on now: the first open items of streams whose head is due, longest due stream first.

    `due_in_s`: when the next head of any stream is due (None: nothing is open).
    """

    items: Sequence[OpenItem]
    due_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A change that was made. `lag_s`: from the booking of the oldest content to now."""

    id: int
    state: State
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a target still has to get: how many items, and the age of the oldest in seconds."""

    target: str
    items: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One outbox item for its readers; `payload` only where one item is shown."""

    id: int
    target: str
    operation: str
    batch: str
    revision: int
    key: str
    stream: str
    state: State
    attempts: int
    created_at: datetime
    due_at: datetime
    first_sent_at: datetime | None
    delivered_at: datetime | None
    remote_id: str | None
    fault: str | None
    payload: bytes | None = None


_ITEM: Final = [
    outbox.c[name]
    for name in ("operator", "target", "operation", "batch", "revision", "key", "payload", "stream", "booked_at")
]
_UNSHOWN: Final = {"operator", "payload", "booked_at", "burned"}
_SHOWN: Final = [column for column in outbox.c if column.name not in _UNSHOWN]

# A stream's head is found by one step along the index, so a lane costs what it has open streams, however long they
# are. Streams share a call: each gives as many items as there is room for. Whoever has been due longest comes first,
# so what is tried again and again stands behind what was not tried yet.
_HEADS: Final = text(
    """
    WITH RECURSIVE heads AS (
        (SELECT stream, id, state, due_at FROM outbox
          WHERE operator = :operator AND target = :target AND state IN ('pending', 'sending', 'uncertain')
          ORDER BY stream, id LIMIT 1)
        UNION ALL
        SELECT following.*
          FROM heads
         CROSS JOIN LATERAL (
               SELECT o.stream, o.id, o.state, o.due_at FROM outbox AS o
                WHERE o.operator = :operator AND o.target = :target AND o.state IN ('pending', 'sending', 'uncertain')
                  AND o.stream > heads.stream
                ORDER BY o.stream, o.id LIMIT 1) AS following
    ), ready AS (
        SELECT stream, row_number() OVER (ORDER BY due_at, id) AS place, count(*) OVER () AS streams
          FROM heads WHERE state = 'sending' OR due_at <= clock_timestamp()
    )
    SELECT lane.due_in_s AS lane_due_in_s, o.*, known.remote_id AS known_id
      FROM (SELECT extract(epoch FROM min(due_at) - clock_timestamp()) AS due_in_s FROM heads) AS lane
      LEFT JOIN (
           ready
           JOIN LATERAL (
                SELECT o.id, o.state, o.attempts, o.burned, o.operator, o.target, o.operation, o.batch, o.revision,
                       o.key, o.payload, o.stream, o.booked_at,
                       extract(epoch FROM o.due_at - clock_timestamp()) AS due_in_s,
                       extract(epoch FROM clock_timestamp() - o.first_sent_at) AS sent_ago_s
                  FROM outbox AS o
                 WHERE o.operator = :operator AND o.target = :target AND o.state IN ('pending', 'sending', 'uncertain')
                   AND o.stream = ready.stream
                 ORDER BY o.id
                 LIMIT (:items_max + ready.streams - 1) / ready.streams) AS o ON ready.place <= :items_max) ON true
      LEFT JOIN LATERAL (
           SELECT k.remote_id FROM outbox AS k
            WHERE o.revision > 0 AND k.operator = :operator AND k.target = :target AND k.batch = o.batch
              AND k.operation = o.operation AND k.state IN ('delivered', 'verified') AND k.remote_id IS NOT NULL
            ORDER BY k.id DESC LIMIT 1) AS known ON true
     ORDER BY ready.place, o.id
    """
)


async def due_heads(conn: AsyncConnection, operator: str, target: str, *, items_max: int) -> Heads:
    """Return the first open items of a target's due streams, about `items_max` in all and at most that many streams.

    Within a stream they are in the order of booking; only its first is known to be due.
    """
    rows = (await conn.execute(_HEADS, {"operator": operator, "target": target, "items_max": items_max})).all()
    due_in_s = rows[0].lane_due_in_s
    return Heads(
        items=[_open_item(row) for row in rows if row.id is not None],
        due_in_s=None if due_in_s is None else float(due_in_s),
    )


def _open_item(row: Row[Any]) -> OpenItem:
    return OpenItem(
        id=row.id,
        state=row.state,
        attempts=row.attempts,
        due_in_s=float(row.due_in_s),
        sent_ago_s=None if row.sent_ago_s is None else float(row.sent_ago_s),
        burned=row.burned,
        item=replace(_item(row), known_id=row.known_id),
    )


def _item(row: Row[*tuple[Any, ...]]) -> OutboxItem:
    return OutboxItem(**{column.name: row._mapping[column.name] for column in _ITEM})  # noqa: SLF001 -- public in spite of its name


# An attempt that was none after all leaves the item as if it had not been made, unless there were others.
_RECORD: Final = text(
    """
    UPDATE outbox AS o
       SET state = c.state,
           due_at = clock_timestamp() + make_interval(secs => c.delay_s),
           attempts = greatest(o.attempts + c.attempt, 0),
           first_sent_at = CASE WHEN c.key IS NOT NULL OR (c.attempt < 0 AND o.attempts = 1) THEN NULL
                                WHEN c.attempt > 0 THEN coalesce(o.first_sent_at, clock_timestamp())
                                ELSE o.first_sent_at END,
           delivered_at = CASE WHEN c.state = 'delivered' THEN clock_timestamp() ELSE o.delivered_at END,
           fault = c.fault,
           remote_id = coalesce(c.remote_id, o.remote_id),
           burned = c.key IS NULL AND (o.burned OR c.burned),
           revision = coalesce(c.revision, o.revision),
           key = coalesce(c.key, o.key)
      FROM unnest(CAST(:id AS bigint[]), CAST(:was AS text[]), CAST(:state AS text[]), CAST(:delay_s AS float8[]),
                  CAST(:fault AS text[]), CAST(:remote_id AS text[]), CAST(:attempt AS int[]),
                  CAST(:burned AS boolean[]), CAST(:revision AS int[]), CAST(:key AS text[]))
           AS c (id, was, state, delay_s, fault, remote_id, attempt, burned, revision, key)
     WHERE o.operator = :operator AND o.id = c.id AND coalesce(o.state = c.was, true)
    RETURNING o.id, o.state,
              extract(epoch FROM clock_timestamp() - coalesce(o.booked_at, o.created_at)) AS lag_s
    """
)


async def record(conn: AsyncConnection, operator: str, changes: Sequence[Change]) -> list[Recorded]:
    """Write what became of items; return the changes that were made. The caller fences the transaction."""
    renewed = await _renewals(conn, operator, [change.id for change in changes if change.renewed])
    revisions = [renewed.get(change.id, (None, None)) for change in changes]
    rows = await conn.execute(
        _RECORD,
        {
            "operator": operator,
            "id": [change.id for change in changes],
            "was": [change.was for change in changes],
            "state": [change.state for change in changes],
            "delay_s": [change.delay_s for change in changes],
            "fault": [None if change.fault is None else change.fault[:FAULT_CHARS_MAX] for change in changes],
            "remote_id": [change.remote_id for change in changes],
            "attempt": [change.attempt for change in changes],
            "burned": [change.burned for change in changes],
            "revision": [revision for revision, _ in revisions],
            "key": [key for _, key in revisions],
        },
    )
    return [Recorded(id=row.id, state=row.state, lag_s=float(row.lag_s)) for row in rows]


async def _renewals(conn: AsyncConnection, operator: str, ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Return the revision and key under which each of the items goes on."""
    if not ids:
        return {}
    query = select(*_ITEM, outbox.c.id).where(outbox.c.operator == operator, outbox.c.id.in_(ids))
    rows = (await conn.execute(query)).all()
    found: dict[int, tuple[int, str]] = {}
    for target in {row.target for row in rows}:
        mine = [row for row in rows if row.target == target]
        revisions = await _next_revisions(conn, operator, target, [row.batch for row in mine])
        for row in mine:
            revision = revisions[row.batch]
            found[row.id] = (revision, _key(_item(row), revision))
    return found


def _key(item: OutboxItem, revision: int) -> str:
    return item_key(
        operator=item.operator, target=item.target, operation=item.operation, batch=item.batch, revision=revision
    )


async def _next_revisions(
    conn: AsyncConnection, operator: str, target: str, batches: Collection[str]
) -> Mapping[str, int]:
    """Return the first free revision of each batch: 0 where it was never made.

    Not a count of its contents: what is sent again by hand, or under a new key, takes a revision too.
    """
    query = (
        select(outbox.c.batch, func.max(outbox.c.revision).label("newest"))
        .where(outbox.c.operator == operator, outbox.c.target == target, outbox.c.batch.in_(batches))
        .group_by(outbox.c.batch)
    )
    return dict.fromkeys(batches, 0) | {row.batch: row.newest + 1 for row in await conn.execute(query)}


async def backlogs(conn: AsyncConnection, operator: str) -> list[Backlog]:
    """Return what each target that has anything open still has to get, by target."""
    oldest_s = func.extract("epoch", func.clock_timestamp() - func.min(outbox.c.created_at))
    query = (
        select(outbox.c.target, func.count().label("items"), oldest_s.label("oldest_s"))
        .where(outbox.c.operator == operator, outbox.c.state.in_(OPEN_STATES))
        .group_by(outbox.c.target)
        .order_by(outbox.c.target)
    )
    return [
        Backlog(target=row.target, items=row.items, oldest_s=float(row.oldest_s)) for row in await conn.execute(query)
    ]


async def list_deliveries(
    conn: AsyncConnection,
    operator: str,
    *,
    target: str | None = None,
    state: State | None = None,
    before: int | None = None,
    deliveries_max: int,
) -> list[Delivery]:
    """Return deliveries, newest first, without their payloads; `before` is the id of the last one already seen."""
    query = select(*_SHOWN).where(outbox.c.operator == operator)
    if target is not None:
        query = query.where(outbox.c.target == target)
    if state is not None:
        query = query.where(outbox.c.state == state)
    if before is not None:
        query = query.where(outbox.c.id < before)
    rows = await conn.execute(query.order_by(outbox.c.id.desc()).limit(deliveries_max))
    return [Delivery(**row._mapping) for row in rows]  # noqa: SLF001 -- public in spite of its name


async def show_delivery(conn: AsyncConnection, operator: str, delivery: int) -> Delivery:
    """Return one delivery with its payload. Raises BadInput (`not_found`)."""
    rows = await conn.execute(
        select(*_SHOWN, outbox.c.payload).where(outbox.c.operator == operator, outbox.c.id == delivery)
    )
    row = rows.one_or_none()
    if row is None:
        message = f"there is no delivery {delivery}; meter deliveries list shows them"
        raise BadInput(message, code="not_found")
    return Delivery(**row._mapping)  # noqa: SLF001 -- public in spite of its name


async def retry_dead(conn: AsyncConnection, operator: str, delivery: int) -> Delivery:
    """Return the new revision of a dead delivery: the same payload under a new key, pending; the old is superseded.

    Raises BadInput: `not_found`; `conflict` where the delivery is not dead, so that nothing is ever sent twice.
    """
    query = select(*_ITEM, outbox.c.id, outbox.c.state).where(outbox.c.operator == operator, outbox.c.id == delivery)
    row = (await conn.execute(query.with_for_update())).one_or_none()
    if row is None:
        message = f"there is no delivery {delivery}; meter deliveries list shows them"
        raise BadInput(message, code="not_found")
    if row.state != "dead":
        message = (
            f"delivery {delivery} is {row.state}; only dead ones are retried by hand, the others go on by themselves"
        )
        raise BadInput(message, code="conflict")
    revision = (await _next_revisions(conn, operator, row.target, [row.batch]))[row.batch]
    key = _key(_item(row), revision)
    await conn.execute(
        outbox.update().where(outbox.c.operator == operator, outbox.c.id == delivery).values(state="superseded")
    )
    await add_items(conn, [replace(_item(row), revision=revision, key=key)])
    made = await conn.execute(
        select(*_SHOWN, outbox.c.payload).where(outbox.c.operator == operator, outbox.c.key == key)
    )
    return Delivery(**made.one()._mapping)  # noqa: SLF001 -- public in spite of its name
