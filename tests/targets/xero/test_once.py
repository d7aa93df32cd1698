"""That Xero holds each document once, and what has its number is compared."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

import pytest

from meter.export.contract import Absent, Delivered, Refused, Uncertain
from meter.export.targets.spec import Means
from tests.targets.cases.xero import CASE, INVOICES, invoice, item, journal, line
from tests.targets.driving import delivered_through_faults, one
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT, TOKEN_PATH
from tests.targets.xero.given import Make


async def test_a_journal_is_held_as_it_was_sent(vendor: FakeXero, make: Make) -> None:
    sent = item(journal())
    outcome = await one(make().send([sent]))
    assert outcome == Delivered(vendor.postings()[0].entry)
    assert CASE.books(vendor) == CASE.wanted([sent])
    assert {posted.dimensions for posted in vendor.postings()} == {("Site:Berlin",)}
    assert sum(posted.amount for posted in vendor.postings()) == 0
    [asked] = vendor.calls("PUT")
    assert (asked.call.headers["idempotency-key"], asked.call.headers["xero-tenant-id"]) == (sent.key, TENANT)


async def test_a_journal_that_landed_late_is_not_sent_again(vendor: FakeXero, make: Make) -> None:
    target, sent = make(), item(journal())
    assert await target.look_up([sent]) == [Absent()]
    first = await target.send([sent])  # as by a request that was on its way for longer than anybody waited
    vendor.advance(days=3)  # no key helps
    assert await target.send([sent]) == first
    assert len(vendor.documents["ManualJournals"]) == 1


async def test_a_lost_answer_is_found_by_its_name(vendor: FakeXero, make: Make) -> None:
    for mode, what, path in (
        ("journals", item(journal()), "/ManualJournals"),
        ("invoices", item(invoice()), "/Invoices"),
        ("invoices", item(invoice(line("-10.00"), part=2)), "/CreditNotes"),
    ):
        target = make(mode=mode)
        assert isinstance(await one(target.look_up([what])), Absent)
        if path == "/CreditNotes":
            await target.send([what])
        else:
            vendor.fail_next(500, committed=True, path=path, method="PUT")
            assert isinstance(await one(target.send([what])), Uncertain)
        assert isinstance(await one(target.look_up([what])), Delivered)
        vendor.fail_next(503, committed=False, path=path)
        assert isinstance(await one(target.look_up([what])), Uncertain)


async def test_a_number_that_is_taken_is_ours_or_not(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    sent = item(invoice())
    first = await one(target.send([sent]))
    vendor.advance(minutes=10)  # its key is forgotten
    assert await one(target.send([sent])) == first
    assert len(vendor.books()) == 1
    [held] = vendor.books()
    vendor.by_hand(held.id, {"Reference": "by hand"})
    vendor.advance(minutes=10)
    outcome = await one(target.send([sent]))
    assert isinstance(outcome, Refused)
    assert f"({held.id}) under the number {invoice().number}" in outcome.reason
    found = await one(target.look_up([sent]))
    assert isinstance(found, Uncertain)
    assert f"({held.id}) under the number {invoice().number}" in found.reason


@pytest.mark.parametrize("case", [CASE, INVOICES], ids=["journals", "invoices"])
@pytest.mark.parametrize("seed", [1])
async def test_through_a_network_that_fails_each_is_held_once(means: Means, case: Any, seed: int) -> None:
    later = methodcaller("advance", hours=5)
    async with delivered_through_faults(case, means, seed=seed, later=later) as (vendor, made):
        assert len(vendor.books()) + len(vendor.documents["ManualJournals"]) == len(made)
        assert len(vendor.calls("POST", TOKEN_PATH)) >= 3
        _assert_allocated(vendor)


def _assert_allocated(vendor: FakeXero) -> None:
    """Nothing of a credit note is left while the invoice that it gives back on is open."""
    due = {one["InvoiceNumber"]: one["AmountDue"] for one in vendor.documents["Invoices"].values()}
    for note in vendor.documents["CreditNotes"].values():
        about = note["Reference"].partition("gives back on ")[2].split()[0]
        assert note["RemainingCredit"] == 0 or due[about] == 0
