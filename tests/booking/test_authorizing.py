"""Asking before acting, on a real database: one credit is promised once, and every bill is what it would have been."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from meter.booking import authorizing
from meter.model.errors import BadInput
from meter.store.authorizations import Authorization, find_authorization, open_reservations, release_authorization
from meter.store.directory_write import lock_facts
from tests.booking.asking import Asking, printed, strict
from tests.booking.space import CATALOG, Space, entry, open_space, void

WORKERS = 64
# Of the pool's 20; the leases have one of them.
CONNECTIONS = 16


@pytest_asyncio.fixture
async def asking(database_url: str) -> AsyncIterator[Asking]:
    async with open_space(database_url, strict(CATALOG)) as space:
        yield Asking(space)


async def at_once(asking: Asking, quantity: int) -> list[Authorization]:
    """What so many workers of several gateways are answered that ask at the same time, each connection being there."""
    ready = asyncio.Barrier(CONNECTIONS)

    async def connect() -> None:
        async with asking.space.database.begin():
            await ready.wait()

    await asyncio.gather(*(connect() for _ in range(CONNECTIONS)))
    gateways = [Asking(asking.space) for _ in range(4)]
    found = await asyncio.gather(*(gateways[n % 4].ask(f"ask-{n}", quantity) for n in range(WORKERS)))
    return [one.authorization for one in found]


async def look(asking: Asking, name: str) -> Authorization:
    async with asking.space.database.begin() as connection:
        found = await find_authorization(connection, "northside", name)
    assert found is not None
    return found


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_of_many_who_ask_at_once_for_the_last_credit_one_gets_it(asking: Asking) -> None:
    await asking.space.take(printed("before", 9))
    found = await at_once(asking, 1)
    assert sum(one.allowed for one in found) == 1
    assert {tuple(one.answer["reasons"]) for one in found if not one.allowed} == {("no_credit",)}


async def test_all_of_the_credit_is_promised_and_no_more(asking: Asking) -> None:
    assert sum(one.allowed for one in await at_once(asking, 3)) == 3  # 9 of 10


async def test_without_the_accounts_lock_it_is_promised_twice(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault that the tests above must be able to see."""

    async def nothing(*_: Any) -> None:
        """Lock nothing."""

    monkeypatch.setattr(authorizing, "lock_account", nothing)
    await asking.space.take(printed("before", 9))
    assert sum(one.allowed for one in await at_once(asking, 1)) > 1


async def test_another_account_asks_for_itself(asking: Asking) -> None:
    assert await asking.allowed("adas", 10)
    assert not await asking.allowed("bobs", identity="badge:B0B1")  # of the same account
    assert await asking.allowed("eves", 10, identity="badge:EFE1")


async def test_asks_neither_wait_for_who_changes_the_facts_nor_hold_them_up(asking: Asking) -> None:
    """Asks come without end: whoever applies a catalog would never have its turn between them."""
    async with asking.space.database.begin() as connection:
        await lock_facts(connection, "northside")
        async with asyncio.timeout(20):
            assert await asking.allowed("a")


# --- what counts ------------------------------------------------------------------------------------------------------


async def test_events_that_are_not_rated_yet_count(asking: Asking) -> None:
    await asking.space.accept([printed("stored", 8)])
    found = (await asking.ask("a", 3)).authorization
    assert (found.allowed, found.answer["left"]) == (False, "2")
    assert await asking.allowed("b", 2)
    await asking.space.rate()
    assert not await asking.allowed("c")


async def test_a_late_event_before_the_checkpoint_counts_before_it_is_rated(asking: Asking) -> None:
    """A checkpoint is taken after some hundred events; what comes late lies before it."""
    start = asking.space.now
    asking.space.now += timedelta(hours=20)
    many = [printed(f"e{n}", 0, start + timedelta(minutes=n)) for n in range(1, 1101)]
    await asking.space.take(*many[:-1])
    checkpoints = await asking.space.rows("SELECT count(*) FROM checkpoints")
    assert checkpoints[0][0] > 0
    await asking.space.accept([printed("late", 8, start)])
    assert not await asking.allowed("a", 3)
    assert await asking.allowed("b", 2)


