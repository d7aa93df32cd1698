"""What the rating worker reads and writes beside events and charges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.charge import Charge
from meter.model.event import EventKey, Position, UsageEvent
from meter.store.bulk import columns_of, insert_many, insert_rows
from meter.store.charge_rows import charge_row
from meter.store.due import due
from meter.store.engine import encode_json
from meter.store.tables import charges, draws, rating_cursors, unresolved
from meter.store.usage import BEGINNING, Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Refold:
    """A request: the account may differ from `since` on. `waited_s`: for so long it has been due."""

    id: int
    account: str
    since: datetime
    reason: str
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A stored state of an account's fold (the JSON of `AccountState`)."""

    account: str
    position: Position
    state: dict[str, Any]


async def share_facts_version(connection: AsyncConnection, operator: str) -> int | None:
    """Return the version of the operator's facts and keep it from changing until the transaction ends."""
    row = await connection.execute(
        text("SELECT facts_version FROM operators WHERE operator = :operator FOR SHARE"), {"operator": operator}
    )
    version: int | None = row.scalar_one_or_none()
    return version


async def oldest_running(connection: AsyncConnection) -> int:
    """Return the transaction id below which everything is settled: a later statement sees all of it."""
    row = await connection.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())"))
    return int(row.scalar_one())


async def allow_pause(connection: AsyncConnection, seconds: int) -> None:
    """Let the transaction ask for nothing for so long without being ended: a long history is being folded."""
    await connection.execute(
        text("SELECT set_config('idle_in_transaction_session_timeout', :limit, true)"), {"limit": f"{seconds}s"}
    )


# --- cursors ----------------------------------------------------------------------------------------------------------


async def read_cursors(connection: AsyncConnection, operator: str, shards: Collection[int]) -> dict[int, Cursor]:
    """Return how far each shard has read the tail of events."""
    rows = await connection.execute(
        text("SELECT shard, xid, seq FROM rating_cursors WHERE operator = :operator"), {"operator": operator}
    )
    found = {row.shard: Cursor(row.xid, row.seq) for row in rows}
    return {shard: found.get(shard, BEGINNING) for shard in shards}


async def write_cursors(connection: AsyncConnection, operator: str, shards: Iterable[int], cursor: Cursor) -> None:
    """Say that the shards have read up to `cursor`."""
    statement = insert(rating_cursors).values(
        [{"operator": operator, "shard": shard, "xid": cursor.xid, "seq": cursor.seq} for shard in sorted(shards)]
    )
    await connection.execute(
        statement.on_conflict_do_update(
            constraint=rating_cursors.primary_key,
            set_={"xid": statement.excluded.xid, "seq": statement.excluded.seq},
        )
    )


# --- requests to fold again -------------------------------------------------------------------------------------------


async def due_refolds(connection: AsyncConnection, operator: str, *, rows_max: int) -> list[Refold]:
    """Return the oldest requests that are due."""
    rows = await connection.execute(
        text(
            "SELECT id, account, since, reason,"  # noqa: S608 -- a constant
            " greatest(extract(epoch FROM clock_timestamp() - due_at), 0) AS waited_s"
            f" FROM refolds WHERE operator = :operator AND {due('due_at')} ORDER BY id LIMIT :rows_max"
        ),
        {"operator": operator, "rows_max": rows_max},
    )
    # The driver gives "since always" as an instant without a zone, which compares with no other.
    return [
        Refold(
            id=row.id,
            account=row.account,
            since=row.since if row.since.tzinfo else row.since.replace(tzinfo=UTC),
            reason=row.reason,
            waited_s=float(row.waited_s),
        )
        for row in rows
    ]


async def delete_refolds(connection: AsyncConnection, operator: str, ids: Collection[int]) -> None:
    """Forget requests that the transaction fulfils."""
    if ids:
        await connection.execute(
            text("DELETE FROM refolds WHERE operator = :operator AND id = ANY(CAST(:ids AS bigint[]))"),
            {"operator": operator, "ids": sorted(ids)},
        )


async def request_refold(
    connection: AsyncConnection, operator: str, *, account: str, since: datetime, reason: str, delay_s: int = 0
) -> None:
    """Ask that the account is folded again from `since` on, after a delay; once, however often it is asked."""
    await connection.execute(
        text(
            "INSERT INTO refolds (operator, account, since, reason, due_at)"
            " SELECT :operator, :account, :since, :reason, clock_timestamp() + make_interval(secs => :delay_s)"
            " WHERE NOT EXISTS (SELECT 1 FROM refolds AS r WHERE r.operator = :operator AND r.account = :account"
            " AND r.reason = :reason AND r.since <= :since)"
        ),
        {"operator": operator, "account": account, "since": since, "reason": reason, "delay_s": delay_s},
    )


async def request_refolds(
    connection: AsyncConnection, operator: str, since: Mapping[str, datetime], *, reason: str
) -> None:
    """Ask the same of several accounts, now and in this order."""
    if since:
        await connection.execute(
            text(
                "INSERT INTO refolds (operator, account, since, reason)"
                " SELECT :operator, g.account, g.since, :reason"
                " FROM unnest(CAST(:accounts AS text[]), CAST(:since AS timestamptz[]))"
                " WITH ORDINALITY AS g (account, since, n)"
                " WHERE NOT EXISTS (SELECT 1 FROM refolds AS r WHERE r.operator = :operator"
                " AND r.account = g.account AND r.reason = :reason AND r.since <= g.since) ORDER BY g.n"
            ),
            {
                "operator": operator,
                "accounts": list(since),
                "since": list(since.values()),
                "reason": reason,
            },
        )


