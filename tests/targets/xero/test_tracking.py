"""Tracking options of sites: asked for once, made where that is set, told where they are not there."""

from __future__ import annotations

from dataclasses import replace

from meter.export.contract import Delivered, Refused
from meter.model.catalog import Site
from tests.export.gathering import CATALOG
from tests.targets.cases.xero import CASE, item, journal
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import Make


async def test_tracking_options_are_asked_for_once(vendor: FakeXero, make: Make) -> None:
    target = make()
    days = [journal(site=site) for site in ("berlin", "hamburg", "köln's")]
    await target.send([item(day) for day in days])
    await target.send([item(journal(part=2))])
    assert len(vendor.calls("GET", "/TrackingCategories")) == 1
    assert CASE.books(vendor).keys() == {item(what).batch for what in [*days, journal(part=2)]}


async def test_a_tracking_option_that_is_not_there_is_said_or_made(vendor: FakeXero, make: Make) -> None:
    sent = item(journal(tracking="München"))
    outcome = await one(make().send([sent]))
    assert isinstance(outcome, Refused)
    assert "no option 'München' in the tracking category 'Site'" in outcome.reason
    assert "options.create_tracking" in outcome.reason
    assert vendor.postings() == ()
    assert isinstance(await one(make(create_tracking=True).send([sent])), Delivered)
    assert {posted.dimensions for posted in vendor.postings()} == {("Site:München",)}
    other = item(journal(part=2))
    assert isinstance(await one(make(create_tracking=True, tracking="Place").send([other])), Delivered)
    assert ("Place:Berlin",) in {posted.dimensions for posted in vendor.postings()}
    full = await one(make(create_tracking=True, tracking="Third").send([item(journal(part=3))]))
    assert isinstance(full, Refused)
    assert "two tracking categories" in full.reason


async def test_tracking_options_that_are_not_there_are_told_before_they_are_needed(make: Make) -> None:
    hamburg = Site(id="hamburg", name="Hamburg", timezone="UTC", ledger_class="Nowhere")
    catalog = replace(CATALOG, sites={"hamburg": hamburg})
    [told] = await make().mismatches(catalog)
    assert "no option 'Nowhere' in the tracking category 'Site'" in told
    assert await make(create_tracking=True).mismatches(catalog) == ()
    assert await make(tracking="").mismatches(catalog) == ()
