"""A coworking space over a real database: apply a catalog, let events in, rate, and look at the books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from meter.booking.worker import RatingWorker
from meter.catalog.load import read_catalog_text
from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival, Receipt
from meter.model.wire import read_event
from meter.store.apply import apply_catalog
from meter.store.directory import current_operator
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.telemetry import Telemetry
from tests.owning import as_owner

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19, walk_in: walk-in}
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  flex:
    name: Flex
    grants: [{id: pages, unit: page, amount: "100", meters: [print-pages], every: month, for: account}]
    prices:
      print-pages: [{id: mono, model: graduated, tiers: [{up_to: 50, unit_price: "0.05"}, {unit_price: "0.041"}]}]
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
      cafe: [{id: cafe, model: pass_through}]
accounts:
  walk-in: {name: Guests}
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
  solo: {name: Solo, subscriptions: [{id: solo-flex, plan: flex, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
  bob: {account: acme, name: Bob, identities: ["badge:B0B1"]}
  eve: {account: solo, name: Eve, identities: ["badge:EFE1"]}
"""
LATER = datetime(2026, 6, 1, tzinfo=UTC)

# What must not depend on arrival. Which line of a group bears an odd cent may depend on the order of booking, the
# group's sum never (docs/rating.md).
BOOKS = {
    "sums": "SELECT account, member, meter, price, settlement, trim_scale(sum(quantity)), trim_scale(sum(covered)),"
    " trim_scale(sum(amount)) FROM charges GROUP BY 1, 2, 3, 4, 5"
    " HAVING sum(quantity) <> 0 OR sum(amount) <> 0 ORDER BY 1, 2, 3, 4, 5",
    "rounded": "SELECT account, period_start, meter, site, settlement, currency, tax_rate, trim_scale(sum(rounded))"
    " FROM charges GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(rounded) <> 0 ORDER BY 1, 2, 3, 4, 5, 6, 7",
    "tax": "SELECT account, period_start, tax_rate, trim_scale(sum(tax_amount)) FROM charges"
    " GROUP BY 1, 2, 3 HAVING sum(tax_amount) <> 0 ORDER BY 1, 2, 3",
    "shares": "SELECT account, period_start, meter, site, s.party, s.role, trim_scale(sum(s.amount)) FROM charges,"
    " jsonb_to_recordset(shares) AS s (party text, role text, amount numeric)"
    " GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(s.amount) <> 0 ORDER BY 1, 2, 3, 4, 5, 6",
    "draws": 'SELECT account, "grant", trim_scale(sum(amount)) FROM draws GROUP BY 1, 2 HAVING sum(amount) <> 0'
    " ORDER BY 1, 2",
    "journal": "SELECT ledger_account, currency, trim_scale(sum(amount)) FROM journal GROUP BY 1, 2"
    " HAVING sum(amount) <> 0 ORDER BY 1, 2",
    "unresolved": "SELECT source, id, identity FROM unresolved ORDER BY 1, 2",
    "unread": "SELECT account, time, source, id, meter, element, behind_source, behind_id, code, reason FROM unread"
    " ORDER BY 1, 2, 3, 4, 5, 6",
}


def event(  # noqa: PLR0917 -- as an event reads
    kind: str, event_id: str, time: str, subject: str | None, origin: str, data: dict[str, Any]
) -> bytes:
    """A structured CloudEvent; `time` is of March 2026, like "02T08:00"."""
    body = {"specversion": "1.0", "id": event_id, "source": origin, "type": kind, "time": f"2026-03-{time}:00Z"}
    return json.dumps(body | {"data": data} | ({"subject": subject} if subject else {})).encode()


def pages(event_id: str, time: str, count: int, subject: str = "badge:ADA1", **more: Any) -> bytes:
    """A finished print job."""
    data = {"printer": "hall", "job": event_id, "impressions": count, "status": "completed"} | more
    return event("print.job", event_id, time, subject, "berlin/print/hall", data)


def entry(event_id: str, time: str, subject: str = "badge:ADA1") -> bytes:
    """A door opened from outside."""
    data = {"door": "main", "granted": True, "direction": "in"}
    return event("door.access", event_id, time, subject, "berlin/door/main", data)


