"""The directory: what is put is loaded, put again changes nothing, and a change touches exactly whom it can touch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from meter.catalog.issues import CatalogError
from meter.catalog.load import read_catalog_text
from meter.model.directory import (
    FOR_EVER,
    Account,
    Claim,
    Directory,
    Discount,
    GivenGrant,
    Link,
    Member,
    Purchase,
    Span,
    Subscription,
)
from meter.model.period import Replaced, Terms
from meter.store.apply import Outcome, apply_catalog, read_known_to
from meter.store.directory import load_directory
from meter.store.engine import Database

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HEAD = """
operator: northside
currency: EUR
timezone: Europe/Berlin
meters:
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {prices: {pages: [{id: page, model: per_unit, unit_price: 0.05}]}}
  gold: {grants: [{id: g, unit: page, amount: 10}]}
sites:
  berlin: {walk_in: walk-in-berlin}
  lisbon: {walk_in: walk-in-lisbon}
"""
# acme's months begin on the 1st in Berlin, tokyo's on the 15th in Tokyo.
PEOPLE = """
accounts:
  acme: {name: ACME}
  tokyo: {name: Tokyo, timezone: Asia/Tokyo, anchor_day: 15}
  other: {}
members:
  ada: {account: acme}
  bob: {account: tokyo}
  eve: {}
"""


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


MARCH_1 = utc(2026, 2, 28, 23)  # midnight in Berlin
MARCH_5 = utc(2026, 3, 4, 23)
MARCH_8 = utc(2026, 3, 7, 23)
TOKYO_MARCH = utc(2026, 2, 14, 15)  # midnight of 15 February in Tokyo: its period that holds the beginning of March


@dataclass(kw_only=True)
class Shop:
    """One operator's database."""

    database: Database

    async def put(self, people: str) -> Outcome:
        """Apply the catalog with these people."""
        async with self.database.begin() as conn:
            loaded = read_catalog_text([("c.yaml", HEAD + people)], known=await read_known_to(conn))
            return await apply_catalog(conn, loaded, now=NOW)

    async def directory(self) -> Directory:
        async with self.database.begin() as conn:
            return await load_directory(conn, "northside")

    async def event(
        self, time: datetime, *, subject: str | None = None, type_: str = "door.access", site: str = "berlin"
    ) -> None:
        """Store an event, as if one had been accepted."""
        async with self.database.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO events (operator, time, source, id, type, site, subject, timed, channel, received_at,"
                    " data) VALUES ('northside', :time, 's', gen_random_uuid(), :type, :site, :subject, true, 'http',"
                    " :time, '{}')"
                ),
                {"time": time, "type": type_, "site": site, "subject": subject},
            )

    async def charge(self, account: str) -> None:
        """Book something, as if an event had been rated."""
        values: dict[str, Any] = {"account": account, "time": NOW}
        async with self.database.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO charges (operator, id, account, site, meter, kind, role, revision, event_time, source,"
                    " event_id, element, part, event_type, period_start, period_end, invoice_start, invoice_end,"
                    " quantity, unit, covered, billable, dimensions, amount, rounded, currency, tax_amount, settlement,"
                    " estimated, unpriced, booked_at) VALUES ('northside', 'ch_1', :account, 's', 'm', 'usage',"
                    " 'original', 0, :time, 's', 'e', 0, '', 't', :time, :time, :time, :time, 1, 'u', 0, 1, '{}', 1, 1,"
                    " 'EUR', 0, 'account', false, false, :time)"
                ),
                values,
            )

    async def refolds(self) -> list[tuple[str, datetime | None]]:
        """Return account and since (None: always) of all requests, and forget them."""
        async with self.database.begin() as conn:
            rows = (await conn.execute(text("DELETE FROM refolds RETURNING account, since"))).all()
        return sorted((row.account, None if row.since.tzinfo is None else row.since) for row in rows)


@pytest.fixture
async def shop(database: Database) -> Shop:
    """A shop with people and usage."""
    shop = Shop(database=database)
    await shop.put(PEOPLE)
    await shop.refolds()
    await shop.event(utc(2026, 3, 9))
    return shop


# --- what is put is what is loaded ------------------------------------------------------------------------------------


