"""What tests of gathering share: facts of today, customers, and buckets kept in memory as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from meter.export.gather.buckets import added, encoded, opened, sent
from meter.export.gather.customers import Customers
from meter.export.gather.shape import Booked, Draft, Known, Shape
from meter.export.payload import Content
from meter.model.catalog import Catalog, Site
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.journal import JournalEntry
from meter.store.engine import encode_json
from meter.store.gathering import StoredBucket

NOW = datetime(2026, 4, 2, 3, tzinfo=UTC)
BERLIN = Site(id="berlin", name="Berlin Mitte", timezone="Europe/Berlin", ledger_class="Berlin")
CATALOG = Catalog(
    operator="northside",
    version=1,
    effective=None,
    currency="EUR",
    timezone="Europe/Berlin",
    sites={"berlin": BERLIN},
)


def account(name: str = "acme", **external: str) -> Account:
    return Account(id=name, name=name.upper(), currency="EUR", timezone="UTC", external=external)


def in_zone(timezone: str, given: Account, **changes: Any) -> Account:
    return replace(given, timezone=timezone, **changes)


def known(*accounts: Account, **changes: Any) -> Known:
    given = accounts or (account(stripe="cus_1"),)
    facts: dict[str, Any] = {"operator": "northside", "catalog": CATALOG, "now": NOW, **changes}
    return Known(accounts={one.id: one for one in given}, **facts)


def customers(target: str = "stripe", *keys: str, **rivals: tuple[str, ...]) -> Customers:
    return Customers(target=target, keys=keys or ("stripe",), rivals=rivals)


class Desk:
    """Gathers for one shape, with buckets that go through JSON as they do in the store."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.buckets: dict[str, StoredBucket] = {}

    def put(
        self, booked: Sequence[Charge] | Sequence[JournalEntry], facts: Known, *, late: timedelta = timedelta(0)
    ) -> list[Draft]:
        """Take in what was booked; return what is to be sent as it is."""
        customers = self.shape.customers
        charges = [
            one
            for one in booked
            if isinstance(one, Charge)
            and (customers is None or customers.biller(facts.accounts[one.line.account]) == customers.target)
        ]
        entries = [one for one in booked if isinstance(one, JournalEntry)]
        page = Booked(charges=charges, entries=entries)
        changed = added(
            self.buckets,
            self.shape.sort(page, facts),
            batch_of=("northside", "target"),
            now=facts.now,
            booked_at=facts.now,
            late_wait=late,
        )
        for name, bucket in changed.items():
            self.buckets[name] = _stored(encoded(bucket))
        return list(self.shape.at_once(page, facts))

    def due(self, facts: Known, *, closed: Sequence[tuple[str, datetime]] = ()) -> list[Draft]:
        """Send what is due at the facts' time, with these periods of accounts closed."""
        drafts = []
        for name, bucket in sorted(self.buckets.items()):
            waits = (bucket.closing_account, bucket.closing_start)
            is_due = bucket.due_at is not None and bucket.due_at <= facts.now
            if not bucket.dirty or not (is_due or waits in closed):
                continue
            draft = self.shape.draft(opened(bucket, replaces=self.shape.replaces), facts)
            self.buckets[name] = _stored(sent(bucket, replaces=self.shape.replaces, made=draft is not None))
            if draft is not None:
                drafts.append(draft)
        return drafts


def _stored(bucket: StoredBucket) -> StoredBucket:
    return replace(bucket, tallies=msgspec.json.decode(encode_json(bucket.tallies)))


def contents(drafts: Sequence[Draft]) -> list[Content]:
    return [draft.content for draft in drafts]
