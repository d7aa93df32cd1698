"""That QuickBooks holds each document once, and what has its number is compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from operator import methodcaller
from typing import Any

import pytest

from meter.export.contract import Absent, Delivered, Finding, Refused, Uncertain
from meter.export.targets.spec import Means
from tests.targets.cases.quickbooks import CASE, INVOICES, fake, invoice, item, journal, line, open_unhurried, setup
from tests.targets.driving import delivered_through_faults, one
from tests.targets.fakes.quickbooks import TOKEN_PATH, FakeQuickBooks
from tests.targets.quickbooks.given import Make


async def test_a_journal_is_held_as_it_was_sent(vendor: FakeQuickBooks, make: Make) -> None:
    sent = item(journal())
    outcome = await one(make().send([sent]))
    [held] = vendor.books()
    assert outcome == Delivered(held.id)
    assert CASE.books(vendor) == CASE.wanted([sent])
    berlin = next(id for id, one in vendor.entities["Class"].items() if one["Name"] == "Berlin")
    assert {posted.dimensions for posted in vendor.postings()} == {(berlin,)}
    assert sum(posted.amount for posted in vendor.postings()) == 0


async def test_a_lost_answer_is_found_by_its_number(vendor: FakeQuickBooks, make: Make) -> None:
    target = make(mode="invoices")
    sent, memo = item(invoice()), item(invoice(line("-10.00"), part=2))
    assert isinstance(await one(target.look_up([sent])), Absent)
    for what in (sent, memo):
        vendor.fail_next(500, committed=True, path="/invoice" if what is sent else "/creditmemo")
        assert isinstance(await one(target.send([what])), Uncertain)
    found: list[Finding] = [*await target.look_up([sent, memo])]
    assert [isinstance(one, Delivered) for one in found] == [True, True]
    vendor.fail_next(503, committed=False, path="/query")
    assert isinstance(await one(target.look_up([sent])), Uncertain)


async def test_the_same_request_creates_once(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    first, second = [await one(target.send([item(journal())])) for _ in range(2)]
    assert first == second
    assert len(vendor.books()) == 1


async def test_a_number_that_is_taken_is_compared(means: Means) -> None:
    async with fake(unique_doc_numbers=True) as vendor:
        target = open_unhurried(setup(vendor.url), means)
        sent = item(journal())
        first = await one(target.send([sent]))
        again = replace(sent, key="another key")  # as of a later revision, its first attempt forgotten
        assert await one(target.send([again])) == first
        other = item(journal(narration="of somebody else"))
        [held] = vendor.books()
        vendor.by_hand("JournalEntry", held.id, {"PrivateNote": "by hand"})
        outcome = await one(target.send([replace(other, key="a third key")]))
        assert isinstance(outcome, Refused)
        assert f"another JournalEntry ({held.id}) under the number {journal().number}" in outcome.reason
        await target.close()


async def test_what_has_our_number_and_not_our_mark_is_never_taken_for_ours(vendor: FakeQuickBooks, make: Make) -> None:
    """A person's, another program's, or ours with its note written over: of which nobody but a person can tell."""
    target = make(mode="invoices")
    sent = item(invoice())
    await one(target.send([sent]))
    [held] = vendor.books()
    for note in ("by hand", "[meter:" + "a" * 32 + "]", None):
        vendor.by_hand("Invoice", held.id, {"PrivateNote": note})
        found = await one(target.look_up([sent]))
        assert isinstance(found, Uncertain), note
        assert f"another Invoice ({held.id}) under the number {invoice().number}" in found.reason
        assert f"write [meter:{sent.batch}] into its private note" in found.reason
    vendor.by_hand("Invoice", held.id, {"PrivateNote": f"Ours all the same [meter:{sent.batch}]"})
    assert await one(target.look_up([sent])) == Delivered(held.id)
    vendor.by_hand("Invoice", held.id, {"PrivateNote": "by hand", "DocNumber": "MINE-1"})
    assert await one(target.look_up([sent])) == Absent()


@pytest.mark.parametrize("case", [CASE, INVOICES], ids=["journals", "invoices"])
@pytest.mark.parametrize(("seed", "kept"), [(1, timedelta(hours=4)), (2, timedelta(0))])
async def test_through_a_network_that_fails_each_is_held_once(
    means: Means, case: Any, seed: int, kept: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether QuickBooks knows a `requestid` for hours or not at all."""
    monkeypatch.setattr(FakeQuickBooks, "keys_kept", kept)
    later = methodcaller("advance", hours=5)
    async with delivered_through_faults(case, means, seed=seed, later=later) as (vendor, made):
        assert len(vendor.books()) == len(made)
        assert len(vendor.calls("POST", TOKEN_PATH)) >= 3
