"""Drafts: the latest counts, what is applied is put as any entry, and nothing is decided that nobody dated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from meter.catalog.load import read_catalog_text
from meter.ingest.arrival import Channel
from meter.model.errors import BadInput
from meter.store.apply import apply_catalog
from meter.store.directory import load_directory
from meter.store.drafts import (
    Decided,
    Draft,
    DraftKey,
    apply_drafts,
    apply_open,
    dismiss_draft,
    find_draft,
    list_drafts,
    preview_drafts,
)
from meter.store.merge import merge_members
from tests.booking.space import Space, open_space
from tests.owning import as_owner
from tests.store.vendor_news import (
    ACCOUNT,
    ALL,
    MEMBER,
    SUBSCRIPTION,
    account,
    at,
    member,
    says,
    subscription,
    tell,
)

OPERATOR = "northside"
NOW = at(12)


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


async def apply(space: Space, *keys: DraftKey) -> list[Decided]:
    async with space.database.begin() as conn:
        return await apply_drafts(conn, OPERATOR, keys, now=NOW)


async def apply_by_itself(space: Space, *sources: tuple[str, str]) -> list[Decided]:
    async with space.database.begin() as conn:
        return await apply_open(conn, OPERATOR, sources or (("cobot", "main"),), now=NOW)


async def one(space: Space, key: DraftKey) -> Draft:
    async with space.database.begin() as conn:
        return await find_draft(conn, OPERATOR, key)


async def listed(space: Space, **more: Any) -> list[Draft]:
    async with space.database.begin() as conn:
        return await list_drafts(conn, OPERATOR, **more)


async def directory(space: Space) -> Any:
    async with space.database.begin() as conn:
        return replace(await load_directory(conn, OPERATOR), version=0)


async def put(space: Space, yaml: str) -> None:
    async with space.database.begin() as conn:
        known = read_catalog_text([("more", space_catalog() + yaml)])
        await apply_catalog(conn, known, now=NOW)


def space_catalog() -> str:
    from tests.booking.space import CATALOG

    return CATALOG.partition("accounts:")[0]


# --- what is on the list ----------------------------------------------------------------------------------------------


async def test_the_latest_counts_in_whatever_order_it_comes(space: Space) -> None:
    news = [account(hour=8, name="First"), account(hour=9, name="Second"), account(hour=10, name="First")]
    for order in permutations(news):
        async with as_owner(space.database) as conn:
            await conn.execute(text("DELETE FROM drafts"))
            await conn.execute(text("DELETE FROM event_keys"))
            await conn.execute(text("DELETE FROM events"))
        for item in order:
            await tell(space.database, item)
        found = await one(space, ACCOUNT)
        assert (found.body["name"], found.time) == ("First", at(10))


async def test_they_are_listed_in_the_order_in_which_they_are_applied(space: Space) -> None:
    await tell(space.database, subscription(), member(), account())
    assert [draft.key for draft in await listed(space)] == list(ALL)
    assert [draft.key for draft in await listed(space, after=ACCOUNT, limit=1)] == [MEMBER]
    assert [draft.key for draft in await listed(space, kind="subscription")] == [SUBSCRIPTION]


async def test_what_was_decided_stands_until_the_vendor_says_something_else(space: Space) -> None:
    await tell(space.database, account())
    async with space.database.begin() as conn:
        assert (await dismiss_draft(conn, OPERATOR, ACCOUNT, now=NOW)).state == "dismissed"
    await tell(space.database, account(hour=10))
    assert (await one(space, ACCOUNT)).state == "dismissed"
    await tell(space.database, account(hour=11, name="Nine AG"))
    assert (await one(space, ACCOUNT)).state == "open"


async def test_what_is_not_there_cannot_be_decided_on(space: Space) -> None:
    await tell(space.database, account())
    with pytest.raises(BadInput) as caught:
        await apply(space, ACCOUNT, MEMBER)
    assert caught.value.code == "not_found"
    assert (await one(space, ACCOUNT)).state == "open"


# --- applying ---------------------------------------------------------------------------------------------------------


async def test_an_account_a_member_and_a_subscription_at_once(space: Space) -> None:
    await tell(space.database, subscription(), member(), account())
    decided = await apply(space, *ALL)
    assert [one.error for one in decided] == [None, None, None]
    known = await directory(space)
    assert known.accounts["cobot-9"].external == {"cobot": "9"}
    assert [link.account for link in known.links["cobot-9"]] == ["cobot-9"]
    assert [claim.member for claim in known.claims["cobot:9"]] == ["cobot-9"]
    assert [held.plan for held in known.subscriptions["account", "cobot-9"]] == ["flex"]
    assert {draft.state for draft in await listed(space, state=None)} == {"applied"}


async def test_applied_again_it_changes_nothing(space: Space) -> None:
    await tell(space.database, subscription(), member(), account())
    await apply(space, *ALL)
    before = await directory(space)
    decided = await apply(space, *ALL)
    assert [bool(one.outcome) for one in decided] == [False, False, False]
    assert await directory(space) == before


async def test_a_preview_says_the_same_and_changes_nothing(space: Space) -> None:
    await tell(space.database, subscription(), member(), account())
    before = await directory(space)
    async with space.database.begin() as conn:
        foreseen = await preview_drafts(conn, OPERATOR, ALL, now=NOW)
    assert await directory(space) == before
    assert {draft.state for draft in await listed(space, state=None)} == {"open"}
    assert [one.outcome for one in await apply(space, *ALL)] == [one.outcome for one in foreseen]


async def test_what_does_not_hold_keeps_its_fault_and_its_neighbours_are_applied(space: Space) -> None:
    await tell(space.database, subscription(plan="Hot Desk"), member(account="nobody"), account())
    decided = await apply(space, *ALL)
    assert [one.error is None for one in decided] == [True, False, False]
    states = {draft.key.kind: (draft.state, draft.fault) for draft in await listed(space, state=None)}
    assert states["account"] == ("applied", None)
    state, fault = states["subscription"]
    assert state == "open"
    assert fault is not None
    assert "'Hot Desk'" in fault
    assert "cobot-9" not in (await directory(space)).members


async def test_a_fault_goes_when_the_vendor_says_something_else(space: Space) -> None:
    await tell(space.database, account(), subscription(plan="Hot Desk"))
    await apply(space, ACCOUNT, SUBSCRIPTION)
    await tell(space.database, subscription(hour=10))
    assert (await one(space, SUBSCRIPTION)).fault is None
    assert [one.error for one in await apply(space, SUBSCRIPTION)] == [None]


# --- what a vendor does not know --------------------------------------------------------------------------------------


async def test_what_is_stored_beside_stays(space: Space) -> None:
    await put(
        space,
        """
