"""How a chain of corrections is explained, and what differs from the books."""

from __future__ import annotations

from dataclasses import replace

from meter.model.charge import changed
from meter.model.period import Periods, Terms
from meter.rating.explain import explain
from tests.rating.explain.scene import BADGE, BURST, OFFICE, Scene, booked, door, hours
from tests.rating.world import Ledger, catalog, d, per_unit, plan, space, t, void


def test_a_chain_of_corrections_ends_with_what_stands() -> None:
    scene = booked(OFFICE, *BURST, before=BURST[1:])
    assert scene.text(0) == [
        "Charge #0 (original): 60 page, 60 from sub/pages/2026-11, leaves 0; covered by credit",
        "Event: print.job job-11-03 09:00-badge:04A2991B from berlin/device at 2026-11-03T09:00:00Z",
        "Member: badge:04A2991B is ada since 2026-01-01T12:00:00Z, of account acme",
        "Meter: pages, 60 page, color = false",
        "The line as the facts give it now: 60 page, 13.5 EUR",
        "  impressions = 60",
        "Price: price of plan flex; in this period 20 page so far, then 80",
        "  30 page x 0.25 = 7.5 (above 0 up to 50)",
        "  30 page x 0.2 = 6 (above 50)",
        "  18.5 - 5 = 13.5 EUR",
        "Amount: 0 EUR, booked as 0, plus 0 vat (19 %)",
        "Chain:",
        "  #0 original 0 EUR, booked 2026-12-01T00:00:00Z",
        "  #2 reversal 0 EUR, booked 2026-12-01T00:00:01Z (late)",
        "  #3 replacement 13.5 EUR, booked 2026-12-01T00:00:01Z (late)",
        "Computed again from the stored facts: the same.",
    ]


def test_a_line_that_was_taken_back_says_that_nothing_is_due() -> None:
    scene = booked(OFFICE, BURST[0], revisions=[void(BURST[0])], before=BURST[:1])
    assert scene.text(0)[-5:] == [
        "Amount: 5 EUR, booked as 5, plus 0.95 vat (19 %)",
        "Chain:",
        "  #0 original 5 EUR, booked 2026-12-01T00:00:00Z",
        "  #1 reversal -5 EUR, booked 2026-12-01T00:00:01Z (late)",
        "Computed again from the stored facts: nothing is due, as booked.",
    ]


def test_an_estimate_that_an_end_has_replaced_shows_the_session_as_it_is_now() -> None:
    ledger, where = Ledger.empty(), hours()
    events = (door("11-02 13:00", "in"), door("11-02 22:30", "out"))
    ledger.make_good(where.lines(events[0], until="11-03"))
    ledger.make_good(where.lines(*events, until="11-04"))
    first = Scene(where, ledger, events, (), "11-04").explained(ledger.charges[0])
    assert first.agrees
    assert first.as_json()["arithmetic_of"] == "recomputed"
    assert [event["id"] for event in first.as_json()["events"]] == [event.id for event in events]
    assert "  from 2026-11-02 14:00 to 2026-11-02 23:30 (Europe/Berlin): 9 h 30 min" in first.text()


def test_what_an_invoice_of_another_period_bears_is_an_adjustment() -> None:
    scene = booked(OFFICE, *BURST)
    late = Periods(Terms("EUR", "Europe/Berlin")).at(t("12-02"))
    charge = replace(scene.ledger.charges[0], invoice_period=late)
    found = scene.explained(charge)
    assert "Adjustment: belongs to 2026-11, which was closed; billed in 2026-12" in found.text()
    assert found.as_json()["kind"] == "adjustment"
    assert found.agrees


def test_it_says_so_where_the_facts_would_book_something_else_now() -> None:
    scene = booked(OFFICE, *BURST)
    dearer = space(
        catalogs=[catalog(plan(pages=per_unit("1")))],
        subscriptions=OFFICE.directory.subscriptions["account", "acme"],
        claims=OFFICE.directory.claims[BADGE],
    )
    found = replace(scene, where=dearer).explained(scene.ledger.charges[1])
    assert not found.agrees
    assert "DIFFERS: 60 EUR; what stands booked is 13.5 EUR." in found.text()
    assert found.as_json()["recomputed"]["agrees"] is False


def test_a_line_that_nothing_books_any_more_differs_until_it_is_reversed() -> None:
    ledger = booked(OFFICE, BURST[0]).ledger
    charge = ledger.charges[0]
    before = explain(charge, ledger.charges, [BURST[0]], recomputed=None)
    assert "DIFFERS: nothing; what stands booked is 5 EUR." in before.text()
    ledger.make_good([])
    assert explain(charge, ledger.charges, [BURST[0]], recomputed=None).agrees


def test_a_line_of_nothing_is_none() -> None:
    """The fold may give a line of quantity 0 and amount 0; it is never booked."""
    scene = booked(OFFICE, BURST[0])
    charge = scene.ledger.charges[0]
    nothing = changed(charge.line, quantity=d(0), covered=d(0), billable=d(0), amount=d(0), draws=())
    assert explain(charge, [charge], [BURST[0]], recomputed=nothing).recomputed is None
