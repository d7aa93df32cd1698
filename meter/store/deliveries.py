"""The outbox as its readers see it: what waits, what became of it, and trying again what is dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Row, Update, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.lanes import HeldLane, held_lanes
from meter.store.outbox import (
    FAULT_CHARS_MAX,
    ITEM_COLUMNS,
    OPEN_STATES,
    OutboxItem,
    State,
    add_items,
    item_of,
    next_revisions,
    revised,
    told,
)
from meter.store.tables import outbox

# What makes the payload of a dead item anew: its bytes, and what is still unresolved in it (None: nothing is).
Renew: TypeAlias = Callable[[AsyncConnection, OutboxItem], Awaitable[tuple[bytes, str | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a target still has to get: how many items, and the age of the oldest in seconds."""

    target: str
    items: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One outbox item for its readers; `payload` only where one item is shown.

    `asked_by` had it made again by hand, at `created_at`: a key's id, or the command line.
    """

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
    asked_by: str | None
    payload: bytes | None = None


_UNSHOWN: Final = {"operator", "payload", "booked_at", "burned", "rejected"}
_SHOWN: Final = [column for column in outbox.c if column.name not in _UNSHOWN]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What became of dead deliveries: the ids of their new revisions, and why others are dead as before, by id."""

    made: Sequence[int]
    left: Mapping[int, str]


# Makes further revisions of deliveries, by id.
Make: TypeAlias = Callable[[AsyncConnection, str, Sequence[int]], Awaitable[Retried]]


async def retry_dead(
    conn: AsyncConnection, operator: str, deliveries: Sequence[int], *, by: str, renew: Renew | None = None
) -> Retried:
    """Make a new revision of each of the dead deliveries, pending under a new key; the old ones are superseded.

    The new ones say that it was asked for `by` a key (its id) or the command line.

    The payload is what `renew` makes of it (None: the same bytes); what it cannot resolve stays as it is, with the
    reason. Raises BadInput: `not_found`; `conflict` where one is not dead, so that nothing is ever sent twice.
    """
    rows = await locked(conn, operator, deliveries)
    _require_dead({row.id: row.state for row in rows})
    left: dict[int, str] = {}
    items: list[OutboxItem] = []
    for row in rows:
        item = replace(item_of(row), booked_at=row.booked_at or row.created_at)
        payload, unmet = (item.payload, None) if renew is None else await renew(conn, item)
        if unmet is None:
            items.append(replace(item, payload=payload))
        else:
            left[row.id] = told(unmet, FAULT_CHARS_MAX) or ""
    for id, reason in left.items():
        await conn.execute(_of(operator, [id]).values(fault=reason))
    await conn.execute(_of(operator, [row.id for row in rows if row.id not in left]).values(state="superseded"))
    return Retried(made=await add_revisions(conn, operator, items, by=by), left=left)


def _of(operator: str, ids: Sequence[int]) -> Update:
    return outbox.update().where(outbox.c.operator == operator, outbox.c.id.in_(ids))


