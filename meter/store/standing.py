"""What of an account is stored and not yet booked, and what its booked lines come to: for whoever asks first."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import AMENDED, SALE, VOIDED, Position
from meter.model.period import Period

# Behind the cursor that every shard has passed. A revision may be of anything: what it reaches counts as changed. Of
# several events on one thing the last one counts, so an earlier one may fall.
_UNRATED: Final = text(
    f"""
    WITH behind AS (
        SELECT c.xid, c.seq FROM rating_cursors AS c WHERE c.operator = :operator ORDER BY c.xid, c.seq LIMIT 1
    ), fresh AS (
        SELECT e.* FROM events AS e
         WHERE e.operator = :operator
           AND (e.xid, e.seq) > (coalesce((SELECT CAST(CAST(xid AS text) AS xid8) FROM behind), CAST('0' AS xid8)),
                                 coalesce((SELECT seq FROM behind), 0))
           AND (e.subject = ANY(CAST(:subjects AS text[])) OR e.type IN ('{VOIDED}', '{AMENDED}')
                OR e.type = '{SALE}' AND e.site = ANY(CAST(:sites AS text[])))
    )
    SELECT min(f.time), min(k.time), min(again.time), min(t.time),
           (SELECT min(r.since) FROM refolds AS r WHERE r.operator = :operator AND r.account = :account)
      FROM fresh AS f
      LEFT JOIN revisions AS r ON r.operator = f.operator AND r.source = f.source AND r.id = f.id
      LEFT JOIN event_keys AS k
        ON k.operator = r.operator AND k.source = r.target_source AND k.id = r.target_id
      LEFT JOIN revisions AS other ON other.operator = k.operator AND other.source = k.source AND other.id = k.id
      LEFT JOIN event_keys AS again
        ON again.operator = other.operator AND again.source = other.target_source AND again.id = other.target_id
      LEFT JOIN events AS t
        ON t.operator = f.operator AND t.thing = f.thing AND t.source = f.source AND t.type = f.type
    """  # noqa: S608 -- constants of the model
)
_BOOKED: Final = text(
    """
    SELECT coalesce(sum(quantity), 0) AS quantity, coalesce(sum(amount), 0) AS amount
      FROM charges
     WHERE operator = :operator AND account = :account AND meter = :meter AND source <> '' AND settlement = 'account'
       AND event_time >= :start AND event_time < :end AND (event_time, source, event_id) <= (:time, :source, :id)
       AND (CAST(:member AS text) IS NULL OR member = :member)
    """
)


async def unrated_since(
    conn: AsyncConnection, operator: str, account: str, *, subjects: Collection[str], sites: Collection[str]
) -> datetime | None:
    """Return the earliest instant from which the account's books may differ from the log; None: nothing waits.

    `sites`: whose sales to unknown guests are the account's.
    """
    given = {"operator": operator, "account": account, "subjects": sorted(subjects), "sites": sorted(sites)}
    row = (await conn.execute(_UNRATED, given)).one()
    # The driver gives "since always" as an instant without a zone, which compares with no other.
    found = [one if one.tzinfo is not None else one.replace(tzinfo=UTC) for one in row if one is not None]
    return min(found, default=None)


async def booked_until(
    conn: AsyncConnection,
    operator: str,
    account: str,
    *,
    meter: str,
    member: str | None,
    span: Period,
    until: Position,
) -> tuple[Decimal, Decimal]:
    """Return quantity and amount of the account's usage of a meter in `span`, as booked up to a place, corrections in.

    `member` None: whoever's. Without what falls due by itself and what was paid at the till.
    """
    row = (
        await conn.execute(
            _BOOKED,
            {
                "operator": operator,
                "account": account,
                "meter": meter,
                "member": member,
                "start": span.start,
                "end": span.end,
                **until._asdict(),
            },
        )
    ).one()
    return row.quantity, row.amount
