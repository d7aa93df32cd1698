"""Classes of sites: asked for once, made where that is set, told where they are not there."""

from __future__ import annotations

from dataclasses import replace

from meter.export.contract import Delivered, Refused
from meter.model.catalog import Site
from tests.export.gathering import CATALOG
from tests.targets.cases.quickbooks import item, journal
from tests.targets.driving import one
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import Make


async def test_a_class_is_asked_for_once(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    for part in range(1, 4):
        await target.send([item(journal(part=part))])
    assert len(vendor.calls("GET", "/query")) == 1


async def test_a_class_that_is_not_there_is_said_or_made(vendor: FakeQuickBooks, make: Make) -> None:
    sent = item(journal(tracking="München"))
    outcome = await one(make().send([sent]))
    assert isinstance(outcome, Refused)
    assert "no class called 'München'" in outcome.reason
    assert "options.create_tracking" in outcome.reason
    assert vendor.books() == ()
    assert isinstance(await one(make(create_tracking=True).send([sent])), Delivered)
    assert [one["Name"] for one in vendor.entities["Class"].values()][-1] == "München"
    nested = await one(make(create_tracking=True).send([item(journal(tracking="Bayern:München"))]))
    assert isinstance(nested, Refused)
    assert "below another" in nested.reason


async def test_a_class_that_is_inactive_is_not_made_again(vendor: FakeQuickBooks, make: Make) -> None:
    vendor.add("Class", Name="München", Active=False)  # no query finds it, and its name is taken
    outcome = await one(make(create_tracking=True).send([item(journal(tracking="München"))]))
    assert isinstance(outcome, Refused)


async def test_classes_that_are_not_there_are_told_before_they_are_needed(make: Make) -> None:
    hamburg = Site(id="hamburg", name="Hamburg", timezone="UTC", ledger_class="Nowhere")
    catalog = replace(CATALOG, sites={**CATALOG.sites, "hamburg": hamburg})
    [told] = await make().mismatches(catalog)
    assert "no class called 'Nowhere'" in told
    assert await make(create_tracking=True).mismatches(catalog) == ()
    assert await make(tracking="none").mismatches(catalog) == ()
