"""Two members that turn out to be one: their usage counts together from the first day on, however it was learned."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from meter.booking.preview import facts_after, previews
from meter.catalog.issues import CatalogError
from meter.catalog.load import read_catalog_text
from meter.model.errors import BadInput
from meter.store.apply import apply_catalog, read_known_to
from meter.store.identities import claimed_identities
from meter.store.merge import Merge, merge_members
from meter.store.unresolved import claim_identity
from tests.booking.closes import ACME_MARCH, Closes
from tests.booking.space import CATALOG, LATER, Space, entry, open_space, pages, sale

# Ada came twice: once by the front desk, once by the booking system, with another card.
TWICE = (
    CATALOG
    + """
  ada-2: {account: acme, name: Ada L., identities: ["badge:ADA2"]}
  ada-3: {account: acme, name: A. Lovelace, identities: [{id: "badge:ADA3", to: 2026-04-01}]}
grants:
  - {id: gift, account: acme, member: ada-2, unit: day, amount: "1", meters: [day-passes], effective: 2026-01-01}
"""
)
EVENTS = (
    entry("1", "02T08:00"),
    entry("2", "02T18:00", "badge:ADA2"),  # the same day
    entry("3", "03T08:00", "member:ada-2"),
    entry("4", "04T08:00", "badge:ADA3"),
    pages("5", "05T08:00", 130, "badge:ADA2"),
    sale("6", "06T08:00", "3.00", "badge:ADA2", "account"),
    sale("7", "06T09:00", "3.00", "member:ada-3"),
)


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, TWICE) as opened:
        yield opened


async def merge(space: Space, member: str, into: str) -> Merge:
    async with space.database.begin() as conn:
        return await merge_members(conn, "northside", member, into=into)


async def test_two_become_one_from_the_first_day_on(space: Space) -> None:
    await space.take(*EVENTS)
    assert await quantities(space, "day-passes") == {"ada": Decimal(1), "ada-2": Decimal(2), "ada-3": Decimal(1)}
    done = await merge(space, "ada-2", "ada")
    assert (done.claims, done.links, done.subscriptions, done.grants) == (1, 1, 0, 1)
    assert [touch.account for touch in done.touches] == ["acme"]
    await space.rate()
    # One pass for the day on which both cards opened a door, and the gift is hers.
    assert await quantities(space, "day-passes") == {"ada": Decimal(2), "ada-3": Decimal(1)}
    assert await space.rows("SELECT \"grant\", trim_scale(sum(amount)) FROM draws WHERE unit = 'day' GROUP BY 1") == [
        ("gift", Decimal(1))
    ]
    await space.take(entry("8", "09T08:00", "member:ada-2"), entry("9", "10T08:00", "badge:ADA2"))
    assert await quantities(space, "day-passes") == {"ada": Decimal(4), "ada-3": Decimal(1)}
    async with space.database.begin() as conn:
        held = await claimed_identities(conn, "northside", member="ada", identities_max=10)
    assert [one.identity for one in held] == ["badge:ADA1", "badge:ADA2"]


async def quantities(space: Space, meter: str) -> dict[str, Decimal]:
    rows = await space.rows(f"SELECT member, sum(quantity) FROM charges WHERE meter = '{meter}' GROUP BY 1")  # noqa: S608
    return {member: quantity for member, quantity in rows if quantity}


async def new_card(space: Space) -> None:
    async with space.database.begin() as conn:
        await claim_identity(conn, "northside", "badge:ADA4", member="ada", start=date(2026, 3, 1), end=None, now=LATER)
    await space.take(entry("10", "12T08:00", "badge:ADA4"))


STEPS: dict[str, Callable[[Space], Awaitable[Any]]] = {
    "early": lambda space: space.take(*EVENTS[:4]),
    "late": lambda space: space.take(*EVENTS[4:]),
    "second": lambda space: merge(space, "ada-2", "ada"),
    "third": lambda space: merge(space, "ada-3", "ada-2"),
    "new card": new_card,
}


# ada-3 becomes ada-2, who becomes ada: a chain, so that order among the merges is given.
ORDERS = [order for order in itertools.permutations(STEPS) if order.index("third") < order.index("second")]


@pytest.mark.parametrize("order", ORDERS[::6])
async def test_events_before_and_after_a_merge_come_to_the_same_bill(space: Space, order: tuple[str, ...]) -> None:
    for step in order:
        await STEPS[step](space)
        await space.rate()
    books = await space.books()
    assert {row[1] for row in books["sums"] if row[1]} == {"ada"}
    await space.forget()
    await space.take(*EVENTS, entry("10", "12T08:00", "badge:ADA4"))
    assert await space.books() == books


async def test_the_preview_says_what_merging_books(space: Space) -> None:
    await space.take(*EVENTS)
    closes = await Closes.of(space)
    assert await closes.close(ACME_MARCH)
    await closes.sweep()
    before = await space.rows("SELECT account, sum(rounded) FROM charges GROUP BY 1 ORDER BY 1")
    work = partial(merge_members, operator="northside", member="ada-2", into="ada")
    done, facts = await facts_after(space.database, work, "northside")
    since = {touch.account: touch.since for touch in done.touches}
    [found] = [one async for one in previews(space.database, "northside", facts, since, at=space.now)]
    assert found.charges
    assert await space.rows("SELECT 1 FROM members WHERE merged_into IS NOT NULL") == []
    await merge(space, "ada-2", "ada")
    await space.rate()
    after = await space.rows("SELECT account, sum(rounded) FROM charges GROUP BY 1 ORDER BY 1")
    assert after[0][1] - before[0][1] == found.net != 0
    # What was invoiced stays: a closed period gets adjustments.
    booked = [charge for charge in await closes.charges() if charge.reason == "merge of ada-2 into ada"]
    assert {charge.kind for charge in booked} == {"adjustment"}


async def test_a_merged_name_is_nobodys_to_use(space: Space) -> None:
    await merge(space, "ada-3", "ada-2")
    await merge(space, "ada-2", "ada")
    for part in (
        'members: {ada-3: {account: acme, identities: ["badge:NEW"]}}',
        "grants: [{id: more, account: acme, member: ada-3, unit: day, amount: 1, meters: [day-passes]}]",
    ):
        async with space.database.begin() as conn:
            catalog = CATALOG.partition("members:")[0] + part + "\n"
            loaded = read_catalog_text([("c.yaml", catalog)], known=await read_known_to(conn))
            with pytest.raises(CatalogError, match="ada-3, who was merged into ada; write ada") as caught:
                await apply_catalog(conn, loaded, now=LATER)
        assert [issue.line is not None for issue in caught.value.issues] == [True]
    async with space.database.begin() as conn:
        with pytest.raises(CatalogError, match="merged into ada"):
            await claim_identity(conn, "northside", "badge:NEW", member="ada-2", start=None, end=None, now=LATER)


async def test_merging_again_changes_nothing(space: Space) -> None:
    assert (await merge(space, "ada-3", "ada-2")).changed
    assert (await merge(space, "ada-2", "ada")).changed
    facts = await space.rows("SELECT facts_version FROM operators")
    for member, into in (("ada-2", "ada"), ("ada-3", "ada")):
        again = await merge(space, member, into)
        assert (again.changed, again.touches) == (False, ())
    assert await space.rows("SELECT facts_version FROM operators") == facts


@pytest.mark.parametrize(
    ("member", "into", "code", "said"),
    [
        ("ada", "nobody", "not_found", "'nobody'"),
        ("nobody", "ada", "not_found", "'nobody'"),
        ("ada", "ada", "invalid", "name two"),
        ("eve", "ada", "conflict", "eve belongs to solo always, ada to acme always"),
        ("ada-2", "bob", "conflict", "ada-2 was merged into ada before; merge ada if that is bob"),
        ("bob", "ada-2", "conflict", "merge bob into ada"),
        ("own-1", "own-2", "conflict", "own-1 has the subscription s1 since 2026-01-31T23:00:00Z, own-2 has s2"),
    ],
)
async def test_what_cannot_be_one_is_refused_with_the_reason(
    space: Space, member: str, into: str, code: str, said: str
) -> None:
    await space.apply(
        CATALOG.partition("members:")[0]
        + """members:
  own-1: {account: acme, subscriptions: [{id: s1, plan: flex, from: 2026-02-01}]}
  own-2: {account: acme, subscriptions: [{id: s2, plan: flex, from: 2026-03-01, to: 2026-04-01}]}