accounts:
  cobot-9: {name: Old, timezone: America/New_York, anchor_day: 15, stripe: cus_9, subscriptions: [
    {id: cobot-9, plan: flex, from: 2026-01-01, seats: 3, deposit: "50.00",
     discounts: [{id: founders, rate: "0.10", "on": [fees]}]}]}
members:
  cobot-9: {account: cobot-9, identities: ["badge:9"]}
""",
    )
    before = await directory(space)
    await tell(
        space.database,
        account(),
        member(),
        says("subscription", {"account": "cobot-9", "plan": "flex", "to": "2026-12-31"}),
    )
    assert [one.error for one in await apply(space, *ALL)] == [None, None, None]
    known = await directory(space)
    stored = known.accounts["cobot-9"]
    assert (stored.name, stored.timezone, stored.anchor_day) == ("Nine GmbH", "America/New_York", 15)
    assert stored.external == {"stripe": "cus_9", "cobot": "9"}
    assert known.links["cobot-9"] == before.links["cobot-9"]
    assert {"badge:9", "cobot:9"} <= known.claims.keys()
    (held,), (was,) = known.subscriptions["account", "cobot-9"], before.subscriptions["account", "cobot-9"]
    assert (held.seats, held.deposit, held.discounts) == (was.seats, was.deposit, was.discounts)
    assert held.span.end is not None


async def test_who_was_merged_is_known_by_the_other_name(space: Space) -> None:
    await tell(space.database, member(account="acme"))
    await apply(space, MEMBER)
    async with space.database.begin() as conn:
        await merge_members(conn, OPERATOR, "cobot-9", into="ada")
    told = {"member": "cobot-9", "plan": "flex", "from": "2026-02-01"}
    await tell(
        space.database,
        member(hour=10, account="acme", name="N. Neun", identities=["cobot:9", "badge:9"]),
        says("subscription", told, hour=10),
    )
    assert [one.error for one in await apply(space, MEMBER, SUBSCRIPTION)] == [None, None]
    known = await directory(space)
    assert known.members["ada"].name == "Ada"
    assert [claim.member for claim in known.claims["badge:9"]] == ["ada"]
    assert [held.id for held in known.subscriptions["member", "ada"]] == ["cobot-9"]


async def test_an_end_that_is_taken_back_is_none(space: Space) -> None:
    await tell(space.database, account(), subscription(to="2026-12-31"))
    await apply(space, ACCOUNT, SUBSCRIPTION)
    await tell(space.database, subscription(hour=10, to=None))
    await apply(space, SUBSCRIPTION)
    (held,) = (await directory(space)).subscriptions["account", "cobot-9"]
    assert held.span.end is None


@pytest.mark.parametrize(
    ("news", "key", "word"),
    [
        (subscription(hour=10, plan="other"), SUBSCRIPTION, "end cobot-9 and put another"),
        (subscription(hour=10, account="acme"), SUBSCRIPTION, "end cobot-9 and put another"),
        (member(hour=10, account="acme"), MEMBER, "say since when"),
        (member(hour=10, identities=["badge:ada1"]), MEMBER, "BADGE is claimed for ada"),
    ],
)
async def test_what_has_no_date_is_for_a_person(space: Space, news: Any, key: DraftKey, word: str) -> None:
    """Another plan, another account, somebody else's badge: put as it is, it would hold since always."""
    await tell(space.database, account(), member(), subscription())
    await apply(space, *ALL)
    before = await directory(space)
    await tell(space.database, news)
    (decided,) = await apply(space, key)
    assert decided.error is not None
    assert word.replace("BADGE", "badge:ADA1") in decided.error.detail
    assert await directory(space) == before