async def test_everything_that_is_put_is_loaded(shop: Shop) -> None:
    await shop.put(
        """
accounts:
  acme: {name: ACME, stripe: cus_1, subscriptions: [{id: s, plan: flex, from: 2026-03-01, seats: 5, deposit: "200.00",
         discounts: [{id: early, rate: 0.1, on: fees, to: 2026-03-05}, {id: all, amount: 5}]}]}
members:
  ada: {name: Ada, email: ada@acme.example, accounts: [{id: acme, from: 2026-03-01, to: 2026-03-05}],
        identities: ["mac:AABBCCDDEEFF", {id: "badge:04a2", from: 2026-03-01, to: 2026-03-05}],
        subscriptions: [{id: own, plan: gold}]}
grants:
  - {id: pack, account: acme, member: ada, unit: page, amount: "10.5", meters: [pages],
     expires: 2026-03-05, priority: 7}
  - {id: goodwill, account: acme, unit: EUR, amount: 20}
  - {id: paid, account: acme, unit: page, amount: 3, effective: 2026-03-01, bought: {price: "180.00", tax: vat}}
taxes: {vat: {rate: 0.19}}
"""
    )
    directory = await shop.directory()
    spanned = Span(start=MARCH_1, end=MARCH_5)
    assert directory.accounts["acme"] == Account(
        id="acme", name="ACME", currency="EUR", timezone="Europe/Berlin", external={"stripe": "cus_1"}
    )
    assert directory.members["ada"] == Member(id="ada", name="Ada", email="ada@acme.example")
    assert directory.links["ada"] == (
        Link(member="ada", account="acme"),
        Link(member="ada", account="acme", span=spanned),
    )
    assert directory.claims == {
        "mac:aa-bb-cc-dd-ee-ff": (Claim(identity="mac:aa-bb-cc-dd-ee-ff", member="ada"),),
        "badge:04A2": (Claim(identity="badge:04A2", member="ada", span=spanned),),
    }
    assert directory.subscriptions == {
        ("account", "acme"): (
            Subscription(
                id="s",
                plan="flex",
                account="acme",
                span=Span(start=MARCH_1),
                seats=5,
                discounts=(
                    Discount(id="early", rate=Decimal("0.1"), on=("fees",), span=Span(end=MARCH_5)),
                    Discount(id="all", amount=Decimal(5)),
                ),
                deposit=Decimal(200),
            ),
        ),
        ("member", "ada"): (Subscription(id="own", plan="gold", member="ada"),),
    }
    assert directory.grants == {
        "acme": (
            GivenGrant(id="goodwill", account="acme", unit="EUR", amount=Decimal(20)),
            GivenGrant(
                id="pack",
                account="acme",
                member="ada",
                unit="page",
                amount=Decimal("10.5"),
                meters=("pages",),
                span=Span(end=MARCH_5),
                priority=7,
            ),
            GivenGrant(
                id="paid",
                account="acme",
                unit="page",
                amount=Decimal(3),
                span=Span(start=MARCH_1),
                bought=Purchase(price=Decimal(180), tax="vat"),
            ),
        ),
    }
    (held,) = directory.subscriptions["account", "acme"]
    assert type(held.discounts[1].amount) is Decimal  # JSON's whole numbers are int, which would divide into floats


async def test_a_grant_in_a_currency_that_its_account_does_not_pay_in_is_told(shop: Shop) -> None:
    people = "accounts:\n  zurich: {currency: CHF}\ngrants:\n  - {id: e, account: zurich, unit: EUR, amount: 5}\n"
    people += (
        "  - {id: c, account: zurich, unit: CHF, amount: 5}\n  - {id: p, account: zurich, unit: page, amount: 5}\n"
    )
    (warning,) = (await shop.put(people)).warnings
    assert (warning.line, warning.path) == (16, "grants[0]")
    assert "zurich pays in CHF" in warning.message
    (again,) = (await shop.put("grants:\n  - {id: u, account: acme, unit: USD, amount: 5}\n")).warnings
    assert "acme pays in EUR" in again.message


async def test_what_is_absent_stays(shop: Shop) -> None:
    await shop.put("members:\n  ada: {account: acme, identities: ['badge:1']}\n")
    await shop.put("members:\n  ada: {name: Ada}\n")
    directory = await shop.directory()
    assert set(directory.accounts) == {"acme", "tokyo", "other", "walk-in-berlin", "walk-in-lisbon"}
    assert [claim.member for claim in directory.claims["badge:1"]] == ["ada"]
    assert directory.links["ada"]


async def test_put_again_it_changes_nothing(shop: Shop) -> None:
    before = await shop.directory()
    assert not await shop.put(PEOPLE)
    assert await shop.directory() == before
    assert await shop.refolds() == []