"""
    )
    await merge(space, "ada-2", "ada")
    before = await space.rows("SELECT * FROM identities ORDER BY 1, 2, 3")
    with pytest.raises(BadInput, match=said) as caught:
        await merge(space, member, into)
    assert caught.value.code == code
    assert await space.rows("SELECT * FROM identities ORDER BY 1, 2, 3") == before


async def test_claims_and_links_of_both_hold_as_long_as_either_did(space: Space) -> None:
    await space.apply(
        CATALOG.partition("members:")[0]
        + """members:
  one: {accounts: [{id: acme, to: 2026-03-05}], identities: [{id: "badge:X", from: 2026-03-01, to: 2026-03-05}]}
  two: {accounts: [{id: acme, to: 2026-03-09}], identities: [{id: "badge:X", from: 2026-03-01, to: 2026-03-09}]}
"""
    )
    await merge(space, "two", "one")
    ends = "SELECT to_char(\"end\", 'MM-DD HH24') FROM {} WHERE member = 'one'"
    assert await space.rows(ends.format("identities")) == [("03-08 23",)]
    assert await space.rows(ends.format("member_accounts")) == [("03-08 23",)]


async def test_one_who_moved_from_one_account_to_another_came_twice(space: Space) -> None:
    await space.apply(
        CATALOG.partition("members:")[0]
        + """members:
  early: {accounts: [{id: acme, to: 2026-03-10}], identities: ["badge:E"]}
  late: {accounts: [{id: solo, from: 2026-03-10}], identities: ["badge:1A7E"]}
"""
    )
    events = [
        entry(f"{badge}-{day}", f"{day}T08:00", badge) for badge in ("badge:E", "badge:1A7E") for day in ("05", "15")
    ]
    await space.take(*events)
    assert len(await space.rows("SELECT 1 FROM unresolved")) == 2
    done = await merge(space, "early", "late")
    assert [touch.account for touch in done.touches] == ["acme", "solo"]
    await space.rate()
    books = await space.books()
    assert [row[:2] for row in books["sums"]] == [("acme", "late"), ("solo", "late")]
    assert books["unresolved"] == []
    await space.forget()
    await space.take(*events)
    assert await space.books() == books
