"""What a pack, a deposit, a sale at the till and a landlord come to, in every set of books that a gateway keeps."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from meter.export.targets.ledger.text import Dialect
from tests.export.balances import DIALECTS
from tests.gateway import RunningGateway
from tests.targets.fakes.quickbooks import REALM, FakeQuickBooks
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
default_plan: flex
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19, walk_in: walk-in, ledger_class: Berlin}
taxes:
  vat19: {rate: "0.19", account: liabilities:vat}
meters:
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  flex:
    name: Flex
    prices:
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
      cafe: [{id: cafe, model: pass_through}]
accounts:
  walk-in: {name: Guests}
  acme:
    name: ACME
    subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01, to: 2026-06-01, deposit: "500.00"}]
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: pack, account: acme, unit: day, amount: "10", meters: [day-passes], effective: 2026-02-25, expires: 2026-08-25,
     bought: {price: "180.00", tax: vat19}}
revenue_share:
  - {match: {meter: cafe}, party: landlord, share: "0.12", basis: net, role: principal}
"""
LEDGER = {
    "deferred": "liabilities:deferred",
    "passes": "income:day-passes",
    "breakage": "income:breakage",
    "deposits": "liabilities:deposits",
    "receivable": "assets:receivable",
    "clearing": "assets:clearing",
    "cafe": "income:cafe",
    "tax": "liabilities:vat",
    "landlord": "liabilities:landlord:landlord",
    "share": "expenses:revenue-share",
}
# (day, account as above) -> amount, debit positive; what sums to nothing is left out.
Days: TypeAlias = Mapping[tuple[str, str], Decimal]


def event(kind: str, time: str, source: str, data: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"specversion": "1.0", "source": source, "type": kind, "time": time, "data": data, **more}


def entry(id: str, time: str) -> dict[str, Any]:
    data = {"door": "main", "granted": True, "direction": "in"}
    return event("door.access", time, "berlin/door/main", data, id=id, subject="badge:ADA1")


SALE = {
    "order": "o-1",
    "currency": "EUR",
    "lines": [{"quantity": 2, "amount": "100.00", "tax": "19.00", "tax_name": "vat19"}],
    "total": "119.00",
    "settlement": "paid",
}
REFUND = {
    "refund": "r-1",
    "sale": {"source": "berlin/pos/bar", "order": "o-1"},
    "amount": "29.75",
    "currency": "EUR",
    "status": "completed",
}
EVENTS = [
    entry("mar-2", "2026-03-02T09:00:00+01:00"),
    entry("mar-9", "2026-03-09T09:00:00+01:00"),
    event("pos.sale", "2026-03-03T12:00:00+01:00", "berlin/pos/bar", SALE, id="s-1"),
    event("pos.refund", "2026-03-05T12:00:00+01:00", "berlin/pos/bar", REFUND, id="r-1"),
]
EXPECTED = {
    # The pack: owed with its tax when it is bought, earned as it is drawn, the rest when it expires.
    ("2026-02-25", "receivable"): "214.20",
    ("2026-02-25", "tax"): "-34.20",
    ("2026-02-25", "deferred"): "-180.00",
    ("2026-03-02", "deferred"): "18.00",
    ("2026-03-02", "passes"): "-18.00",
    ("2026-03-09", "deferred"): "18.00",
    ("2026-03-09", "passes"): "-18.00",
    ("2026-08-25", "deferred"): "144.00",
    ("2026-08-25", "breakage"): "-144.00",
    # The deposit: owed to the member, and given back.
    ("2026-01-01", "receivable"): "500.00",
    ("2026-01-01", "deposits"): "-500.00",
    ("2026-06-01", "receivable"): "-500.00",
    ("2026-06-01", "deposits"): "500.00",
    # The sale at the till, and a quarter of it given back: the landlord's 12 % with it.
    ("2026-03-03", "clearing"): "119.00",
    ("2026-03-03", "cafe"): "-100.00",
    ("2026-03-03", "tax"): "-19.00",
    ("2026-03-03", "share"): "12.00",
    ("2026-03-03", "landlord"): "-12.00",
    ("2026-03-05", "clearing"): "-29.75",
    ("2026-03-05", "cafe"): "25.00",
    ("2026-03-05", "tax"): "4.75",
    ("2026-03-05", "share"): "-3.00",
    ("2026-03-05", "landlord"): "3.00",
}


