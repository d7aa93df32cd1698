"""The worker over a real database: whatever the way events and facts arrive, the books are the same."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from sqlalchemy import text

from meter.model.errors import Unavailable
from meter.rating.fold import fold
from meter.store import booking as booking_store
from meter.store.leases import LeaseKeeper
from tests.booking.months import HALL, a_month
from tests.booking.space import (
    CATALOG,
    LATER,
    Space,
    amend,
    entry,
    pages,
    sale,
    void,
)
from tests.owning import as_owner


async def test_credit_is_used_first_and_the_rest_is_priced(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 80), pages("2", "02T10:00", 30), entry("3", "02T08:00"))
    assert await space.sums() == [
        ("acme", "ada", "day-passes", "day", "account", Decimal(1), Decimal(0), Decimal(25)),
        ("acme", "ada", "print-pages", "mono", "account", Decimal(110), Decimal(100), Decimal("0.5")),
    ]


async def test_a_late_event_moves_the_credit_to_the_earlier_use(space: Space) -> None:
    await space.take(pages("late-1", "02T10:00", 100, "badge:ADA1"))
    await space.take(pages("late-2", "02T09:00", 60, "badge:B0B1"))
    assert [row[1:] for row in await space.sums()] == [
        ("ada", "print-pages", "mono", "account", Decimal(100), Decimal(40), Decimal("2.91")),
        ("bob", "print-pages", "mono", "account", Decimal(60), Decimal(60), Decimal(0)),
    ]
    assert await space.rows("SELECT role, count(*) FROM charges GROUP BY 1 ORDER BY 1") == [
        ("original", 2),
        ("replacement", 1),
        ("reversal", 1),
    ]


async def test_what_a_new_worker_reads_back_is_what_the_old_one_knew(space: Space) -> None:
    await space.take(*[pages(f"a{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 3) for n in range(300)])
    warm = await space.books()
    space.new_worker()
    await space.take(pages("one-more", "28T09:00", 1), pages("very-late", "02T00:00", 7))
    space.new_worker()
    await space.take(void("v", "28T10:00", "one-more", HALL), void("w", "28T10:00", "very-late", HALL))
    assert await space.books() == warm


async def test_a_late_event_counts_though_a_new_worker_starts_from_a_later_checkpoint(space: Space) -> None:
    await space.take(*[pages(f"a{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 1) for n in range(300)])
    await space.take(*[pages(f"b{n}", f"{18 + n // 20:02}T{n % 20:02}:10", 1) for n in range(20)])
    assert await space.rows("SELECT count(*) > 0 FROM checkpoints WHERE time > '2026-03-02T00:00:00Z'") == [(True,)]
    space.new_worker()
    await space.take(pages("late", "02T00:00", 7))
    assert (await space.sums())[0][5] == Decimal(327)
    await _assert_same_from_nothing(space)


@pytest.mark.parametrize("late", [pages("late", "02T00:00", 7), void("v", "28T00:00", "a0", HALL)])
async def test_a_late_event_of_a_backlog_counts_though_its_account_was_loaded_before_its_turn(
    space: Space, monkeypatch: pytest.MonkeyPatch, late: bytes
) -> None:
    await space.take(*[pages(f"a{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 1) for n in range(300)])
    monkeypatch.setattr("meter.booking.worker.STEP_EVENTS_MAX", 2)
    space.new_worker()
    await space.accept([pages(f"b{n}", f"20T{n:02}:10", 1) for n in range(8)])
    await space.take(late)
    await _assert_same_from_nothing(space)


async def test_a_late_event_counts_beside_a_request_to_fold_from_later_on(space: Space) -> None:
    await space.take(*[pages(f"a{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 1) for n in range(300)])
    async with space.database.begin() as connection:
        since = LATER.replace(month=3, day=28)
        await booking_store.request_refold(connection, "northside", account="acme", since=since, reason="a claim")
    await space.take(pages("late", "02T00:00", 7))
    await _assert_same_from_nothing(space)


async def test_a_claim_rates_what_was_parked_and_moves_a_paid_sale_to_the_member(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 110, "badge:NEW1"), sale("2", "02T09:05", "10.00", "badge:NEW1"))
    assert await space.rows("SELECT identity FROM unresolved") == [("badge:NEW1",)]
    assert [row[:3] for row in await space.sums()] == [("walk-in", None, "cafe")]
    await space.apply(CATALOG.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]'))
    await space.rate()
    assert await space.rows("SELECT * FROM unresolved") == []
    assert [row[:3] + row[-1:] for row in await space.sums()] == [
        ("solo", "eve", "cafe", Decimal(10)),
        ("solo", "eve", "print-pages", Decimal("0.5")),
    ]


async def test_a_claim_without_a_start_begins_with_an_earlier_event_that_comes_later(space: Space) -> None:
    claimed = CATALOG.replace('["badge:B0B1"]', '["badge:B0B1", {id: "badge:NEW1", from: 2026-03-05}]')
    await space.apply(claimed.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]'))
    await space.take(pages("1", "10T09:00", 101, "badge:NEW1"))
    assert [row[0] for row in await space.sums()] == ["solo"]  # eve's claim begins on the 10th, after bob's
    await space.take(pages("2", "02T09:00", 101, "badge:NEW1"))
    assert [(row[0], row[5]) for row in await space.sums()] == [("acme", Decimal(101)), ("solo", Decimal(101))]


@pytest.mark.parametrize("voided_first", [True, False])
async def test_a_void_takes_its_target_out_in_either_order(space: Space, *, voided_first: bool) -> None:
    parts = [pages("1", "02T09:00", 120), void("v", "03T09:00", "1", HALL)]
    for body in reversed(parts) if voided_first else parts:
        await space.take(body)
    assert await space.sums() == []


async def test_an_amendment_counts_until_it_is_voided(space: Space) -> None:
    data = {"printer": "hall", "job": "1", "impressions": 109, "status": "completed"}
    await space.take(pages("1", "02T09:00", 105))
    await space.take(amend("a", "03T09:00", "1", HALL, data))
    assert (await space.sums())[0][5] == Decimal(109)
    await space.take(void("v", "04T09:00", "a", "berlin/office"))
    assert (await space.sums())[0][5] == Decimal(105)


async def test_of_several_events_on_one_thing_the_latest_counts(space: Space) -> None:
    await space.take(pages("x", "02T09:00", 120, job="job-7"))
    await space.take(pages("y", "02T09:30", 0, job="job-7", status="cancelled"))
    assert await space.sums() == []
    await space.take(pages("z", "02T09:45", 101, job="job-7"))
    assert (await space.sums())[0][5] == Decimal(101)


async def test_an_event_ahead_of_the_clock_waits_for_it(space: Space) -> None:
    space.now = space.now.replace(month=2)
    receipts = await space.accept([pages("1", "02T09:00", 101)])
    assert (receipts[0].status, receipts[0].code) == ("accepted", "future_time")
    await space.rate()
    assert await space.sums() == []
    space.now = space.now.replace(month=4)
    await space.rate()
    assert (await space.sums())[0][5] == Decimal(101)


async def test_a_repriced_month_books_the_difference(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 110), pages("2", "20T09:00", 10))
    dearer = CATALOG.replace('unit_price: "0.05"', 'unit_price: "0.10"')
    await space.apply(dearer.replace("operator: northside", "operator: northside\neffective: 2026-03-10"))
    await space.rate()
    assert sum(row[-1] for row in await space.sums()) == Decimal("1.5")


async def test_a_failed_transaction_leaves_nothing_behind(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    await space.accept([pages("1", "02T09:00", 110)])
    await space.leases.maintain(space.worker.shards.lease_names)

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(booking_store, "write_cursors", fail)
        with pytest.raises(Unavailable):
            await space.worker.step()
    assert await space.rows("SELECT id FROM charges") == []
    await space.rate()
    assert (await space.sums())[0][5] == Decimal(110)


async def test_an_overtaken_worker_writes_nothing(space: Space) -> None:
    await space.accept([pages("1", "02T09:00", 110)])
    await space.leases.maintain(space.worker.shards.lease_names)
    async with space.database.begin() as connection:
        await connection.execute(text("UPDATE leases SET epoch = epoch + 1"))
    with pytest.raises(Unavailable, match="taken over"):
        await space.worker.step()
    assert await space.rows("SELECT id FROM charges") == []


async def test_two_workers_share_the_shards_and_book_each_line_once(space: Space) -> None:
    await space.leases.maintain(space.worker.shards.lease_names[:2])
    other_leases = LeaseKeeper(space.database)
    first, second = space.worker, space.new_worker(other_leases)
    await other_leases.maintain(second.shards.lease_names)
    people = ("badge:ADA1", "badge:EFE1", "badge:NEW1")
    await space.accept([pages(f"{who}-{n}", f"02T09:{n:02}", 10, who) for n in range(20) for who in people])
    busy = True
    while busy:
        busy = await first.step() | await second.step()
    await other_leases.close()
    assert [(row[0], row[5]) for row in await space.sums()] == [("acme", Decimal(200)), ("solo", Decimal(200))]
    assert await space.rows("SELECT count(*) FROM unresolved") == [(20,)]


async def test_one_account_that_cannot_be_folded_stops_no_other(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(facts: object, state: object, events: object, **how: object) -> object:
        if facts.account.id == "solo":  # type: ignore[attr-defined]
            raise RuntimeError("a fault of ours")
        return fold(facts, state, events, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("meter.booking.warm.fold", broken)
        await space.take(pages("1", "02T09:00", 110), pages("2", "02T09:00", 110, "badge:EFE1"))
        await space.take(pages("3", "02T10:00", 10), pages("4", "02T10:00", 10, "badge:EFE1"))
        async with as_owner(space.database) as connection:
            await connection.execute(text("UPDATE refolds SET due_at = clock_timestamp()"))
        await space.rate()
    assert [row[0] for row in await space.sums()] == ["acme"]
    assert await space.rows("SELECT account FROM refolds") == [("solo",)]
    await space.rate()
    assert [row[0] for row in await space.sums()] == ["acme"], "it is tried again, but later"
    async with as_owner(space.database) as connection:  # and not when a clock that is set back has caught up
        await connection.execute(text("UPDATE refolds SET due_at = due_at + interval '1 day'"))
    await space.rate()
    assert [row[0] for row in await space.sums()] == ["acme", "solo"]


@pytest.mark.parametrize("seed", range(4))
async def test_the_bill_is_a_function_of_the_set_of_events(
    space: Space, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """In one go, against: shuffled, each three times, in small batches, with workers that forget everything.

    With odd seeds one history is read at a time.
    """
    bodies = a_month(seed)
    in_order = sorted(bodies, key=lambda body: body.partition(b'"time": ')[2][:28])
    await space.take(*in_order)
    expected = await space.books()
    await _empty(space)

    if seed % 2:
        monkeypatch.setattr("meter.booking.turns.READ_EVENTS_MAX", 1)
    chance = random.Random(seed)  # noqa: S311 -- as above
    shuffled = bodies * 3
    chance.shuffle(shuffled)
    while shuffled:
        await space.accept(shuffled[:7])
        del shuffled[:7]
        if chance.random() < 0.7:
            await space.rate()
        if chance.random() < 0.1:
            space.new_worker()
    await space.rate()
    assert await space.books() == expected


async def _assert_same_from_nothing(space: Space) -> None:
    """Rate everything again without any memory, and compare."""
    books = await space.books()
    await _empty_books(space)
    await space.rate()
    assert books == await space.books()


async def _empty(space: Space) -> None:
    async with as_owner(space.database) as connection:
        await connection.execute(text("TRUNCATE event_keys, events, revisions, held_events, rejections, unread"))
    await _empty_books(space)


async def _empty_books(space: Space) -> None:
    async with as_owner(space.database) as connection:
        await connection.execute(
            text(
                "TRUNCATE charges, draws, entries, deferrals, journal, outbox, rating_cursors, refolds, checkpoints,"
                " unresolved"
            )
        )
    space.new_worker()
