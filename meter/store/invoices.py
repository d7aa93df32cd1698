"""What targets say of the invoices that they hold, applied with the event that says it (decision 0014).

    invoice.status ─▶ invoices: the latest by the target's clock, then the state that is further on
                   └▶ outbox: what was delivered to an invoice that is final is verified
    export.refused ─▶ outbox: what was taken and thrown away afterwards is dead, and can be retried

So the state depends on no order of arrival, and an event that comes twice is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.log import log
from meter.model.event import EXPORT_REFUSED, INVOICE_STATUS
from meter.model.instant import parse_instant
from meter.store.bulk import columns_of, insert_many
from meter.store.entry import Entry
from meter.store.outbox import FAULT_CHARS_MAX
from meter.store.tables import accounts, invoices

InvoiceStatus: TypeAlias = Literal["draft", "open", "failed", "paid", "uncollectible", "void", "deleted"]
# Of two states of one second the later in this order counts.
STATUSES: Final[tuple[InvoiceStatus, ...]] = ("draft", "open", "failed", "uncollectible", "paid", "void", "deleted")
_FINAL: Final = frozenset({"open", "failed", "uncollectible", "paid"})
_COLUMNS: Final = tuple(column.name for column in invoices.c)
_UPSERT: Final = insert_many(
    invoices,
    _COLUMNS,
    "ON CONFLICT (operator, target, remote_id) DO UPDATE SET "
    + ", ".join(f'"{name}" = excluded."{name}"' for name in _COLUMNS if name not in {"operator", "target", "remote_id"})
    + " WHERE (excluded.changed_at, excluded.rank, excluded.event_id)"
    " > (invoices.changed_at, invoices.rank, invoices.event_id)",
)
# A delivery's remote id is the invoice's, or begins with it: `in_1/ii_2`. Item ids are of lines that were pending.
# Not by LIKE, which no index serves behind the walls: it is not leakproof (decision 0018).
_VERIFY: Final = text(
    """
    UPDATE outbox
       SET state = 'verified'
     WHERE operator = :operator AND target = :target AND state = 'delivered'
       AND (remote_id = :remote_id OR remote_id ^@ CAST(:prefix AS text) OR remote_id = ANY(CAST(:items AS text[])))
    """
)
# Whoever throws something away under a key has had it, whatever we know of that by now. While an attempt is under way
# the item is the lane's, which finds the reason when it records what that came to (`meter.store.lanes.record`).
_REFUSE: Final = text(
    """
    UPDATE outbox
       SET state = CASE WHEN state = 'sending' THEN state ELSE 'dead' END,
           fault = CASE WHEN state = 'sending' THEN fault ELSE :reason END,
           rejected = :reason
     WHERE operator = :operator AND target = :target AND key = :key
       AND state IN ('pending', 'sending', 'uncertain', 'delivered')
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice as its target says it stands. `changed_at` is by the target's clock."""

    target: str
    remote_id: str
    invoice: str | None
    account: str | None
    number: str | None
    status: InvoiceStatus
    currency: str
    total: Decimal
    amount_due: Decimal
    amount_paid: Decimal
    url: str | None
    start: datetime | None
    end: datetime | None
    changed_at: datetime


async def note_invoices(conn: AsyncConnection, operator: str, entries: Sequence[Entry]) -> None:
    """Apply what new events of targets say. Only such as came from the vendor itself."""
    told = [entry for entry in entries if entry.event.type == INVOICE_STATUS]
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in told:
        row = await _row(conn, operator, entry)
        key = (row["target"], row["remote_id"])
        if key not in newest or _rank(newest[key]) < _rank(row):
            newest[key] = row
    if newest:
        # Sorted, so that two batches never wait for each other in a ring.
        await conn.execute(_UPSERT, columns_of(invoices, [newest[key] for key in sorted(newest)]))
    for entry in told:
        await _verify(conn, operator, entry.event.data)
    refused = 0
    for entry in entries:
        if entry.event.type == EXPORT_REFUSED:
            data = entry.event.data
            given = {"target": data["target"], "key": data["key"], "reason": str(data["reason"])[:FAULT_CHARS_MAX]}
            refused += (await conn.execute(_REFUSE, {"operator": operator, **given})).rowcount
    if refused:
        log.warning("deliveries_thrown_away", count=refused, remedy="see meter deliveries --state dead")


async def _row(conn: AsyncConnection, operator: str, entry: Entry) -> dict[str, Any]:
    data = entry.event.data
    told = {name: data.get(name) for name in ("invoice", "number", "url")}
    return {
        "operator": operator,
        "target": str(data["target"]),
        "remote_id": str(data["remote_id"]),
        **told,
        "account": data.get("account") or await _account_of(conn, operator, data),
        "status": str(data["status"]),
        "currency": str(data["currency"]),
        **{name: Decimal(str(data[name])) for name in ("total", "amount_due", "amount_paid")},
        **{name: None if data.get(name) is None else parse_instant(str(data[name])) for name in ("start", "end")},
        "changed_at": entry.time,
        "rank": STATUSES.index(data["status"]),
        "event_id": entry.event.id,
    }


def _rank(row: Mapping[str, Any]) -> tuple[datetime, int, str]:
    return row["changed_at"], row["rank"], row["event_id"]


async def _account_of(conn: AsyncConnection, operator: str, data: Mapping[str, Any]) -> str | None:
    """Return whose customer it is by the directory, for an invoice that the target did not make for us."""
    customer = data.get("customer")
    if customer is None:
        return None
    names = (str(data["target"]), str(data.get("vendor", "")))
    known = or_(*(accounts.c.external[name].astext == str(customer) for name in names if name))
    query = select(accounts.c.account).where(accounts.c.operator == operator, known).order_by(accounts.c.account)
    found = (await conn.execute(query.limit(1))).scalar_one_or_none()
    return None if found is None else str(found)


async def _verify(conn: AsyncConnection, operator: str, data: Mapping[str, Any]) -> None:
    if data["status"] not in _FINAL:
        return
    remote_id = str(data["remote_id"])
    await conn.execute(
        _VERIFY,
        {
            "operator": operator,
            "target": data["target"],
            "remote_id": remote_id,
            "prefix": f"{remote_id}/",
            "items": [str(item) for item in data.get("items") or ()],
        },
    )


async def list_invoices(
    conn: AsyncConnection,
    operator: str,
    *,
    account: str | None = None,
    status: InvoiceStatus | None = None,
    invoices_max: int,
) -> list[Invoice]:
    """Return invoices, the one that changed last first."""
    shown = [invoices.c[one.name] for one in fields(Invoice)]
    query = select(*shown).where(invoices.c.operator == operator)
    if account is not None:
        query = query.where(invoices.c.account == account)
    if status is not None:
        query = query.where(invoices.c.status == status)
    query = query.order_by(invoices.c.changed_at.desc(), invoices.c.target, invoices.c.remote_id).limit(invoices_max)
    return [Invoice(**row._mapping) for row in await conn.execute(query)]  # noqa: SLF001 -- public in spite of its name