def sale(event_id: str, time: str, amount: str, subject: str | None = None, settlement: str = "paid") -> bytes:
    """A coffee."""
    total = str((Decimal(amount) * Decimal("1.19")).quantize(Decimal("0.01")))
    lines = [{"quantity": 1, "amount": amount, "tax": str(Decimal(total) - Decimal(amount)), "tax_name": "vat19"}]
    data = {"order": event_id, "currency": "EUR", "lines": lines, "total": total, "settlement": settlement}
    return event("pos.sale", event_id, time, subject, "berlin/pos/bar", data)


def void(event_id: str, time: str, target: str, source: str) -> bytes:
    """A void of another event."""
    return event("event.voided", event_id, time, None, "berlin/office", _target(target, source))


def amend(event_id: str, time: str, target: str, source: str, data: dict[str, Any]) -> bytes:
    """An amendment of another event."""
    return event("event.amended", event_id, time, None, "berlin/office", _target(target, source) | {"data": data})


def _target(target: str, source: str) -> dict[str, str]:
    return {"source": source, "id": target, "reason": "counted wrongly"}


class Space:
    """A gateway's insides without its servers. `now` is its clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = LATER
        self.telemetry = Telemetry()
        self.leases = LeaseKeeper(database)
        self.worker = self.new_worker()
        self._acceptor = Acceptor(
            database, operator=self._operator, telemetry=self.telemetry, max_age_days=400, clock=lambda: self.now
        )

    async def _operator(self) -> str | None:
        async with self.database.begin() as connection:
            return await current_operator(connection)

    def new_worker(self, leases: LeaseKeeper | None = None, *, shards: int = 4) -> RatingWorker:
        """A worker that remembers nothing."""
        self.worker = RatingWorker(
            database=self.database,
            operator="northside",
            shards=shards,
            leases=leases or self.leases,
            telemetry=self.telemetry,
            clock=lambda: self.now,
        )
        return self.worker

    async def apply(self, catalog: str) -> None:
        """Apply a catalog, or a part of one that names the operator."""
        async with self.database.begin() as connection:
            await apply_catalog(connection, read_catalog_text([("catalog.yaml", catalog)]), now=self.now, reason="test")

    async def accept(self, bodies: Iterable[bytes]) -> list[Receipt]:
        """Let events in."""
        arrivals = [
            Arrival(parsed=read_event(body), channel="http", origin="test", received_at=self.now) for body in bodies
        ]
        return list((await self._acceptor.accept(arrivals)).receipts)

    async def rate(self) -> None:
        """Rate until there is nothing to do."""
        await self.leases.maintain(self.worker.shards.lease_names)
        while await self.worker.step():
            pass

    async def take(self, *bodies: bytes) -> None:
        """Let events in and rate them."""
        await self.accept(bodies)
        await self.rate()

    async def forget(self) -> None:
        """Drop every event and all that came of them; the facts stay."""
        tables = "event_keys, events, revisions, refunds, held_events, charges, draws, entries, deferrals, journal,"
        tables += " outbox, export_cursors, export_buckets, rating_cursors, refolds, wakes, checkpoints, unresolved,"
        tables += " unread, doubtful_times, wifi_readings, wifi_due"
        async with as_owner(self.database) as connection:
            await connection.execute(text(f"TRUNCATE {tables}"))
        self.new_worker()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives, or a statement that no gateway may run."""
        async with as_owner(self.database) as connection:
            return [tuple(row) for row in await connection.execute(text(sql))]

    async def sums(self) -> list[tuple[Any, ...]]:
        """The bill: sums by account, member, meter, price and settlement; those of zero are left out."""
        return await self.rows(BOOKS["sums"])

    async def books(self) -> dict[str, Any]:
        """Everything that must not depend on arrival: the bill, rounded totals, draws and the journal's balances."""
        return {name: await self.rows(sql) for name, sql in BOOKS.items()}


@asynccontextmanager
async def open_space(database_url: str, catalog: str = CATALOG) -> AsyncIterator[Space]:
    """Yield a space with the catalog applied."""
    database = Database(database_url)
    space = Space(database)
    try:
        await space.apply(catalog)
        yield space
    finally:
        await space.leases.close()
        await database.dispose()
