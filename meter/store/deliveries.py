"""The outbox as its lanes and its readers see it: what is open, what became of it, what is dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.outbox import OutboxItem, add_items, item_key
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
# A target may answer with a page of HTML; a reason is for reading.
FAULT_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """An item that is not yet settled. `due_in_s` is at most 0 where it may be worked on now, by the server's clock."""

    id: int
    state: State
    attempts: int
    due_in_s: float
    item: OutboxItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of an item: its new state, due again in `delay_s`. `sent` marks that an attempt begins."""

    id: int
    state: State
    delay_s: float = 0.0
    fault: str | None = None
    remote_id: str | None = None
    sent: bool = False


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
    state: State
    attempts: int
    created_at: datetime
    due_at: datetime
    first_sent_at: datetime | None
    delivered_at: datetime | None
    remote_id: str | None
    fault: str | None
    payload: bytes | None = None


_ITEM: Final = [outbox.c[name] for name in ("operator", "target", "operation", "batch", "revision", "key", "payload")]
_SHOWN: Final = [column for column in outbox.c if column.name not in {"operator", "payload"}]


async def open_items(conn: AsyncConnection, operator: str, target: str, *, items_max: int) -> list[OpenItem]:
    """Return the first open items of a lane, in the order in which they were booked."""
    due_in_s = func.extract("epoch", outbox.c.due_at - func.clock_timestamp()).label("due_in_s")
    query = (
        select(outbox.c.id, outbox.c.state, outbox.c.attempts, due_in_s, *_ITEM)
        .where(outbox.c.operator == operator, outbox.c.target == target, outbox.c.state.in_(OPEN_STATES))
        .order_by(outbox.c.id)
        .limit(items_max)
    )
    return [
        OpenItem(id=row.id, state=row.state, attempts=row.attempts, due_in_s=float(row.due_in_s), item=_item(row))
        for row in await conn.execute(query)
    ]


def _item(row: Row[Any]) -> OutboxItem:
    return OutboxItem(**{column.name: row._mapping[column.name] for column in _ITEM})  # noqa: SLF001 -- public in spite of its name


_RECORD: Final = text(
    """
    UPDATE outbox AS o
       SET state = c.state,
           due_at = clock_timestamp() + make_interval(secs => c.delay_s),
           attempts = o.attempts + c.sent::int,
           first_sent_at = CASE WHEN c.sent THEN coalesce(o.first_sent_at, clock_timestamp()) ELSE o.first_sent_at END,
           delivered_at = CASE WHEN c.state = 'delivered' THEN clock_timestamp() ELSE o.delivered_at END,
           fault = c.fault,
           remote_id = coalesce(c.remote_id, o.remote_id)
      FROM unnest(CAST(:id AS bigint[]), CAST(:state AS text[]), CAST(:delay_s AS float8[]), CAST(:fault AS text[]),
                  CAST(:remote_id AS text[]), CAST(:sent AS boolean[]))
           AS c (id, state, delay_s, fault, remote_id, sent)
     WHERE o.operator = :operator AND o.id = c.id
    """
)


async def record(conn: AsyncConnection, operator: str, changes: Sequence[Change]) -> None:
    """Write what became of items. The caller holds the lane's lease and fences the transaction."""
    await conn.execute(
        _RECORD,
        {
            "operator": operator,
            "id": [change.id for change in changes],
            "state": [change.state for change in changes],
            "delay_s": [change.delay_s for change in changes],
            "fault": [None if change.fault is None else change.fault[:FAULT_CHARS_MAX] for change in changes],
            "remote_id": [change.remote_id for change in changes],
            "sent": [change.sent for change in changes],
        },
    )


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
    revision = row.revision + 1
    key = item_key(operator=operator, target=row.target, operation=row.operation, batch=row.batch, revision=revision)
    await conn.execute(
        outbox.update().where(outbox.c.operator == operator, outbox.c.id == delivery).values(state="superseded")
    )
    await add_items(
        conn,
        [
            OutboxItem(
                operator=operator,
                target=row.target,
                operation=row.operation,
                batch=row.batch,
                revision=revision,
                key=key,
                payload=row.payload,
            )
        ],
    )
    made = await conn.execute(
        select(*_SHOWN, outbox.c.payload).where(outbox.c.operator == operator, outbox.c.key == key)
    )
    return Delivery(**made.one()._mapping)  # noqa: SLF001 -- public in spite of its name