async def locked(conn: AsyncConnection, operator: str, deliveries: Sequence[int]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the deliveries as rows with `ITEM_COLUMNS`, id, state and created_at, which nobody else changes meanwhile.

    Raises BadInput (`not_found`) where one of them is not there.
    """
    query = (
        select(*ITEM_COLUMNS, outbox.c.id, outbox.c.state, outbox.c.created_at)
        .where(outbox.c.operator == operator, outbox.c.id.in_(deliveries))
        .order_by(outbox.c.id)
        .with_for_update()
    )
    rows = (await conn.execute(query)).all()
    for delivery in sorted({*deliveries} - {row.id for row in rows}):
        message = f"there is no delivery {delivery}; meter deliveries list shows them"
        raise BadInput(message, code="not_found")
    return rows


def _require_dead(states: Mapping[int, State]) -> None:
    for delivery, state in states.items():
        if state != "dead":
            message = (
                f"delivery {delivery} is {state}; only dead ones are retried by hand, the others go on by themselves"
            )
            raise BadInput(message, code="conflict")


async def add_revisions(conn: AsyncConnection, operator: str, items: Sequence[OutboxItem], *, by: str) -> list[int]:
    """Add each of the items once more, asked for `by`, as a revision that is free, under a key of its own.

    Returns their ids.
    """
    free: dict[str, dict[str, int]] = {}
    for target in {item.target for item in items}:
        batches = {item.batch for item in items if item.target == target}
        free[target] = dict(await next_revisions(conn, operator, target, batches))
    made: list[OutboxItem] = []
    for item in items:
        revision = free[item.target][item.batch]
        free[item.target][item.batch] = revision + 1
        made.append(replace(revised(item, revision), asked_by=by))
    await add_items(conn, made)
    keys = [item.key for item in made]
    ids = await conn.execute(select(outbox.c.id).where(outbox.c.operator == operator, outbox.c.key.in_(keys)))
    return sorted(ids.scalars())


async def dead_deliveries(
    conn: AsyncConnection, operator: str, *, target: str | None = None, reason: str = ""
) -> list[int]:
    """Return the dead deliveries in the order in which they were made: of a target, with `reason` in their fault.

    Upper and lower case are the same.
    """
    query = select(outbox.c.id).where(outbox.c.operator == operator, outbox.c.state == "dead")
    if target is not None:
        query = query.where(outbox.c.target == target)
    if reason:
        query = query.where(func.coalesce(outbox.c.fault, "").icontains(reason, autoescape=True))
    return list((await conn.execute(query.order_by(outbox.c.id))).scalars())


async def deliveries_of(conn: AsyncConnection, operator: str, deliveries: Sequence[int]) -> list[Delivery]:
    """Return those of the deliveries that there are, without their payloads, in the order in which they were made."""
    query = select(*_SHOWN).where(outbox.c.operator == operator, outbox.c.id == _any(deliveries)).order_by(outbox.c.id)
    return [Delivery(**row._mapping) for row in await conn.execute(query)]  # noqa: SLF001 -- public in spite of its name


def _any(ids: Sequence[int]) -> ColumnElement[int]:
    """Return a condition's right side for any number of ids, which a list of parameters is not."""
    return func.any(bindparam("ids", ids, ARRAY(BigInteger)))


async def states_of(conn: AsyncConnection, operator: str, deliveries: Sequence[int]) -> dict[State, int]:
    """Return how many of the deliveries are in each state."""
    query = (
        select(outbox.c.state, func.count().label("items"))
        .where(outbox.c.operator == operator, outbox.c.id == _any(deliveries))
        .group_by(outbox.c.state)
    )
    return {row.state: row.items for row in await conn.execute(query)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSummary:
    """A target's deliveries by state. `oldest_at`: when the oldest open one was made (None: none is open).

    `held`: the target is left alone for now.
    """

    target: str
    states: Mapping[State, int]
    oldest_at: datetime | None
    held: HeldLane | None


async def summarize(conn: AsyncConnection, operator: str) -> list[TargetSummary]:
    """Return what every target has got and has still to get, by name. Counts the whole outbox."""
    query = (
        select(
            outbox.c.target, outbox.c.state, func.count().label("items"), func.min(outbox.c.created_at).label("oldest")
        )
        .where(outbox.c.operator == operator)
        .group_by(outbox.c.target, outbox.c.state)
    )
    states: dict[str, dict[State, int]] = {}
    oldest: dict[str, datetime] = {}
    for row in await conn.execute(query):
        states.setdefault(row.target, {})[row.state] = row.items
        if row.state in OPEN_STATES:
            oldest[row.target] = min(row.oldest, oldest.get(row.target, row.oldest))
    held = {lane.target: lane for lane in await held_lanes(conn, operator)}
    return [
        TargetSummary(target=target, states=states.get(target, {}), oldest_at=oldest.get(target), held=held.get(target))
        for target in sorted({*states, *held})
    ]
