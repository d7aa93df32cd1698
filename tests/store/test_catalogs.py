"""Versions of the catalog: when there is a new one, from when it counts, and whose accounts it touches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import text

from meter.catalog.issues import CatalogError
from meter.catalog.load import read_catalog_text
from meter.model.directory import SINCE_ALWAYS
from meter.model.errors import BadInput
from meter.store.apply import Outcome, apply_catalog, preview_catalog, read_known_to
from meter.store.catalogs import StoredVersion, body_digest, in_force, load_catalogs, read_versions, write_version
from meter.store.directory import facts_version, load_directory
from meter.store.engine import Database
from tests.owning import as_owner

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
CATALOG = """
operator: northside
currency: EUR
timezone: UTC
meters:
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {prices: {pages: [{id: page, model: per_unit, unit_price: 0.05}]}}
accounts:
  acme: {name: ACME}
  beta: {name: Beta}
"""

# With something of each kind that bills depend on, or do not.
SET_UP = """
operator: northside
currency: EUR
timezone: UTC
sites:
  berlin: {name: Berlin, timezone: UTC}
taxes:
  vat: {rate: 0.19, inclusive: true}
meters:
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page, where: {color: true}}
plans:
  flex:
    name: Flex
    limits: [{meter: pages, hard: 5}]
    grants: [{id: free, unit: page, amount: 20, overage: deny}]
    prices: {pages: [{id: page, model: per_unit, unit_price: 0.05, tax: vat}]}
mqtt:
  - {topic: doors/#, decoder: esphome-tag, site: berlin}
accounts:
  acme: {}
  beta: {}
"""


@dataclass(kw_only=True)
class Shop:
    """One operator's database, and a clock that a test moves."""

    database: Database
    now: datetime = NOW

    async def apply(self, catalog: str, *, reason: str | None = None) -> Outcome:
        async with self.database.begin() as conn:
            loaded = read_catalog_text([("c.yaml", catalog)], known=await read_known_to(conn))
            return await apply_catalog(conn, loaded, now=self.now, reason=reason)

    async def preview(self, catalog: str) -> Outcome:
        async with self.database.begin() as conn:
            loaded = read_catalog_text([("c.yaml", catalog)], known=await read_known_to(conn))
            return await preview_catalog(conn, loaded, now=self.now)

    async def event_at(self, time: datetime) -> None:
        """Store an event, as if one had been accepted."""
        async with self.database.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO events (operator, time, source, id, type, site, timed, channel, received_at, data)"
                    " VALUES ('northside', :time, 'berlin/door', :id, 'door.access', 'berlin', true, 'http', :time,"
                    " '{}')"
                ),
                {"time": time, "id": str(time)},
            )

    async def refolds(self) -> list[tuple[str, datetime | None, str]]:
        """Return account, since (None: always) and reason of all requests, and forget them."""
        async with self.database.begin() as conn:
            rows = (await conn.execute(text("DELETE FROM refolds RETURNING account, since, reason"))).all()
        return sorted((row.account, None if row.since.tzinfo is None else row.since, row.reason) for row in rows)

    async def version_at(self, instant: datetime) -> int:
        async with self.database.begin() as conn:
            catalogs = await load_catalogs(conn, "northside")
        assert catalogs is not None
        return catalogs.at(instant).version

    async def blocked(self, change: asyncio.Task[Outcome]) -> None:
        """Return once a transaction of this database waits for another; fail if the change does not."""
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        waiting = 0
        while not waiting:
            assert not change.done(), change.exception() or "the change did not wait"
            async with as_owner(self.database) as conn:
                waiting = (await conn.execute(waits)).scalar_one()

    async def facts(self) -> int:
        async with self.database.begin() as conn:
            return await facts_version(conn, "northside")


@pytest_asyncio.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """Of a database that has no operator yet."""
    database = Database(database_url)
    yield Shop(database=database)
    await database.dispose()


async def test_the_first_version_is_in_force_since_always_whatever_it_says(shop: Shop) -> None:
    outcome = await shop.apply(CATALOG + "effective: 2026-02-01\n")
    assert (outcome.version, outcome.effective) == (1, None)
    assert await shop.version_at(SINCE_ALWAYS) == 1
    assert await shop.facts() == 1