async def test_the_first_event_ranks_claims_without_a_start_among_several(shop: Shop) -> None:
    await shop.event(MARCH_5, subject="badge:1")
    await shop.event(MARCH_8, subject="badge:1")
    await shop.event(MARCH_8, subject="badge:2")
    await shop.put(
        "members:\n  ada: {identities: ['badge:1', 'badge:2', 'badge:3']}\n  bob: {identities: ['badge:3']}\n"
    )
    assert (await shop.directory()).first_events == {"badge:3": FOR_EVER}
    await shop.put("members:\n  bob: {identities: [{id: 'badge:1', from: 2026-03-07}]}\n")
    assert (await shop.directory()).first_events == {"badge:1": MARCH_5, "badge:3": FOR_EVER}


async def test_a_member_counts_dates_in_the_zone_of_its_first_account(shop: Shop) -> None:
    await shop.put("members:\n  bob: {identities: [{id: 'badge:1', from: 2026-03-05}]}\n")
    await shop.put("members:\n  eve: {identities: [{id: 'badge:2', from: 2026-03-05}]}\n")
    claims = (await shop.directory()).claims
    assert claims["badge:1"][0].span.start == utc(2026, 3, 4, 15)
    assert claims["badge:2"][0].span.start == utc(2026, 3, 4, 23)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("people", "message"),
    [
        (
            "accounts:\n  acme: {subscriptions: [{id: a, plan: flex}, {id: b, plan: flex, from: 2026-03-01}]}\n",
            "overlap",
        ),
        ("members:\n  ada: {subscriptions: [{id: x, plan: flex}, {id: taken, plan: gold}]}\n", "overlap"),
        (
            (
                "grants:\n  - {id: g, account: tokyo, unit: page, amount: 1, effective: 2026-03-05,"
                " expires: 2026-03-04T15:00:00Z}\n"
            ),
            "ends before it begins",
        ),
        ("grants:\n  - {id: pack, account: tokyo, unit: page, amount: 1}\n", "belongs to the account acme"),
        (
            (
                "members:\n  eve: {identities: [{id: 'badge:1', from: 2026-03-01},"
                " {id: 'badge:1', from: 2026-02-28T23:00:00Z}]}\n"
            ),
            "keep one",
        ),
        # Its March begins on the 31st in Midway, when April has begun in Kiritimati.
        ("accounts:\n  late: {timezone: Pacific/Kiritimati}\n", "leaves no time for the period"),
    ],
)
async def test_what_contradicts_is_refused_at_its_line(shop: Shop, people: str, message: str) -> None:
    await shop.put(
        "accounts:\n  late: {timezone: Pacific/Midway, anchor_day: 31}\n"
        "grants:\n  - {id: pack, account: acme, unit: page, amount: 1}\n"
    )
    await shop.charge("late")
    before = await shop.directory()
    with pytest.raises(CatalogError, match=message) as caught:
        await shop.put(people)
    assert {(issue.file, issue.line) for issue in caught.value.issues} == {("c.yaml", 14)}
    assert await shop.directory() == before


async def test_subscriptions_that_meet_do_not_overlap(shop: Shop) -> None:
    await shop.put("accounts:\n  acme: {subscriptions: [{id: a, plan: flex, to: 2026-03-05}]}\n")
    await shop.put("accounts:\n  acme: {subscriptions: [{id: b, plan: gold, from: 2026-03-05}]}\n")
    with pytest.raises(CatalogError, match="a and b overlap"):
        await shop.put("accounts:\n  acme: {subscriptions: [{id: a, plan: flex}]}\n")


# --- terms of accounts ------------------------------------------------------------------------------------------------


async def test_terms_of_an_account_that_was_charged_change_with_the_next_period(shop: Shop) -> None:
    await shop.charge("acme")
    outcome = await shop.put("accounts:\n  acme: {name: ACME, anchor_day: 15}\n")
    (warning,) = outcome.warnings
    assert warning.message == (
        "EUR, Europe/Berlin and anchor_day 15 begin with the period 2026-04, on 2026-04-01;"
        " until then EUR, Europe/Berlin and anchor_day 1 hold"
    )
    acme = (await shop.directory()).accounts["acme"]
    assert acme.replaced == (Replaced(Terms("EUR", "Europe/Berlin"), "2026-04"),)
    april, may = (acme.periods.named(name) for name in ("2026-04", "2026-05"))
    assert (april.start, april.end, may.end) == (utc(2026, 3, 31, 22), utc(2026, 5, 14, 22), utc(2026, 6, 14, 22))
    assert await shop.refolds() == [("acme", april.start)]
    # Put again, nothing changes; taken back, nothing is left of it.
    assert not await shop.put("accounts:\n  acme: {name: ACME, anchor_day: 15}\n")
    await shop.put("accounts:\n  acme: {name: ACME}\n")
    assert (await shop.directory()).accounts["acme"].replaced == ()
    assert await shop.refolds() == [("acme", april.start)]


