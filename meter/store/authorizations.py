"""Authorisations as rows: who asked for what, what was answered, what became of it (decision 0016).

       ┌──────── event that names it ───────▶ settled
open ──┼──────── the asker lets it go ──────▶ released ──┐
       └──────── nobody does anything ──────▶ expired ───┴── event that names it ──▶ settled, late
refused ──────── an event may name it, too, and is noted
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.model.event import EventKey, Json
from meter.store.entry import Entry
from meter.store.tables import authorizations as table

# The CloudEvents extension by which an event says which authorisation it settles.
EXTENSION: Final = "authorization"
State: TypeAlias = Literal["open", "settled", "released", "expired", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An ask with its answer. `account` and `member` None: nobody answers for the identity.

    `expires_at`: up to when it reserves what was allowed. `answer` is what was said, as JSON. `settled_by`: the first
    event that named it, stored at `settled_at`.
    """

    id: str
    digest: bytes
    account: str | None
    member: str | None
    identity: str
    site: str
    meter: str
    event_type: str
    quantity: Decimal
    dimensions: Mapping[str, Json]
    data: Mapping[str, Json]
    allowed: bool
    answer: Mapping[str, Json]
    asked_at: datetime
    expires_at: datetime
    key: str
    settled_at: datetime | None = None
    settled_by: EventKey | None = None
    released_at: datetime | None = None

    def state(self, at: datetime) -> State:
        """Return what has become of it by `at`."""
        if not self.allowed:
            return "refused"
        if self.settled_at is not None:
            return "settled"
        if self.released_at is not None:
            return "released"
        return "open" if at < self.expires_at else "expired"

    @property
    def late(self) -> bool:
        """Tell whether its event came when nothing was reserved any more."""
        if self.settled_at is None:
            return False
        return not self.allowed or self.released_at is not None or self.settled_at >= self.expires_at


class Settled(NamedTuple):
    """How many authorisations events have settled, and how many of these too late."""

    total: int
    late: int


# Two asks of one account would each see the last credit free; keys of other locks are made of other texts.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")
# Locked in the order of ids: overlapping batches in other orders deadlock.
_SETTLE: Final = text(
    """
    WITH named AS (
        SELECT DISTINCT ON (g.authorization_id) g.authorization_id, g.source, g.id
          FROM unnest(CAST(:authorizations AS text[]), CAST(:sources AS text[]), CAST(:ids AS text[]),
                      CAST(:sites AS text[]), CAST(:types AS text[]))
            AS g (authorization_id, source, id, site, type)
          JOIN authorizations AS a ON a.operator = :operator AND a.id = g.authorization_id AND a.site = g.site
           AND a.event_type = g.type AND a.settled_at IS NULL
         ORDER BY g.authorization_id, g.source, g.id
    ), held AS (
        SELECT a.id FROM authorizations AS a JOIN named AS n ON a.id = n.authorization_id
         WHERE a.operator = :operator ORDER BY a.id FOR UPDATE OF a
    )
    UPDATE authorizations AS a SET settled_at = :at, settled_source = n.source, settled_id = n.id
      FROM named AS n JOIN held AS h ON h.id = n.authorization_id
     WHERE a.operator = :operator AND a.id = n.authorization_id AND a.settled_at IS NULL
    RETURNING NOT a.allowed OR a.released_at IS NOT NULL OR a.expires_at <= :at AS late
    """
)


# Within a day before the answer: an agent's clock may have been wrong.
_STORED: Final = text(
    """
    SELECT e.source, e.id, e.received_at FROM events AS e
     WHERE e.operator = :operator AND e.subject = ANY(CAST(:subjects AS text[])) AND e.time >= :since
       AND e.type = :type AND e.site = :site AND e.attributes ->> 'authorization' = :id
       AND NOT EXISTS (SELECT 1 FROM held_events AS h
                        WHERE h.operator = e.operator AND h.source = e.source AND h.id = e.id)
     ORDER BY e.received_at, e.source, e.id LIMIT 1
    """
)


# A subquery of the DELETE's could be asked for each row anew, and would then find other rows each time. What an event
# settles meanwhile stays for another while.
_FORGET: Final = text(
    """
    WITH oldest AS MATERIALIZED (
        SELECT id FROM authorizations
         WHERE operator = :operator AND asked_at < :before AND expires_at < :before
           AND (settled_at IS NULL OR settled_at < :before)
         ORDER BY asked_at, id LIMIT :rows_max
           FOR UPDATE SKIP LOCKED
    )
    DELETE FROM authorizations AS a USING oldest WHERE a.operator = :operator AND a.id = oldest.id
    """
)


async def lock_account(conn: AsyncConnection, operator: str, account: str) -> None:
    """Wait until no other transaction asks for the account, and keep others waiting until this one ends."""
    digest = sha256(repr(("authorizations", operator, account)).encode()).digest()
    await conn.execute(_LOCK, {"key": int.from_bytes(digest[:8], "big", signed=True)})


async def find_authorization(conn: AsyncConnection, operator: str, name: str) -> Authorization | None:
    """Return the authorisation of that id."""
    row = (await conn.execute(select(table).where(table.c.operator == operator, table.c.id == name))).one_or_none()
    return None if row is None else _of(row)


async def open_reservations(
    conn: AsyncConnection, operator: str, account: str, *, at: datetime, rows_max: int
) -> list[Authorization]:
    """Return what is reserved of the account at `at`, in the order in which it was asked for."""
    query = (
        select(table)
        .where(table.c.operator == operator, table.c.account == account, _open(at))
        .order_by(table.c.asked_at, table.c.id)
        .limit(rows_max)
    )
    return [_of(row) for row in await conn.execute(query)]