async def test_what_says_nothing_new_makes_no_version(shop: Shop) -> None:
    await shop.apply(CATALOG + "effective: 2026-02-01\n")
    for again in (CATALOG, CATALOG + "effective: 2026-02-01\n", CATALOG.replace("0.05", "0.050")):
        assert not await shop.apply(again)
    shop.now += timedelta(days=400)
    assert not await shop.apply(CATALOG)
    assert await shop.facts() == 1


async def test_a_later_version_counts_from_when_it_is_applied_unless_it_says_otherwise(shop: Shop) -> None:
    await shop.apply(CATALOG)
    applied = await shop.apply(CATALOG.replace("0.05", "0.06"))
    assert (applied.version, applied.effective) == (2, NOW)
    planned = await shop.apply(CATALOG.replace("0.05", "0.07") + "effective: 2026-04-01\n")
    assert (planned.version, planned.effective) == (3, datetime(2026, 4, 1, tzinfo=UTC))
    assert await shop.version_at(NOW - timedelta(microseconds=1)) == 1
    assert await shop.version_at(NOW) == 2
    assert await shop.version_at(datetime(2026, 4, 1, tzinfo=UTC)) == 3
    # What is in force now is applied again: the price of April stays planned.
    assert not await shop.apply(CATALOG.replace("0.05", "0.06"))
    assert await shop.version_at(datetime(2026, 5, 1, tzinfo=UTC)) == 3


async def test_a_date_is_midnight_in_the_operators_zone(shop: Shop) -> None:
    tokyo = CATALOG.replace("timezone: UTC", "timezone: Asia/Tokyo")
    await shop.apply(tokyo)
    outcome = await shop.apply(tokyo.replace("0.05", "0.06") + "effective: 2026-04-01\n")
    assert outcome.effective == datetime(2026, 3, 31, 15, tzinfo=UTC)


async def test_of_two_versions_effective_at_once_the_later_one_is_in_force(shop: Shop) -> None:
    await shop.apply(CATALOG)
    await shop.apply(CATALOG.replace("0.05", "0.06") + "effective: 2026-04-01\n")
    await shop.apply(CATALOG.replace("0.05", "0.07") + "effective: 2026-04-01\n")
    assert await shop.version_at(datetime(2026, 4, 1, tzinfo=UTC)) == 3
    # The same content as the version that was replaced is news again.
    assert (await shop.apply(CATALOG.replace("0.05", "0.06") + "effective: 2026-04-01\n")).version == 4


async def test_a_version_effective_in_the_past_takes_a_reason(shop: Shop) -> None:
    await shop.apply(CATALOG)
    changed = CATALOG.replace("0.05", "0.06") + "effective: 2026-03-01\n"
    with pytest.raises(CatalogError, match="--reason"):
        await shop.apply(changed)
    assert await shop.facts() == 1
    assert (await shop.apply(changed, reason="the price list of March")).version == 2
    assert await shop.version_at(MARCH) == 2


async def test_a_version_touches_every_account_from_its_effective_date_if_there_is_usage_since(shop: Shop) -> None:
    await shop.apply(CATALOG)
    assert await shop.refolds() == []  # nothing has happened yet
    await shop.event_at(MARCH + timedelta(days=4))
    await shop.apply(CATALOG.replace("0.05", "0.06") + "effective: 2026-03-06\n", reason="r")
    assert await shop.refolds() == []  # nothing has happened since
    await shop.apply(CATALOG.replace("0.05", "0.07") + "effective: 2026-03-01\n", reason="wrong price")
    why = "catalog version 3: wrong price"
    assert await shop.refolds() == [("acme", MARCH, why), ("beta", MARCH, why)]


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("hard: 5", "hard: 6"),
        ("limits: [{meter: pages, hard: 5}]", "limits: []"),
        ("overage: deny", "overage: bill"),
        ("name: Flex", "name: Flexible"),
        ("name: Berlin", "name: The one in Berlin"),
        ("doors/#", "doors/+/tag"),
    ],
)
async def test_a_version_touches_nobody_where_no_bill_depends_on_what_differs(
    shop: Shop, written: str, instead: str
) -> None:
    assert written in SET_UP
    await shop.apply(SET_UP)
    await shop.event_at(NOW + timedelta(hours=1))
    await shop.refolds()
    applied = await shop.apply(SET_UP.replace(written, instead))
    assert (applied.version, applied.touches) == (2, ())
    assert await shop.refolds() == []
    # The next one is compared with it, not with the first.
    assert (await shop.apply(SET_UP.replace(written, instead).replace("0.05", "0.06"))).touches


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("unit_price: 0.05", "unit_price: 0.06"),
        ("amount: 20", "amount: 21"),
        ("where: {color: true}", "where: {color: 1}"),
        ("model: per_unit, unit_price", "model: flat, amount"),
        ("timezone: UTC}", "timezone: Asia/Tokyo}"),
        ("inclusive: true", "inclusive: false"),
    ],
)
async def test_a_version_that_bills_differently_touches_whatever_else_it_says(
    shop: Shop, written: str, instead: str
) -> None:
    assert written in SET_UP
    await shop.apply(SET_UP)
    await shop.event_at(NOW + timedelta(hours=1))
    await shop.refolds()
    await shop.apply(SET_UP.replace(written, instead).replace("hard: 5", "hard: 6"))
    assert [account for account, *_ in await shop.refolds()] == ["acme", "beta"]