# --- held and parked events -------------------------------------------------------------------------------------------


async def any_held_due(connection: AsyncConnection, operator: str, now: datetime) -> bool:
    """Tell whether the clock has reached the time of a held event."""
    row = await connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM held_events WHERE operator = :operator AND time <= :now)"),
        {"operator": operator, "now": now},
    )
    return bool(row.scalar_one())


async def release_held(connection: AsyncConnection, operator: str, now: datetime, *, events_max: int) -> list[EventKey]:
    """Let in the held events whose time the clock has reached, and return their keys."""
    rows = await connection.execute(
        text(
            "DELETE FROM held_events WHERE operator = :operator AND (source, id) IN ("
            " SELECT source, id FROM held_events WHERE operator = :operator AND time <= :now"
            " ORDER BY time LIMIT :events_max) RETURNING source, id"
        ),
        {"operator": operator, "now": now, "events_max": events_max},
    )
    return [EventKey(row.source, row.id) for row in rows]


async def park(connection: AsyncConnection, operator: str, events: Iterable[tuple[UsageEvent, str | None]]) -> None:
    """List events that nobody answers for, with the identity that nobody claims ("" where there is none)."""
    rows = [
        {
            "operator": operator,
            "source": event.source,
            "id": event.id,
            "identity": identity or "",
            "time": event.time,
            "site": event.site,
            "type": event.type,
        }
        for event, identity in sorted(events, key=lambda pair: pair[0].key)
    ]
    if rows:
        parameters = columns_of(unresolved, rows)
        await connection.execute(
            insert_many(unresolved, tuple(parameters), "ON CONFLICT (operator, source, id) DO NOTHING"), parameters
        )


async def unpark(connection: AsyncConnection, operator: str, keys: Collection[EventKey]) -> None:
    """Take events off the list of the unresolved."""
    if keys:
        ordered = sorted(keys)
        await connection.execute(
            text(
                "DELETE FROM unresolved AS u USING unnest(CAST(:sources AS text[]), CAST(:ids AS text[]))"
                " AS k (source, id) WHERE u.operator = :operator AND u.source = k.source AND u.id = k.id"
            ),
            {"operator": operator, "sources": [key.source for key in ordered], "ids": [key.id for key in ordered]},
        )


# --- checkpoints ------------------------------------------------------------------------------------------------------

_CHECKPOINTS: Final = text(
    """
    SELECT DISTINCT ON (c.account) c.account, c.time, c.source, c.id, c.state
      FROM checkpoints AS c
      JOIN unnest(CAST(:accounts AS text[]), CAST(:since AS timestamptz[])) AS w (account, since)
        ON c.account = w.account AND c.time < w.since
     WHERE c.operator = :operator AND c.format = :format
     ORDER BY c.account, c.time DESC, c.source DESC, c.id DESC
    """
)


async def checkpoints_before(
    connection: AsyncConnection, operator: str, since: Mapping[str, datetime], *, state_format: int
) -> dict[str, Checkpoint]:
    """Return the newest checkpoint of each account that lies wholly before the instant given for it."""
    rows = await connection.execute(
        _CHECKPOINTS,
        {
            "operator": operator,
            "accounts": list(since),
            "since": list(since.values()),
            "format": state_format,
        },
    )
    return {
        row.account: Checkpoint(account=row.account, position=Position(row.time, row.source, row.id), state=row.state)
        for row in rows
    }


async def replace_checkpoints(
    connection: AsyncConnection,
    operator: str,
    *,
    stale_since: Mapping[str, datetime],
    fresh: Sequence[Checkpoint],
    state_format: int,
) -> None:
    """Delete the checkpoints that a late fact made wrong, and keep new ones."""
    if stale_since:
        await connection.execute(
            text(
                "DELETE FROM checkpoints AS c USING unnest(CAST(:accounts AS text[]), CAST(:since AS timestamptz[]))"
                " AS s (account, since) WHERE c.operator = :operator AND c.account = s.account AND c.time >= s.since"
            ),
            {"operator": operator, "accounts": list(stale_since), "since": list(stale_since.values())},
        )
    if fresh:
        await connection.execute(
            text(
                "INSERT INTO checkpoints (operator, account, time, source, id, format, state)"
                " VALUES (:operator, :account, :time, :source, :id, :format, CAST(:state AS jsonb))"
                " ON CONFLICT (operator, account, time, source, id)"
                " DO UPDATE SET state = excluded.state, format = excluded.format"
            ),
            [
                {
                    "operator": operator,
                    "account": checkpoint.account,
                    **checkpoint.position._asdict(),
                    "format": state_format,
                    "state": encode_json(checkpoint.state),
                }
                for checkpoint in fresh
            ],
        )


# --- the books --------------------------------------------------------------------------------------------------------


async def insert_charges(connection: AsyncConnection, operator: str, booked: Sequence[Charge]) -> None:
    """Append charges and their draws, in the order given, which is the order of booking."""
    await insert_rows(connection, charges, [charge_row(operator, charge) for charge in booked])
    rows = [
        {
            "operator": operator,
            "charge": charge.id,
            "n": n,
            "account": charge.line.account,
            "event_time": charge.line.key.time,
            "grant": draw.grant,
            "unit": draw.unit,
            "amount": draw.amount,
        }
        for charge in booked
        for n, draw in enumerate(charge.line.draws)
    ]
    await insert_rows(connection, draws, rows)
