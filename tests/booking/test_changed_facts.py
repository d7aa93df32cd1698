"""What an earlier event comes to when a later one, a claim or the clock changes it: each once went wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meter.api.explain import explained, find_charge
from meter.booking.facts import FactsCache
from meter.store.readers import charge_by_id
from tests.booking.space import CATALOG, Space, amend, open_space, pages, sale, void

HALL = "berlin/print/hall"
BAR = "berlin/pos/bar"
OFFICE = "berlin/office"


async def test_the_event_before_counts_again_when_the_latest_on_its_thing_is_voided(space: Space) -> None:
    await space.take(pages("x", "02T09:00", 120, job="job-7"))
    await space.take(pages("y", "02T09:30", 110, job="job-7"))
    await space.take(void("v", "03T09:00", "y", HALL))
    assert (await space.sums())[0][5] == Decimal(120)


def _order(settlement: str, total: str = "11.90") -> dict[str, Any]:
    lines = [{"quantity": 1, "amount": "10.00"}]
    return {"order": "s", "currency": "EUR", "lines": lines, "total": total, "settlement": settlement}


async def test_a_sale_follows_its_amendments_between_till_and_account(space: Space) -> None:
    await space.take(sale("s", "02T09:00", "10.00", None, "account"))
    assert await space.rows("SELECT id FROM unresolved") == [("s",)]
    await space.take(amend("a", "03T09:00", "s", BAR, _order("paid")))
    await space.take(amend("b", "03T10:00", "s", BAR, _order("paid", "12.00")))
    assert [row[0] for row in await space.sums()] == ["walk-in"]
    assert await space.rows("SELECT id FROM unresolved") == []
    await space.take(void("v", "04T09:00", "b", OFFICE))
    await space.take(void("w", "04T09:01", "a", OFFICE))
    assert await space.sums() == []
    assert await space.rows("SELECT id FROM unresolved") == [("s",)]


async def test_a_change_since_always_waits_beside_one_of_a_day(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 110, "badge:NEW1"))
    claimed = CATALOG.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]')
    await space.apply(claimed)
    given = "grants: [{id: g, account: solo, unit: page, amount: '5', meters: [print-pages], effective: 2026-01-05}]\n"
    await space.apply(claimed + given)
    await space.rate()
    assert (await space.sums())[0][6] == Decimal(105)


async def test_an_amendment_does_not_let_a_held_event_in(space: Space) -> None:
    space.now = space.now.replace(month=2)
    await space.take(pages("0", "02T09:00", 100).replace(b"2026-03-02", b"2026-01-02"), pages("1", "02T09:00", 101))
    data = {"printer": "hall", "job": "1", "impressions": 105, "status": "completed"}
    february = amend("a", "02T10:00", "1", HALL, data).replace(b"2026-03-02", b"2026-01-02")
    await space.take(february)
    assert (await space.sums())[0][5] == Decimal(100)
    space.now = space.now.replace(month=4)
    await space.rate()
    assert (await space.sums())[0][5] == Decimal(205)


async def test_a_held_void_takes_a_parked_event_off_the_list_when_its_time_comes(space: Space) -> None:
    space.now = space.now.replace(month=3, day=10)
    await space.take(pages("1", "02T09:00", 101, "badge:NEW1"), void("v", "12T09:00", "1", HALL))
    assert await space.rows("SELECT id FROM unresolved") == [("1",)]
    space.now = space.now.replace(month=4)
    await space.rate()
    assert await space.rows("SELECT id FROM unresolved") == []


async def test_a_claim_without_a_start_is_ranked_from_the_first_event_that_ever_comes(space: Space) -> None:
    claimed = CATALOG.replace('["badge:B0B1"]', '["badge:B0B1", {id: "badge:NEW1", from: 2026-03-05}]')
    await space.apply(claimed.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]'))
    await space.take(pages("0", "01T09:00", 1, "badge:OTHER"))  # the directory is read before the first event comes
    await space.take(pages("1", "02T09:00", 101, "badge:NEW1"))
    await space.take(pages("2", "10T09:00", 102, "badge:NEW1"))
    assert [(row[0], row[5]) for row in await space.sums()] == [("acme", Decimal(102)), ("solo", Decimal(101))]


async def test_a_void_that_comes_with_the_claim_takes_a_parked_event_off_the_list(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 101, "badge:NEW1"))
    await space.apply(CATALOG.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]'))
    await space.take(void("v", "03T09:00", "1", HALL))
    assert await space.rows("SELECT id FROM unresolved") == []
    assert await space.sums() == []


async def test_an_explanation_shows_what_amended_the_event(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 105))
    await space.take(
        amend("a", "03T09:00", "1", HALL, {"printer": "hall", "job": "1", "impressions": 109, "status": "completed"})
    )
    await space.take(void("v", "04T09:00", "a", OFFICE))
    ((newest,),) = await space.rows("SELECT id FROM charges ORDER BY seq DESC LIMIT 1")
    async with space.database.begin() as connection:
        facts = await FactsCache("northside").current(connection)
        charge = await charge_by_id(connection, "northside", newest)
        assert facts is not None
        assert charge is not None
        explanation = explained(await find_charge(connection, facts, "northside", charge, until=space.now))
    assert [event.id for event in explanation.events] == ["1", "a", "v"]
    assert explanation.agrees


RIVALS = CATALOG.replace('["badge:B0B1"]', '["badge:B0B1", {id: "badge:AA", from: 2026-03-10}]').replace(
    '["badge:EFE1"]', '["badge:EFE1", "badge:AA"]'
)


async def test_an_earlier_event_that_the_directory_knows_before_rating_moves_the_others_all_the_same(
    database_url: str,
) -> None:
    """Eve's claim begins at the badge's earliest event: while that is after Bob's start, hers is the later claim."""
    async with open_space(database_url, RIVALS) as space:
        await space.take(pages("a", "12T09:00", 130, "badge:AA"))
        assert [row[:2] for row in await space.sums()] == [("solo", "eve")]
        # Stored, but not rated, when another change of facts makes everybody read the directory anew.
        await space.accept([pages("b", "05T09:00", 7, "badge:AA")])
        await space.apply(RIVALS.replace("name: Eve", "name: Eva"))
        await space.rate()
        assert [(*row[:2], row[5]) for row in await space.sums()] == [
            ("acme", "bob", Decimal(130)),
            ("solo", "eve", Decimal(7)),
        ]