async def test_a_version_that_says_the_same_touches_whom_another_one_stood_for(shop: Shop) -> None:
    await shop.apply(CATALOG)
    body = dict(read_catalog_text([("c", CATALOG.replace("0.05", "0.04"))]).body)
    own = StoredVersion(version=2, effective=MARCH, body=body, digest=body_digest(body), account="acme")
    async with shop.database.begin() as conn:
        await write_version(conn, "northside", own, reason="r")
    await shop.event_at(NOW + timedelta(hours=1))
    await shop.apply(CATALOG.replace("prices:", "limits: [{meter: pages, hard: 9}], prices:"))
    assert [account for account, *_ in await shop.refolds()] == ["acme"]


async def test_a_version_touches_subscribers_and_buyers_even_without_usage(shop: Shop) -> None:
    people = CATALOG.replace("{name: ACME}", "{subscriptions: [{id: s, plan: flex, from: 2026-05-01}]}")
    people += "  gamma: {}\n  delta: {}\nmembers:\n  ada: {account: gamma, subscriptions: [{id: own, plan: flex}]}\n"
    people += "grants:\n  - {id: g, account: delta, unit: page, amount: 1, effective: 2026-05-01, bought: {price: 1}}\n"
    await shop.apply(people)
    await shop.refolds()
    await shop.apply(CATALOG.replace("0.05", "0.06"))
    assert [(account, since) for account, since, _ in await shop.refolds()] == [
        ("acme", NOW),
        ("delta", NOW),
        ("gamma", NOW),
    ]


async def test_a_version_for_one_account_is_in_force_for_it_alone(shop: Shop) -> None:
    await shop.apply(CATALOG)
    body = dict(read_catalog_text([("c", CATALOG.replace("0.05", "0.04"))]).body)
    for number, account in ((2, "acme"), (3, None)):
        version = StoredVersion(
            version=number,
            effective=MARCH + timedelta(days=number),
            body=body,
            digest=body_digest(body),
            account=account,
        )
        async with shop.database.begin() as conn:
            await write_version(conn, "northside", version, reason="agreed with them")
    async with shop.database.begin() as conn:
        versions = await read_versions(conn, "northside")
        catalogs = await load_catalogs(conn, "northside")
    assert catalogs is not None
    found = {
        day: [
            line.at(MARCH + timedelta(days=day)).version
            for line in (catalogs, catalogs.of_account("acme"), catalogs.of_account("beta"))
        ]
        for day in (1, 2, 3)
    }
    assert found == {1: [1, 1, 1], 2: [1, 2, 1], 3: [3, 3, 3]}
    second = MARCH + timedelta(days=2)
    for account, number in ((None, 1), ("beta", 1), ("acme", 2)):
        found_there = in_force(versions, second, account=account)
        assert found_there is not None
        assert found_there.version == number
    assert catalogs.of_account("acme") is catalogs.of_account("acme")
    assert not await shop.apply(CATALOG.replace("0.05", "0.040"))  # what is in force for everybody