async def test_a_void_that_is_not_rated_yet_gives_credit_back(asking: Asking) -> None:
    await asking.space.take(printed("job", 10))
    assert not await asking.allowed("a")
    await asking.space.accept([void("void", "03T08:00", "job", "berlin/print/hall")])
    assert await asking.allowed("b", 10)


async def test_what_is_settled_counts_once_before_and_after_it_is_rated(asking: Asking) -> None:
    assert await asking.allowed("a", 6)
    await asking.space.accept([printed("job", 6, settles="a")])
    assert (await asking.ask("b", 5)).authorization.answer["left"] == "4"
    await asking.space.rate()
    assert (await asking.ask("c", 5)).authorization.answer["left"] == "4"
    assert await asking.allowed("d", 4)


async def test_a_reservation_that_is_settled_while_it_is_read_counts_once(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asking.allowed("a", 6)
    read = open_reservations

    async def then_its_event(*given: Any, **more: Any) -> list[Authorization]:
        found = await read(*given, **more)
        await asking.space.accept([printed("job", 6, settles="a")])
        return found

    monkeypatch.setattr(authorizing, "open_reservations", then_its_event)
    assert await asking.allowed("b", 4)


async def test_a_day_that_counts_already_is_free(asking: Asking) -> None:
    door = {"meter": "day-passes"}
    first = (await asking.ask("first", **door)).authorization
    assert first.answer["cost"]["amount"] == "25"
    second = (await asking.ask("second", **door)).authorization
    assert (second.allowed, second.answer["cost"]) == (True, None)
    asking.space.now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    await asking.space.accept([entry("door", "02T08:00")])
    assert (await asking.ask("third", **door)).authorization.answer["cost"] is None


# --- what becomes of it -----------------------------------------------------------------------------------------------


async def test_what_expires_is_free_again_by_the_clock_alone(asking: Asking) -> None:
    assert await asking.allowed("a", 10, expires_s=60)
    asking.space.now += timedelta(seconds=59, microseconds=999_999)
    assert not await asking.allowed("b")
    assert (await look(asking, "a")).state(asking.space.now) == "open"
    asking.space.now += timedelta(microseconds=1)
    assert (await look(asking, "a")).state(asking.space.now) == "expired"
    assert await asking.allowed("c", 10)


async def test_an_event_after_the_expiry_is_billed_and_settles_late(asking: Asking) -> None:
    await asking.ask("a", 4, expires_s=60)
    asking.space.now += timedelta(seconds=60)
    await asking.space.take(printed("job", 4, settles="a"))
    found = await look(asking, "a")
    assert (found.state(asking.space.now), found.late) == ("settled", True)
    assert found.settled_by == ("berlin/print/hall", "job")
    assert [row[5] for row in await asking.space.sums()] == [4]
    in_time = asking.space.now
    await asking.ask("b", 1)
    await asking.space.take(printed("job-2", 1, in_time, settles="b"))
    assert (await look(asking, "b")).late is False


async def test_what_is_released_is_free_again_and_an_event_settles_it_late(asking: Asking) -> None:
    await asking.ask("a", 10)
    async with asking.space.database.begin() as connection:
        await release_authorization(connection, "northside", "a", at=asking.space.now)
    assert (await look(asking, "a")).state(asking.space.now) == "released"
    assert await asking.allowed("b", 10)
    await asking.space.take(printed("job", 1, settles="a"))
    assert (await look(asking, "a")).late


async def test_the_first_event_settles_and_a_repetition_changes_nothing(asking: Asking) -> None:
    await asking.ask("a", 4)
    await asking.space.take(printed("job", 4, settles="a"), printed("job-2", 4, settles="a"))
    await asking.space.take(printed("job", 4, settles="a"))
    assert (await look(asking, "a")).settled_by == ("berlin/print/hall", "job")


@pytest.mark.parametrize(
    "wrong", [{"type": "door.access", "data": {"door": "d", "granted": True}}, {"source": "hamburg/x"}]
)
async def test_an_event_of_another_kind_or_site_settles_nothing(asking: Asking, wrong: dict[str, Any]) -> None:
    await asking.ask("a", 4)
    body = json.dumps(json.loads(printed("job", 4, settles="a")) | wrong).encode()
    await asking.space.accept([body])
    assert (await look(asking, "a")).state(asking.space.now) == "open"


async def test_a_settled_one_stays_settled_when_its_event_is_voided(asking: Asking) -> None:
    await asking.ask("a", 10)
    await asking.space.take(printed("job", 10, settles="a"))
    await asking.space.take(void("void", "03T08:00", "job", "berlin/print/hall"))
    assert (await look(asking, "a")).state(asking.space.now) == "settled"
    assert await asking.allowed("b", 10)


async def test_an_event_that_comes_though_it_was_refused_is_billed_and_noted(asking: Asking) -> None:
    assert not await asking.allowed("a", 11)
    await asking.space.take(printed("job", 11, settles="a"))
    found = await look(asking, "a")
    assert (found.state(asking.space.now), found.settled_by, found.late) == (
        "refused",
        ("berlin/print/hall", "job"),
        True,
    )
    assert [row[5] for row in await asking.space.sums()] == [11]


# --- the same again ---------------------------------------------------------------------------------------------------


async def test_the_same_ask_is_answered_as_the_first_time_after_a_restart_too(asking: Asking) -> None:
    first = await asking.ask("a", 10)
    await asking.space.take(printed("other", 5))
    again = await Asking(asking.space).ask("a", "10.0")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.authorization.answer == first.authorization.answer
    assert not await Asking(asking.space).allowed("b", 6)


async def test_another_ask_under_the_same_id_is_a_conflict(asking: Asking) -> None:
    await asking.ask("a", 1)
    others: list[dict[str, Any]] = [
        {"quantity": "2"},
        {"identity": "badge:B0B1"},
        {"site": "hamburg"},
        {"expires_s": 1},
    ]
    for other in others:
        with pytest.raises(BadInput) as caught:
            await asking.ask("a", **{"quantity": 1, **other})
        assert caught.value.code == "conflict"


async def test_asks_of_one_id_at_once_are_one(asking: Asking) -> None:
    found = await asyncio.gather(*(Asking(asking.space).ask("a", 4) for _ in range(8)))
    assert sum(not one.repeated for one in found) == 1
    nobodys = await asyncio.gather(*(Asking(asking.space).ask("x", identity="badge:NOBODY") for _ in range(8)))
    assert sum(not one.repeated for one in nobodys) == 1


# --- who and what -----------------------------------------------------------------------------------------------------


async def test_who_nobody_is_is_refused(asking: Asking) -> None:
    found = (await asking.ask("a", identity="badge:NOBODY")).authorization
    assert (found.allowed, found.account, found.answer["reasons"]) == (False, None, ["unknown_identity"])
    assert (await asking.ask("b", identity="member:ada")).authorization.account == "acme"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"meter": "nothing"}, "unknown_meter"),
        ({"quantity": "0"}, "invalid"),
        ({"quantity": "-1"}, "invalid"),
        ({"dimensions": {"color": True}}, "invalid"),
        ({"meter": "day-passes", "quantity": "2"}, "invalid"),
        ({"for_account": "solo"}, "forbidden"),
        ({"for_account": "acme", "identity": "badge:NOBODY"}, "forbidden"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_not_kept(asking: Asking, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        await asking.ask("a", **{"quantity": 1, **changes})
    assert caught.value.code == code
    assert await asking.space.rows("SELECT * FROM authorizations") == []


async def test_so_many_reservations_at_once_and_no_more(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizing, "RESERVATIONS_MAX", 2)
    assert await asking.allowed("a")
    assert await asking.allowed("b")
    with pytest.raises(BadInput, match="2 open reservations"):
        await asking.ask("c")


# --- limits -----------------------------------------------------------------------------------------------------------


def limited(*limits: str) -> str:
    """Without a grant that denies, and with limits."""
    return strict(CATALOG).replace("overage: deny}]\n", f"priority: 1}}]\n    limits: [{', '.join(limits)}]\n")


async def test_limits_count_what_is_booked_stored_and_reserved(database_url: str) -> None:
    """A checkpoint lies between: booked charges are summed before it, lines folded after it."""
    limits = limited("{meter: print-pages, hard: 30, soft: 20, every: day}")
    async with open_space(database_url, limits) as space:
        asking = Asking(space)
        start = space.now = datetime(2026, 10, 25, 20, tzinfo=UTC)  # Berlin's day has 25 hours: from 22:00 to 23:00
        day = datetime(2026, 10, 24, 22, tzinfo=UTC)
        many = [printed(f"e{n}", 0, day + timedelta(seconds=n)) for n in range(2, 1101)]
        await space.take(printed("before", 9, day - timedelta(seconds=1)), printed("first", 9, day), *many)
        assert (await space.rows("SELECT count(*) FROM checkpoints"))[0][0] > 0
        await space.accept([printed("stored", 4, start)])
        assert await asking.allowed("a", 5)
        found = (await asking.ask("b", 13)).authorization
        assert (found.answer["reasons"], found.answer["left"]) == (["hard_limit"], "12")
        assert found.answer["limits"][0] | {"used": "18", "asked": "13"} == found.answer["limits"][0]
        warned = (await asking.ask("c", 3)).authorization
        assert (warned.allowed, warned.answer["warnings"]) == (True, ["soft_limit"])
        space.now = datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
        assert not await asking.allowed("d", 18)
        space.now = datetime(2026, 10, 25, 23, tzinfo=UTC)
        assert await asking.allowed("e", 5)


async def test_a_limit_of_money_counts_what_one_member_is_to_pay(database_url: str) -> None:
    limits = limited("{meter: print-pages, hard: 1, of: money, per: member}")
    async with open_space(database_url, limits) as space:
        asking = Asking(space)
        await space.take(printed("job", 28))  # 10 by credit, 18 x 0.05
        space.now += timedelta(days=1)
        assert await asking.allowed("a", 2)
        found = (await asking.ask("b", 1)).authorization
        assert (found.answer["reasons"], found.answer["left"]) == (["hard_limit"], None)
        assert await asking.allowed("bobs", 5, identity="badge:B0B1")


# --- the bill ---------------------------------------------------------------------------------------------------------


async def test_the_bill_is_the_same_asked_or_not(asking: Asking) -> None:
    """In time, late, released, refused, never: 0 cents of difference."""
    space, start = asking.space, asking.space.now
    jobs = [(f"j{n}", n % 5 + 1) for n in range(12)]
    for n, (name, count) in enumerate(jobs):
        space.now = start + timedelta(minutes=n)
        await asking.ask(f"ask-{name}", count + n % 3, expires_s=(30, 3600)[n % 2])
        if n % 4 == 0:
            async with space.database.begin() as connection:
                await release_authorization(connection, "northside", f"ask-{name}", at=space.now)
    space.now = start + timedelta(hours=1)
    asked = [printed(name, n, start + timedelta(minutes=i), settles=f"ask-{name}") for i, (name, n) in enumerate(jobs)]
    await space.take(*asked)
    with_asking = await space.books()
    assert with_asking["sums"]
    await space.forget()
    await space.take(*(printed(name, n, start + timedelta(minutes=i)) for i, (name, n) in enumerate(jobs)))
    assert await space.books() == with_asking


async def test_what_was_quoted_is_what_is_charged(space: Space) -> None:
    """Beyond credit and over a tier: 100 pages are covered, 50 cost 0.05, the rest 0.041."""
    asking = Asking(space)
    await space.take(printed("before", 130))
    cost = (await asking.ask("a", 45)).authorization.answer["cost"]
    await space.take(printed("job", 45, settles="a"))
    figures = ", ".join(f"trim_scale({name})" for name in ("covered", "billable", "amount"))
    rows = await space.rows(f"SELECT {figures}, price FROM charges WHERE event_id = 'job'")  # noqa: S608
    assert [tuple(map(str, row)) for row in rows] == [
        (cost["covered"], cost["billable"], cost["amount"], cost["price"])
    ]
    assert cost["tax"]["rate"] == "0.19"
