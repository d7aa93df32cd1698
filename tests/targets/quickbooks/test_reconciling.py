"""What QuickBooks holds compared with what it was sent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from meter.export.reconcile import Expected, reconcile
from tests.targets.cases.quickbooks import invoice, item, journal, line
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import BATCH, Make


async def test_what_a_person_changes_shows_when_reconciling(vendor: FakeQuickBooks, make: Make) -> None:
    target = make(mode="invoices")
    sent = [item(invoice(customer=number)) for number in range(4)]
    sent += [item(invoice(line("-5.00"), customer=0, part=2)), item(journal(day=date(2026, 11, 30)))]
    await target.send(sent)
    held = {one.details["note"].partition(",")[0]: one.id for one in vendor.books()}
    changed = [{**vendor.entities["Invoice"][held["account account-1"]]["Line"][0], "Amount": Decimal("11.00")}]
    vendor.by_hand("Invoice", held["account account-1"], {"Line": changed})
    vendor.by_hand("Invoice", held["account account-2"], None)
    void = {"PrivateNote": "Voided - " + vendor.entities["Invoice"][held["account account-3"]]["PrivateNote"]}
    vendor.by_hand("Invoice", held["account account-3"], void)
    vendor.add("Invoice", CustomerRef={"value": "11"}, TxnDate="2026-11-30", Line=changed, DocNumber="by hand")
    stray = f"[meter:{BATCH}]"
    vendor.add("Invoice", CustomerRef={"value": "11"}, TxnDate="2026-11-30", Line=changed, PrivateNote=stray)
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(sent)]
    known = frozenset(one.batch for one in sent)
    found = await reconcile(target, expected, known, since=date(2026, 11, 1), until=date(2026, 12, 1))
    told = {(one.fault, one.delivery) for one in found.discrepancies}
    assert told == {("changed", 1), ("missing", 2), ("void", 3), ("extra", None)}
    elsewhen = await reconcile(target, [], known, since=date(2026, 12, 1), until=date(2027, 1, 1))
    assert elsewhen.discrepancies == ()


async def test_holdings_are_read_page_by_page(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    sent = [item(journal(part=part)) for part in range(1, 121)]
    await target.send(sent)
    held = [one.batch async for one in target.holdings(date(2026, 11, 2), date(2026, 11, 3))]
    assert sorted(held) == sorted(one.batch for one in sent)
