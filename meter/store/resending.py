"""Sending again what a target was delivered and does not hold any more, each once (decision 0014).

    delivered ──by hand──▶ a further revision, uncertain, its key used up ──asked for──┬─ found ──▶ delivered
                                                                                       └─ absent ─▶ sent, a new key

So the lane looks for it before a byte of it leaves, by the rules that it has for whatever is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.deliveries import Renew, Retried, add_revisions, locked
from meter.store.outbox import OutboxItem, item_of
from meter.store.tables import outbox

_HELD: Final = ("delivered", "verified")
_WHY: Final = "to be sent again by hand; the target is asked for it first"


async def resend(
    conn: AsyncConnection, operator: str, deliveries: Sequence[int], *, by: str, renew: Renew | None = None
) -> Retried:
    """Have the targets asked for each of the deliveries, and those that they do not hold sent again.

    The new revisions say that it was asked for `by` a key (its id) or the command line. The payload is what `renew`
    makes of it (None: the same bytes); what it cannot resolve, or must not be sent again, is left, with the reason.
    Raises BadInput: `not_found`; `conflict` where one is not delivered, or another revision of its batch says by now
    what the target shall hold.
    """
    rows = await locked(conn, operator, deliveries)
    newest = await _newest(conn, operator, rows)
    left: dict[int, str] = {}
    items: list[OutboxItem] = []
    for row in rows:
        _require_newest(row, newest)
        item = item_of(row)
        # What it says was booked long ago: as a measure of lag it begins now.
        payload, unmet = (item.payload, None) if renew is None else await renew(conn, item)
        if unmet is None:
            items.append(replace(item, payload=payload, booked_at=None))
        else:
            left[row.id] = unmet
    made = await add_revisions(conn, operator, items, by=by)
    asked = outbox.update().where(outbox.c.operator == operator, outbox.c.id.in_(made))
    await conn.execute(asked.values(state="uncertain", burned=True, fault=_WHY))
    return Retried(made=made, left=left)


async def _newest(
    conn: AsyncConnection, operator: str, rows: Sequence[Row[*tuple[Any, ...]]]
) -> Mapping[tuple[str, str], tuple[int, str]]:
    """Return the id and state of the newest revision of each of the rows' batches, by target and batch."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for target in {row.target for row in rows}:
        query = (
            select(outbox.c.batch, outbox.c.id, outbox.c.state)
            .where(
                outbox.c.operator == operator,
                outbox.c.target == target,
                outbox.c.batch.in_({row.batch for row in rows if row.target == target}),
                outbox.c.state != "superseded",
            )
            .order_by(outbox.c.revision, outbox.c.id)
        )
        found |= {(target, row.batch): (row.id, row.state) for row in await conn.execute(query)}
    return found


def _require_newest(row: Row[*tuple[Any, ...]], newest: Mapping[tuple[str, str], tuple[int, str]]) -> None:
    if row.state not in _HELD:
        message = f"delivery {row.id} is {row.state}; only what was delivered is sent again, dead ones by retry"
        raise BadInput(message, code="conflict")
    id, state = newest[row.target, row.batch]
    if id != row.id:
        message = f"delivery {row.id} was followed by {id}, which is {state} and says what the target shall hold"
        raise BadInput(message, code="conflict")