# --- by itself --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "trusted"), [("fetch", True), ("webhook", True), ("poll", True), ("mqtt", False)])
async def test_only_what_the_vendor_said_is_applied_by_itself(space: Space, channel: Channel, *, trusted: bool) -> None:
    await tell(space.database, account(), channel=channel)
    assert len(await apply_by_itself(space)) == trusted
    assert ("cobot-9" in (await directory(space)).accounts) is trusted


async def test_nobody_speaks_in_a_vendors_name(space: Space) -> None:
    """A later draft of whoever may send events neither displaces the vendor's own nor is applied by itself."""
    await tell(space.database, account(name="Mine", hour=11), channel="http")
    await tell(space.database, account())
    await tell(space.database, account(name="Mine", hour=11, currency="USD"), channel="mqtt")
    assert (await one(space, ACCOUNT)).body["name"] == "Nine GmbH"
    await apply_by_itself(space)
    assert (await directory(space)).accounts["cobot-9"].name == "Nine GmbH"


async def test_deciding_and_hearing_at_once_is_no_deadlock(space: Space) -> None:
    news = [
        says("account", {"name": f"N{hour}"}, id=f"a{number}", hour=hour) for hour in range(3) for number in range(9)
    ]
    await tell(space.database, *news[:9])
    keys = [DraftKey("account", f"a{number}", "cobot", "main") for number in range(9)]
    await asyncio.gather(
        apply(space, *keys),
        tell(space.database, *news[9:18]),
        apply(space, *reversed(keys)),
        tell(space.database, *reversed(news[18:])),
        apply_by_itself(space),
    )
    assert {draft.body["name"] for draft in await listed(space, state=None)} == {"N2"}


async def test_only_of_sources_that_are_set_to(space: Space) -> None:
    await tell(space.database, account())
    assert await apply_by_itself(space, ("cobot", "other")) == []
    async with space.database.begin() as conn:
        assert await apply_open(conn, OPERATOR, [], now=NOW) == []


async def test_a_fault_is_tried_again_once_the_facts_have_changed(space: Space) -> None:
    await tell(space.database, member())
    (first,) = await apply_by_itself(space)
    assert first.error is not None
    assert await apply_by_itself(space) == []
    await tell(space.database, account())
    assert [one.error for one in await apply_by_itself(space)] == [None]
    assert [one.error for one in await apply_by_itself(space)] == [None]
    assert await apply_by_itself(space) == []
    assert "cobot-9" in (await directory(space)).members


async def test_a_body_of_any_kind_is_a_fault_and_no_failure(space: Space) -> None:
    bodies: list[Any] = [
        {"identities": [None, 3, {"id": "cobot:9"}, "x"], "account": 7},
        {"name": 3, "accounts": "x", "nobody": "knows"},
        {"identities": "cobot:9", "email": []},
        {"plan": {}, "from": "soon", "seats": "x"},
        {"identities": 3, "member": ["x"], "account": {}},
        {"name": [[[[[[[[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]]]]]]]},
        {"identities": [{"id": "badge:ada1"}]},
        {},
    ]
    for hour, body in enumerate(bodies):
        for kind in ("account", "member", "subscription"):
            await tell(space.database, says(kind, body, hour=hour))
        decided = await apply(space, *ALL)
        assert [one.draft.key for one in decided] == list(ALL)
    assert [claim.member for claim in (await directory(space)).claims["badge:ADA1"]] == ["ada"]


async def test_an_id_that_is_none_of_ours_is_a_fault(space: Space) -> None:
    await tell(space.database, says("account", {"name": "x"}, id="a b/c"))
    (decided,) = await apply(space, DraftKey("account", "a b/c", "cobot", "main"))
    assert decided.error is not None
    assert "no id" in decided.error.detail
