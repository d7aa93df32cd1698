"""Whose a badge is, over time: handed on, ended, withdrawn; and the bill that follows, however it is learned."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime

import pytest
import pytest_asyncio

from meter.model.errors import BadInput
from meter.store.identities import claimed_identities, end_claim, withdraw_claim
from meter.store.unresolved import claim_identity
from tests.booking.space import LATER, Space, entry, event, open_space, sale

BADGE = "badge:04A2"
HAMBURG = {"door": "main", "granted": True, "direction": "in"}


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


async def claim(space: Space, member: str, start: date | None = None, end: date | None = None) -> None:
    async with space.database.begin() as conn:
        await claim_identity(conn, "northside", BADGE, member=member, start=start, end=end, now=LATER)


async def withdraw(space: Space, member: str, since: date | None = None) -> None:
    async with space.database.begin() as conn:
        await withdraw_claim(conn, "northside", BADGE, member=member, since=since)


async def days(space: Space) -> list[tuple[object, ...]]:
    """Whose day passes stand, by the local day."""
    return await space.rows(
        "SELECT account, member, to_char(event_time, 'DD') FROM charges WHERE meter = 'day-passes'"
        " GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0 ORDER BY 3, 1, 2"
    )


async def test_a_badge_handed_on_is_the_old_holders_until_then(space: Space) -> None:
    await claim(space, "ada")
    await space.take(entry("1", "09T09:00", subject=BADGE))
    await claim(space, "eve", date(2026, 3, 10))
    await space.rate()
    # Panels that upload late: what comes in after the badge was handed on counts by its own time.
    late = event("door.access", "4", "09T22:59", BADGE, "hamburg/door/main", HAMBURG)
    midnight = event("door.access", "5", "09T23:00", BADGE, "hamburg/door/main", HAMBURG)
    await space.take(entry("3", "20T09:00", subject=BADGE), entry("2", "08T09:00", subject=BADGE), late, midnight)
    assert await days(space) == [
        ("acme", "ada", "08"),
        ("acme", "ada", "09"),
        ("solo", "eve", "09"),  # midnight in Berlin
        ("solo", "eve", "20"),
    ]
    # It is one badge at both sites; who had it when stands in the list.
    async with space.database.begin() as conn:
        [listed] = await claimed_identities(conn, "northside", identity="badge:04a2", identities_max=10)
    starts = [(one.member, one.span.start, one.span.end) for one in listed.claims]
    assert starts == [("ada", None, None), ("eve", datetime(2026, 3, 9, 23, tzinfo=UTC), None)]


async def test_a_claim_that_ends_leaves_what_comes_later_to_nobody(space: Space) -> None:
    await space.take(entry("1", "05T09:00", subject=BADGE), entry("2", "15T09:00", subject=BADGE))
    await claim(space, "ada")
    await space.rate()
    async with space.database.begin() as conn:
        outcome = await end_claim(conn, "northside", BADGE, member="ada", since=None, end=date(2026, 3, 10))
        assert [touch.account for touch in outcome.touches] == ["acme"]
    await space.rate()
    assert await days(space) == [("acme", "ada", "05")]
    assert await space.rows("SELECT id FROM unresolved") == [("2",)]


async def test_a_withdrawn_claim_leaves_the_books_as_if_it_had_never_been(space: Space) -> None:
    bodies = [entry("1", "05T09:00", subject=BADGE), sale("2", "06T09:00", "3.00", subject=BADGE)]
    await space.take(*bodies)
    before = await space.books()
    assert [row[2] for row in before["unresolved"]] == [BADGE]
    for since in (None, date(2026, 3, 2)):
        await claim(space, "ada", since)
        await space.rate()
        assert await days(space) == [("acme", "ada", "05")]
        await withdraw(space, "ada")
        await space.rate()
        assert await space.books() == before
        async with space.database.begin() as conn:
            assert await claimed_identities(conn, "northside", identity=BADGE, identities_max=10) == []
    await claim(space, "ada", date(2026, 3, 2))  # once more: it had been right
    await space.rate()
    assert await days(space) == [("acme", "ada", "05")]


async def test_what_a_withdrawn_claim_hid_counts_again(space: Space) -> None:
    await claim(space, "ada", date(2026, 3, 1))
    await claim(space, "eve", date(2026, 3, 10))
    await space.take(entry("1", "15T09:00", subject=BADGE))
    assert await days(space) == [("solo", "eve", "15")]
    await withdraw(space, "eve", date(2026, 3, 10))
    await space.rate()
    assert await days(space) == [("acme", "ada", "15")]


STEPS: dict[str, Callable[[Space], Awaitable[None]]] = {
    "early": lambda space: space.take(entry("1", "05T09:00", subject=BADGE)),
    "late": lambda space: space.take(entry("2", "15T09:00", subject=BADGE), sale("3", "16T09:00", "3.00", BADGE)),
    "hers": lambda space: claim(space, "ada"),
    "wrong": lambda space: claim(space, "bob", date(2026, 3, 1)),
    "right": lambda space: withdraw(space, "bob"),
}


@pytest.mark.parametrize(
    "order", [order for order in itertools.permutations(STEPS) if order.index("wrong") < order.index("right")][::7]
)
async def test_it_does_not_matter_when_a_wrong_claim_was_put_and_withdrawn(
    space: Space, order: tuple[str, ...]
) -> None:
    for step in order:
        await STEPS[step](space)
        await space.rate()
    assert await days(space) == [("acme", "ada", "05"), ("acme", "ada", "15")]
    books = await space.books()
    await space.forget()
    await space.take(entry("1", "05T09:00", subject=BADGE), entry("2", "15T09:00", subject=BADGE))
    await space.take(sale("3", "16T09:00", "3.00", BADGE))
    assert await space.books() == books


async def test_what_is_not_claimed_so_is_not_withdrawn(space: Space) -> None:
    await claim(space, "ada")
    await claim(space, "ada", date(2026, 3, 10))
    async with space.database.begin() as conn:
        with pytest.raises(BadInput, match=r"2 times, from always, 2026-03-09T23:00:00Z") as caught:
            await withdraw_claim(conn, "northside", BADGE, member="ada", since=None)
        assert caught.value.code == "invalid"
        with pytest.raises(BadInput, match="claimed by: ada since always") as caught:
            await withdraw_claim(conn, "northside", BADGE, member="bob", since=None)
        assert caught.value.code == "not_found"
        with pytest.raises(BadInput, match="claimed by"):
            await withdraw_claim(conn, "northside", BADGE, member="ada", since=date(2026, 3, 11))
        with pytest.raises(BadInput, match="withdraw it"):
            await end_claim(
                conn,
                "northside",
                BADGE,
                member="ada",
                since=date(2026, 3, 10),
                end=datetime(2026, 3, 9, 23, tzinfo=UTC),
            )
        assert (await withdraw_claim(conn, "northside", BADGE, member="ada", since="always")).changes.claims
        assert (await withdraw_claim(conn, "northside", BADGE, member="ada", since=None)).changes.claims