async def settlements(conn: AsyncConnection, operator: str, names: Collection[str]) -> dict[str, EventKey]:
    """Return the events by which those of the authorisations were settled that are by now."""
    if not names:
        return {}
    query = select(table.c.id, table.c.settled_source, table.c.settled_id).where(
        table.c.operator == operator, table.c.id.in_(sorted(names)), table.c.settled_at.is_not(None)
    )
    return {row.id: EventKey(row.settled_source, row.settled_id) for row in await conn.execute(query)}


async def keep_authorization(conn: AsyncConnection, operator: str, new: Authorization) -> None:
    """Keep a new authorisation. Raises IntegrityError where the id is taken."""
    values = {name: getattr(new, name) for name in _PLAIN}
    await conn.execute(insert(table).values(operator=operator, **values))


async def release_authorization(
    conn: AsyncConnection, operator: str, name: str, *, at: datetime
) -> Authorization | None:
    """Return the authorisation, released if it was open; None where there is none of that id."""
    mine = and_(table.c.operator == operator, table.c.id == name)
    await conn.execute(update(table).where(mine, _open(at)).values(released_at=at))
    return await find_authorization(conn, operator, name)


async def list_authorizations(
    conn: AsyncConnection,
    operator: str,
    *,
    account: str | None = None,
    site: str | None = None,
    open_at: datetime | None = None,
    unused_at: datetime | None = None,
    offline: bool = False,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Authorization]:
    """Return authorisations, the newest first.

    `open_at`: those alone that reserve something then; `unused_at`: those that had expired by then without an event;
    `offline`: those that an agent answered by itself.
    """
    terms: list[ColumnElement[bool]] = [table.c.operator == operator]
    if account is not None:
        terms.append(table.c.account == account)
    if site is not None:
        terms.append(table.c.site == site)
    if open_at is not None:
        terms.append(_open(open_at))
    if unused_at is not None:
        terms.append(_unused(unused_at))
    if offline:
        terms.append(table.c.answer["offline"].as_boolean())
    if before is not None:
        terms.append(or_(table.c.asked_at < before[0], and_(table.c.asked_at == before[0], table.c.id < before[1])))
    query = select(table).where(*terms).order_by(table.c.asked_at.desc(), table.c.id.desc()).limit(limit)
    return [_of(row) for row in await conn.execute(query)]


async def settle(conn: AsyncConnection, operator: str, entries: Sequence[Entry], *, at: datetime) -> Settled:
    """Settle what new events name: each by its first event of the right type at its site. Most events name nothing.

    One ahead of the clock settles nothing, for no fold sees it yet.
    """
    named = [
        (str(name), entry)
        for entry in entries
        if not entry.held and (name := (entry.event.attributes or {}).get(EXTENSION)) is not None
    ]
    if not named:
        return Settled(0, 0)
    rows = await conn.execute(
        _SETTLE,
        {
            "operator": operator,
            "at": at,
            "authorizations": [name for name, _ in named],
            "sources": [entry.event.source for _, entry in named],
            "ids": [entry.event.id for _, entry in named],
            "sites": [entry.event.site for _, entry in named],
            "types": [entry.event.type for _, entry in named],
        },
    )
    late = [row.late for row in rows]
    return Settled(len(late), sum(late))


async def settle_by_stored(
    conn: AsyncConnection, operator: str, told: Authorization, *, subjects: Collection[str]
) -> Authorization:
    """Return one that was answered before it is told, settled where its event came first; `subjects`: whose it is."""
    given = {"operator": operator, "subjects": sorted(subjects), "since": told.asked_at - timedelta(days=1)}
    given |= {"type": told.event_type, "site": told.site, "id": told.id}
    row = (await conn.execute(_STORED, given)).one_or_none()
    if row is None:
        return told
    await conn.execute(
        update(table)
        .where(table.c.operator == operator, table.c.id == told.id)
        .values(settled_at=row.received_at, settled_source=row.source, settled_id=row.id)
    )
    return replace(told, settled_at=row.received_at, settled_by=EventKey(row.source, row.id))


def digest_of(asked: str) -> bytes:
    """Return what is kept of an ask's text to tell a repetition by."""
    return sha256(asked.encode()).digest()


def not_known(name: str) -> BadInput:
    """Return what is said of an id that is nobody's, or not for the asker to know."""
    return BadInput(f"there is no authorization {name[:60]!r}", code="not_found")


async def forget_closed(conn: AsyncConnection, operator: str, *, before: datetime, rows_max: int) -> int:
    """Remove authorisations, the oldest, that were over before an instant, and return how many it was.

    An ask that comes again after that is a new one, and an event that names one that is gone settles nothing.
    """
    gone = await conn.execute(_FORGET, {"operator": operator, "before": before, "rows_max": rows_max})
    return gone.rowcount


def _open(at: datetime) -> ColumnElement[bool]:
    return and_(table.c.allowed, table.c.settled_at.is_(None), table.c.released_at.is_(None), table.c.expires_at > at)


def _unused(at: datetime) -> ColumnElement[bool]:
    return and_(table.c.allowed, table.c.settled_at.is_(None), table.c.released_at.is_(None), table.c.expires_at <= at)


_PLAIN: Final = (
    *("id", "digest", "account", "member", "identity", "site", "meter", "event_type", "quantity", "dimensions", "data"),
    *("allowed", "answer", "asked_at", "expires_at", "key"),
)


def _of(row: Row[Any]) -> Authorization:
    return Authorization(
        **{name: getattr(row, name) for name in _PLAIN},
        settled_at=row.settled_at,
        settled_by=None if row.settled_at is None else EventKey(row.settled_source, row.settled_id),
        released_at=row.released_at,
    )
