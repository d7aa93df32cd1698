"""The outbox as its lanes see it: what is due, what became of it, and what holds a whole lane back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.due import WAIT_S_MAX, due
from meter.store.outbox import (
    FAULT_CHARS_MAX,
    ITEM_COLUMNS,
    REMOTE_ID_CHARS_MAX,
    OutboxItem,
    State,
    item_of,
    next_revisions,
    revised,
    told,
)
from meter.store.tables import lanes, outbox

# Longer than a call: a lane that has said nothing for so long after it could go on does not run, or has nothing to do.
SAID_S_MAX: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """An item that is not yet settled. `due_in_s` is at most 0 where it may be worked on now, by the server's clock.

    Above `WAIT_S_MAX` that clock was set back since, and it may be worked on as well. `sent_ago_s` is how long ago it
    was first sent under its key (None: not yet; below 0: the clock was set back). `burned`: the key would only be
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
    """What becomes of an item: its new state, due again in `delay_s`, `WAIT_S_MAX` at most.

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


# A stream's head is found by one step along the index, so a lane costs what it has open streams, however long they
# are. Streams share a call: each gives as many items as there is room for. Whoever has been due longest comes first,
# so what is tried again and again stands behind what was not tried yet.
_HEADS: Final = text(
    f"""
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
          FROM heads WHERE state = 'sending' OR {due("due_at")}
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
    """  # noqa: S608 -- a constant
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


# Each by an index, and only until something is found.
_BUSY: Final = text(
    f"""
    SELECT w.target
      FROM unnest(CAST(:targets AS text[])) AS w (target)
      LEFT JOIN export_cursors AS c ON c.operator = :operator AND c.target = w.target
     WHERE EXISTS (SELECT 1 FROM charges AS b WHERE b.operator = :operator AND (b.xid, b.seq) > (c.xid, c.seq))
        OR EXISTS (SELECT 1 FROM entries AS b WHERE b.operator = :operator AND (b.xid, b.seq) > (c.xid, c.seq))
        OR EXISTS (SELECT 1 FROM export_buckets AS b
                    WHERE b.operator = :operator AND b.target = w.target AND b.dirty
                      AND b.due_at <= statement_timestamp())
        OR EXISTS (SELECT 1 FROM outbox AS o
                    WHERE o.operator = :operator AND o.target = w.target
                      AND o.state IN ('pending', 'sending', 'uncertain')
                      AND {due("o.due_at", clock="statement_timestamp()")})
    """  # noqa: S608 -- a constant
)


async def busy_targets(conn: AsyncConnection, operator: str, targets: Sequence[str]) -> set[str]:
    """Return those of the targets for which something was booked, or is due, that they may have left undone."""
    rows = await conn.execute(_BUSY, {"operator": operator, "targets": list(targets)})
    return set(rows.scalars())


def _open_item(row: Row[Any]) -> OpenItem:
    return OpenItem(
        id=row.id,
        state=row.state,
        attempts=row.attempts,
        due_in_s=float(row.due_in_s),
        sent_ago_s=None if row.sent_ago_s is None else float(row.sent_ago_s),
        burned=row.burned,
        item=replace(item_of(row), known_id=row.known_id),
    )


# An attempt that was none after all leaves the item as if it had not been made, unless there were others. What the
# target threw away while an attempt was under way is dead whatever that comes to, but for a key that nobody had yet.
_RECORD: Final = text(
    """
    UPDATE outbox AS o
       SET state = CASE WHEN c.key IS NULL AND o.rejected IS NOT NULL
                         AND c.state IN ('pending', 'uncertain', 'delivered') THEN 'dead' ELSE c.state END,
           due_at = clock_timestamp() + make_interval(secs => least(c.delay_s, :wait_s_max)),
           attempts = greatest(o.attempts + c.attempt, 0),
           first_sent_at = CASE WHEN c.key IS NOT NULL OR (c.attempt < 0 AND o.attempts = 1) THEN NULL
                                WHEN c.attempt > 0 THEN coalesce(o.first_sent_at, clock_timestamp())
                                ELSE o.first_sent_at END,
           delivered_at = CASE WHEN c.state = 'delivered' THEN clock_timestamp() ELSE o.delivered_at END,
           fault = CASE WHEN c.key IS NULL AND o.rejected IS NOT NULL
                         AND c.state IN ('pending', 'uncertain', 'delivered') THEN o.rejected ELSE c.fault END,
           rejected = CASE WHEN c.key IS NULL THEN o.rejected END,
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
              greatest(extract(epoch FROM clock_timestamp() - coalesce(o.booked_at, o.created_at)), 0) AS lag_s
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
            "wait_s_max": WAIT_S_MAX,
            "id": [change.id for change in changes],
            "was": [change.was for change in changes],
            "state": [change.state for change in changes],
            "delay_s": [change.delay_s for change in changes],
            "fault": [told(change.fault, FAULT_CHARS_MAX) for change in changes],
            "remote_id": [told(change.remote_id, REMOTE_ID_CHARS_MAX) for change in changes],
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
    query = select(*ITEM_COLUMNS, outbox.c.id).where(outbox.c.operator == operator, outbox.c.id.in_(ids))
    found: dict[int, tuple[int, str]] = {}
    for row in (await conn.execute(query)).all():
        item = item_of(row)
        revisions = await next_revisions(conn, operator, item.target, [item.batch])
        renewed = revised(item, revisions[item.batch])
        found[row.id] = (renewed.revision, renewed.key)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLane:
    """A target that is left alone for now, as its lane last said. `failing_since`: it counts as down since then."""

    target: str
    held_until: datetime
    failing_since: datetime | None
    fault: str


_HOLD: Final = text(
    """
    INSERT INTO lanes (operator, target, held_until, failing_since, fault)
    VALUES (:operator, :target, clock_timestamp() + make_interval(secs => :held_s),
            CASE WHEN :down THEN clock_timestamp() END, :fault)
    ON CONFLICT (operator, target) DO UPDATE
       SET held_until = EXCLUDED.held_until, fault = EXCLUDED.fault,
           failing_since = CASE WHEN :down THEN coalesce(lanes.failing_since, EXCLUDED.failing_since) END
    """
)


async def hold_lane(
    conn: AsyncConnection, operator: str, target: str, *, held_s: float, down: bool, fault: str
) -> None:
    """Tell other processes that a target is left alone for so long, and whether it counts as down."""
    said = told(fault, FAULT_CHARS_MAX)
    given = {"operator": operator, "target": target, "held_s": held_s, "down": down, "fault": said}
    await conn.execute(_HOLD, given)


async def free_lane(conn: AsyncConnection, operator: str, target: str) -> bool:
    """Tell other processes that a target is served; return whether it counted as down until now."""
    mine = (lanes.c.operator == operator, lanes.c.target == target)
    freed = await conn.execute(lanes.delete().where(*mine).returning(lanes.c.failing_since))
    return freed.scalar_one_or_none() is not None


async def held_lanes(conn: AsyncConnection, operator: str) -> list[HeldLane]:
    """Return the targets that are left alone, by name: what a lane has said that is still at work on it."""
    said_s = func.extract("epoch", func.clock_timestamp() - lanes.c.held_until)
    query = (
        select(lanes.c.target, lanes.c.held_until, lanes.c.failing_since, lanes.c.fault)
        .where(lanes.c.operator == operator, said_s < SAID_S_MAX)
        .order_by(lanes.c.target)
    )
    return [HeldLane(**row._mapping) for row in await conn.execute(query)]  # noqa: SLF001 -- public in spite of its name