async def test_a_plan_that_goes_away_under_its_subscribers_is_told(shop: Shop) -> None:
    await shop.apply(CATALOG.replace("{name: ACME}", "{subscriptions: [{id: s, plan: flex, to: 2026-05-01}]}"))
    without = CATALOG[: CATALOG.index("plans:")] + "effective: 2026-04-01\n"
    (warning,) = (await shop.preview(without)).warnings
    assert (warning.path, "1 subscribe, like s" in warning.message) == ("plans.flex", True)
    assert (await shop.preview(without.replace("2026-04", "2026-05"))).warnings == ()
    assert (await shop.preview(CATALOG)).warnings == ()


async def test_a_preview_tells_what_applying_does_and_writes_nothing(shop: Shop) -> None:
    await shop.apply(CATALOG)
    await shop.event_at(MARCH + timedelta(days=4))
    changed = CATALOG.replace("0.05", "0.06").replace("beta: {name: Beta}", "beta: {name: B}\n  gamma: {}")
    changed += "sites:\n  berlin: {}\neffective: 2026-03-01\n"
    preview = await shop.preview(changed)
    assert preview.needs_reason
    assert [(s.section, s.added, s.changed, s.removed) for s in preview.sections] == [
        ("sites", ("berlin",), (), ()),
        ("plans", (), ("flex",), ()),
    ]
    assert [(change.after.id, change.before is None) for change in preview.changes.accounts] == [
        ("beta", False),
        ("gamma", True),
    ]
    assert [touch.account for touch in preview.touches] == ["acme", "beta", "gamma"]
    assert (await shop.facts(), await shop.refolds(), await shop.version_at(NOW)) == (1, [], 1)
    applied = await shop.apply(changed, reason="r")
    assert (applied.sections, applied.changes) == (preview.sections, preview.changes)


async def test_the_database_serves_the_operator_of_its_first_catalog(shop: Shop) -> None:
    await shop.apply(CATALOG)
    for call in (shop.apply, shop.preview):
        with pytest.raises(BadInput, match="serves the operator northside") as caught:
            await call(CATALOG.replace("operator: northside", "operator: southside"))
        assert caught.value.code == "conflict"


async def test_of_two_first_catalogs_at_once_one_is_taken(shop: Shop) -> None:
    other = CATALOG.replace("operator: northside", "operator: southside")
    results = await asyncio.gather(
        *(shop.apply(catalog) for catalog in (CATALOG, other, CATALOG)), return_exceptions=True
    )
    async with as_owner(shop.database) as conn:
        (operator,) = (await conn.execute(text("SELECT operator FROM operators"))).scalars().all()
    taken = [result for result in results if isinstance(result, Outcome)]
    assert {outcome.operator for outcome in taken} == {operator}
    assert sum(outcome.version is not None for outcome in taken) == 1


async def test_of_two_writers_at_once_the_second_waits_and_sees_what_the_first_wrote(shop: Shop) -> None:
    await shop.apply(CATALOG)
    one = read_catalog_text([("c", CATALOG.replace("0.05", "0.06"))])
    async with shop.database.begin() as first:
        assert (await apply_catalog(first, one, now=NOW)).version == 2
        second = asyncio.create_task(shop.apply(CATALOG.replace("0.05", "0.07")))
        await shop.blocked(second)
    assert (await second).version == 3
    assert await shop.facts() == 3


async def test_a_change_waits_for_whoever_reads_the_facts_to_rate_with_them(shop: Shop) -> None:
    await shop.apply(CATALOG)
    async with shop.database.begin() as rating:
        await rating.execute(text("SELECT facts_version FROM operators FOR SHARE"))
        change = asyncio.create_task(shop.apply(CATALOG.replace("0.05", "0.06")))
        await shop.blocked(change)
    assert (await change).version == 2


async def test_prices_come_back_exactly(shop: Shop) -> None:
    await shop.apply(CATALOG.replace("0.05", "0.100000000000000005"))
    async with shop.database.begin() as conn:
        catalogs = await load_catalogs(conn, "northside")
        directory = await load_directory(conn, "northside")
    assert catalogs is not None
    loaded = read_catalog_text([("c", CATALOG.replace("0.05", "0.100000000000000005"))])
    assert catalogs.versions[0].plans == loaded.catalog.plans
    assert directory.version == 1


def test_the_digest_is_of_what_a_body_says() -> None:
    assert body_digest({"a": 1, "b": [True]}) == body_digest({"b": [True], "a": 1})
    assert body_digest({"a": 1}) != body_digest({"a": "1"})
    assert body_digest({"a": 1}) != body_digest({"a": True})