@asynccontextmanager
async def quickbooks() -> AsyncIterator[tuple[FakeQuickBooks, dict[str, Any]]]:
    async with FakeQuickBooks() as fake:
        types = {"receivable": "Accounts Receivable", "landlord": "Accounts Payable"}
        accounts = {
            name: fake.add("Account", Name=name, AccountType=types.get(name, "Income")) for name in sorted(LEDGER)
        }
        vendor, customer = fake.add("Vendor", DisplayName="Landlord"), fake.add("Customer", DisplayName="Members")
        fake.add("Class", Name="Berlin")
        options = {
            "accounts": {LEDGER[name]: number for name, number in accounts.items()},
            "parties": {LEDGER["landlord"]: vendor},
            "customer": customer,
        }
        yield (
            fake,
            {
                "kind": "quickbooks",
                "base_url": fake.url,
                "company": REALM,
                "client_id": "client",
                "client_secret": "hush",
                "refresh_token": fake.tokens.first(),
                "late_s": 0,
                "options": options,
            },
        )


@asynccontextmanager
async def xero() -> AsyncIterator[tuple[FakeXero, dict[str, Any]]]:
    async with FakeXero() as fake:
        for code in sorted(LEDGER):
            fake.add_account(code)
        fake.add_tracking("Site", "Berlin")
        yield (
            fake,
            {
                "kind": "xero",
                "base_url": fake.url,
                "company": TENANT,
                "client_id": "client",
                "client_secret": "hush",
                "refresh_token": fake.tokens.first(),
                "late_s": 0,
                "options": {"accounts": {account: name for name, account in LEDGER.items()}},
            },
        )


async def test_a_pack_a_deposit_a_till_and_a_landlord_in_every_set_of_books(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    async with AsyncExitStack() as stack:
        books, quickbooks_settings = await stack.enter_async_context(quickbooks())
        other, xero_settings = await stack.enter_async_context(xero())
        targets = {
            "ledger": {"kind": "ledger"},
            "quickbooks": quickbooks_settings,
            "xero": xero_settings,
            "journal": {"kind": "files", "grain": "charge", "options": {"dataset": "journal"}},
        }
        env = {
            "METER_TARGETS": json.dumps(targets),
            "METER_CATALOG": str(tmp_path / "catalog.yaml"),
        }
        gateway = await stack.enter_async_context(RunningGateway(tmp_path, env=env))
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with gateway.client() as client, client.post("/v1/events", json=EVENTS, headers=headers) as answer:
            assert {one["status"] for one in (await answer.json())["results"]} == {"accepted"}
        await gateway.settled(events=len(EVENTS))

        expected = {key: Decimal(amount) for key, amount in EXPECTED.items()}
        by_account = {account: name for name, account in LEDGER.items()}
        rows = await gateway.rows("SELECT day::text, ledger_account, sum(amount) FROM journal GROUP BY 1, 2")
        assert days((day, by_account[account], amount) for day, account, amount in rows) == expected
        named = {number: account["Name"] for number, account in books.entities["Account"].items()}
        assert days((one.date, named[one.account], one.amount) for one in books.postings()) == expected
        assert days((one.date, one.account, one.amount) for one in other.postings()) == expected
        assert {one.dimensions for one in other.postings() if one.account == "cafe"} == {("Site:Berlin",)}
        for dialect in DIALECTS.values():
            assert days(_plain_text(tmp_path / "ledger", dialect)) == expected
        assert days(_dropped(tmp_path / "files")) == expected
    # Nothing of a till or a deposit is revenue, and the landlord's share stands at 9.00 of 75.00.
    assert sum(amount for (_, name), amount in expected.items() if name == "landlord") == Decimal("-9.00")


def days(postings: Iterable[tuple[str, str, Decimal]]) -> Days:
    """Postings summed by day and account."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for day, account, amount in postings:
        sums[day, account] += amount
    return {key: amount for key, amount in sums.items() if amount}


def _plain_text(ledger: Path, dialect: Dialect) -> Iterator[tuple[str, str, Decimal]]:
    spelled = {dialect.account(account): name for name, account in LEDGER.items()}
    for path in sorted((ledger / dialect.name).glob(f"*/*{dialect.suffix}")):
        day = ""
        for line in path.read_text().splitlines():
            if found := re.match(r"(\d{4}-\d\d-\d\d) \* ", line):
                day = found[1]
            elif found := re.match(r" {2,4}([^\s;].*?)  (-?[\d.]+) EUR$", line):
                yield day, spelled[found[1]], Decimal(found[2])


def _dropped(files: Path) -> Iterator[tuple[str, str, Decimal]]:
    named = {account: name for name, account in LEDGER.items()}
    for path in sorted(files.rglob("*.csv")):
        with path.open(newline="") as opened:
            for row in csv.DictReader(opened):
                yield row["day"], named[row["ledger_account"]], Decimal(row["amount"])