async def test_terms_of_an_account_that_was_never_charged_change_from_the_start(shop: Shop) -> None:
    outcome = await shop.put("accounts:\n  other: {anchor_day: 2}\n")
    assert (outcome.warnings, (await shop.directory()).accounts["other"].replaced) == ((), ())
    assert await shop.refolds() == [("other", None)]


# --- whom a change touches --------------------------------------------------------------------------------------------


async def test_a_claim_touches_everyone_who_ever_claimed_the_identity_from_the_periods_start(shop: Shop) -> None:
    await shop.put("members:\n  ada: {identities: [{id: 'badge:1', from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1)]
    await shop.put("members:\n  bob: {identities: [{id: 'badge:1', from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1), ("tokyo", TOKYO_MARCH)]
    await shop.put("members:\n  ada: {identities: [{id: 'badge:1', from: 2026-03-05, to: 2026-04-08}]}\n")
    assert await shop.refolds() == []  # nothing has happened since then
    await shop.put("members:\n  ada: {identities: [{id: 'badge:1', from: 2026-03-05, to: 2026-03-08}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1), ("tokyo", TOKYO_MARCH)]


async def test_a_claim_without_a_start_touches_since_always(shop: Shop) -> None:
    await shop.put("members:\n  ada: {identities: ['badge:1']}\n")
    assert await shop.refolds() == [("acme", None)]


async def test_a_claim_touches_the_walk_in_accounts_where_the_identity_paid(shop: Shop) -> None:
    await shop.event(MARCH_5, subject="card:1", type_="pos.sale", site="lisbon")
    await shop.event(MARCH_5, subject="card:2", type_="pos.sale", site="berlin")
    await shop.event(MARCH_5, subject="card:1", type_="door.access", site="berlin")
    await shop.put("members:\n  ada: {identities: [{id: 'card:1', from: 2026-03-01}]}\n")
    (acme, (walk_in, since)) = await shop.refolds()
    assert (acme, walk_in) == (("acme", MARCH_1), "walk-in-lisbon")
    assert since is not None
    assert since < MARCH_1  # its periods are not looked up: a month before is early enough


async def test_a_new_member_is_meant_by_its_own_name(shop: Shop) -> None:
    await shop.event(MARCH_5, subject="member:fay", type_="pos.sale", site="berlin")
    await shop.put("members:\n  fay: {accounts: [{id: other, from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("other", MARCH_1), ("walk-in-berlin", None)]


async def test_a_link_touches_every_account_of_the_member_from_the_periods_start(shop: Shop) -> None:
    await shop.put("members:\n  ada: {accounts: [{id: tokyo, from: 2026-03-05}]}\n")
    # Tokyo's period began on 15 February, in Tokyo.
    assert await shop.refolds() == [("acme", MARCH_1), ("tokyo", TOKYO_MARCH)]
    await shop.put("members:\n  ada: {accounts: [{id: tokyo, from: 2026-03-05, to: 2026-03-08}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1), ("tokyo", TOKYO_MARCH)]
    await shop.put("members:\n  eve: {account: other}\n")
    assert await shop.refolds() == [("other", None)]


async def test_a_subscription_touches_its_account_from_the_periods_start(shop: Shop) -> None:
    await shop.put("accounts:\n  acme: {name: ACME, subscriptions: [{id: s, plan: flex, from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1)]
    await shop.put("accounts:\n  acme: {name: ACME, subscriptions: [{id: s, plan: gold, from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1)]
    await shop.put("accounts:\n  acme: {name: ACME, subscriptions: [{id: s, plan: gold, from: 2026-02-05}]}\n")
    assert await shop.refolds() == [("acme", utc(2026, 1, 31, 23))]
    await shop.put(
        "accounts:\n  acme: {name: ACME, subscriptions: [{id: s, plan: gold, from: 2026-02-05, to: 2026-03-08}]}\n"
    )
    assert await shop.refolds() == [("acme", MARCH_1)]


async def test_a_members_own_subscription_touches_all_its_accounts(shop: Shop) -> None:
    await shop.put("members:\n  ada: {accounts: [{id: other, from: 2026-03-08}]}\n")
    await shop.refolds()
    await shop.put("members:\n  ada: {subscriptions: [{id: own, plan: flex, from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1), ("other", MARCH_1)]


async def test_a_subscription_that_changes_hands_touches_both(shop: Shop) -> None:
    await shop.put("accounts:\n  acme: {name: ACME, subscriptions: [{id: s, plan: flex, from: 2026-03-05}]}\n")
    await shop.refolds()
    await shop.put("members:\n  bob: {subscriptions: [{id: s, plan: flex, from: 2026-03-05}]}\n")
    assert await shop.refolds() == [("acme", MARCH_1), ("tokyo", TOKYO_MARCH)]
    assert set((await shop.directory()).subscriptions) == {("member", "bob")}


async def test_a_given_grant_touches_its_account_from_the_period_of_its_start(shop: Shop) -> None:
    await shop.put("grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-03-05}\n")
    assert await shop.refolds() == [("acme", MARCH_1)]
    await shop.put("grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-04-08}\n")
    assert await shop.refolds() == [("acme", MARCH_1)]
    await shop.put("grants:\n  - {id: h, account: tokyo, unit: page, amount: 5}\n")
    assert await shop.refolds() == [("tokyo", None)]


async def test_what_lies_beyond_a_grant_is_a_matter_of_whoever_asks_and_of_no_bill(shop: Shop) -> None:
    grant = "grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-03-05, bought: {price: 4}}\n"
    await shop.put(grant)
    assert await shop.refolds() == [("acme", MARCH_1)]
    denied = grant.replace("amount: 5", "amount: 5, overage: deny")
    assert (await shop.put(denied)).changes.grants
    assert await shop.refolds() == []
    await shop.put(grant.replace("amount: 5", "amount: 6"))
    assert await shop.refolds() == [("acme", MARCH_1)]


async def test_what_is_due_without_an_event_touches_whenever_it_begins(shop: Shop) -> None:
    await shop.put("accounts:\n  acme: {subscriptions: [{id: s, plan: flex, from: 2026-05-05}]}\n")
    assert await shop.refolds() == [("acme", utc(2026, 4, 30, 22))]
    grant = "grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-05-05, bought: {price: 4}}\n"
    await shop.put(grant)
    assert await shop.refolds() == [("acme", utc(2026, 4, 30, 22))]
    await shop.put(grant.replace(", bought: {price: 4}", ""))  # what was bought is given now
    assert await shop.refolds() == [("acme", utc(2026, 4, 30, 22))]


@pytest.mark.parametrize("more", ["deposit: 5", "discounts: [{id: d, rate: 0.1, from: 2026-03-05}]"])
async def test_a_deposit_or_a_discount_touches_from_the_start_of_the_subscription(shop: Shop, more: str) -> None:
    await shop.put("accounts:\n  acme: {subscriptions: [{id: s, plan: flex, from: 2026-02-05}]}\n")
    await shop.refolds()
    await shop.put(f"accounts:\n  acme: {{subscriptions: [{{id: s, plan: flex, from: 2026-02-05, {more}}}]}}\n")
    assert await shop.refolds() == [("acme", utc(2026, 1, 31, 23))]


async def test_terms_of_an_account_without_charges_touch_it_since_always(shop: Shop) -> None:
    await shop.put("accounts:\n  acme: {name: Another name, xero: x1}\n")
    assert await shop.refolds() == []
    await shop.put("accounts:\n  acme: {name: Another name, anchor_day: 5}\n")
    assert await shop.refolds() == [("acme", None)]


async def test_what_takes_an_event_and_begins_after_the_last_one_touches_nobody(shop: Shop) -> None:
    people = "members:\n  ada: {identities: [{id: 'badge:1', from: 2026-04-10}]}\n"
    people += "grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-04-01}\n"
    assert await shop.put(people)
    assert await shop.refolds() == []


async def test_an_account_is_asked_for_once_a_change_with_every_reason(shop: Shop) -> None:
    people = "members:\n  ada: {identities: [{id: 'badge:1', from: 2026-03-05}]}\n"
    people += "grants:\n  - {id: g, account: acme, unit: page, amount: 5, effective: 2026-03-01}\n"
    (touch,) = (await shop.put(people)).touches
    assert (touch.account, touch.since, touch.reason) == ("acme", MARCH_1, "claim of badge:1, grant g")


async def test_two_writers_at_once_both_count(shop: Shop) -> None:
    before = (await shop.directory()).version
    puts = [f"grants:\n  - {{id: g{n}, account: acme, unit: page, amount: {n + 1}}}\n" for n in range(6)]
    await asyncio.gather(*(shop.put(people) for people in puts))
    directory = await shop.directory()
    assert directory.version == before + 6
    assert len(directory.grants["acme"]) == 6
