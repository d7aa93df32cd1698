"""The example of the contract, whole, and the one that is there to run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from meter.catalog.draft import LinkDraft
from meter.examples import example_catalog
from meter.model.catalog import (
    Condition,
    CreditRate,
    Fee,
    Flat,
    Graduated,
    Increment,
    Package,
    Pairing,
    PassThrough,
    Percentage,
    PerUnit,
    Price,
    RevenueShare,
    Rollover,
    Tier,
    Volume,
    Window,
)
from meter.model.directory import Purchase
from tests.catalog.reading import CONTRACT, load


def test_the_example_of_the_contract_is_accepted_whole() -> None:
    loaded = load(CONTRACT)
    catalog = loaded.catalog
    assert (catalog.operator, catalog.currency, catalog.timezone, catalog.default_plan) == (
        "northside",
        "EUR",
        "Europe/Berlin",
        None,
    )
    assert loaded.effective == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert catalog.sites["berlin"].walk_in == "walk-in-berlin"
    assert catalog.taxes["vat19"].rate == Decimal("0.19")
    assert catalog.topics[0].topic == "zigbee2mqtt/berlin-tag"
    assert catalog.ledger.accounts["clearing.square"] == "assets:clearing:square"
    assert catalog.ledger.accounts["revenue.cafe"] == "income:food-beverage"


def test_the_example_is_in_the_model() -> None:
    catalog = load(CONTRACT).catalog
    plan = catalog.plans["flex-10"]
    assert set(catalog.meters) == {"print-pages", "day-passes", "presence", "wifi-data", "cafe"}
    assert catalog.meters["day-passes"].where == (
        Condition(path=("granted",), operator="=", value=True),
        Condition(path=("direction",), operator="=", value="in"),
    )
    assert catalog.meters["cafe"].value == ("lines", "amount")
    colour, mono = plan.prices["print-pages"]
    assert colour.match == {"color": True}
    assert colour.model == Graduated(
        tiers=(Tier(up_to=Decimal(50), unit_price=Decimal("0.25")), Tier(up_to=None, unit_price=Decimal("0.20")))
    )
    assert mono.model == PerUnit(unit_price=Decimal("0.05"))
    assert plan.prices["cafe"][0].model == PassThrough()
    days, pages = plan.grants
    assert (days.amount, days.meters, days.holder, days.priority) == (Decimal(10), ("day-passes",), "member", 100)
    assert (pages.amount, pages.holder, pages.priority) == (Decimal(100), "account", 10)
    assert (days.rollover, pages.rollover) == (Rollover(most=Decimal(2), periods=1), None)
    assert plan.fee == Fee(amount=Decimal(199), timing="advance", tax="vat19")
    assert plan.prices["day-passes"][0].period_cap == Decimal(200)
    assert catalog.credit_rates["print-pages"] == (
        CreditRate(rate=Decimal("0.10"), match={"color": True}),
        CreditRate(rate=Decimal("0.02")),
    )


def test_the_sessions_and_counters_of_the_example_are_in_the_model() -> None:
    meters = load(CONTRACT).catalog.meters
    direction = Condition(path=("direction",), operator="=", value="in")
    assert meters["presence"].pairing == Pairing(
        start=(direction,),
        end=(Condition(path=("direction",), operator="=", value="out"),),
        max_s=14 * 3600,
        missing_end="close_at",
        increment=Increment(first_s=900, step_s=900),
    )
    assert meters["presence"].key is None  # `member` is what runs and sessions are kept by already
    wifi = meters["wifi-data"]
    assert (wifi.key, wifi.from_zero, wifi.reset_below, wifi.forget_s) == (("session",), True, False, None)
    assert wifi.scale == Decimal("1e-9")


def test_what_of_the_revenue_belongs_to_others_is_read() -> None:
    assert load(CONTRACT).warnings == ()
    landlord = RevenueShare(party="landlord-mitte", share=Decimal("0.12"), meter="cafe", site="berlin")
    assert load(CONTRACT).catalog.revenue_shares == (landlord,)


def test_the_people_of_the_example_are_drafted() -> None:
    draft = load(CONTRACT).directory
    acme, walk_in = draft.accounts
    assert (acme.id, acme.anchor_day, dict(acme.external)) == (
        "acme",
        1,
        {"stripe": "cus_1", "quickbooks": "58", "xero": "0f3c..."},
    )
    assert (walk_in.id, walk_in.timezone) == ("walk-in-berlin", "Europe/Berlin")
    assert [(c.identity, c.member, c.start) for c in draft.claims] == [
        ("badge:04A2991B", "ada", date(2026, 1, 1)),
        ("mac:aa-bb-cc-dd-ee-ff", "ada", None),
        ("square:CUST1", "ada", None),
    ]
    assert [(s.id, s.plan, s.account, s.seats, s.start) for s in draft.subscriptions] == [
        ("acme-flex", "flex-10", "acme", 5, date(2026, 1, 1))
    ]
    assert [(g.id, g.unit, g.amount, g.meters, g.start, g.end) for g in draft.grants] == [
        ("pack-1", "day", Decimal(10), ("day-passes",), date(2026, 2, 25), date(2026, 8, 25)),
        ("goodwill", "EUR", Decimal("20.00"), None, None, None),
    ]
    assert [g.bought for g in draft.grants] == [Purchase(price=Decimal(180), tax="vat19"), None]


def test_the_other_form_of_a_member_and_the_other_prices_of_the_contract_are_accepted() -> None:
    text = CONTRACT.replace("account: acme, name: Ada,", "accounts: [{id: acme, from: 2026-01-01, to: 2026-06-01}],")
    text = text.replace(
        "cafe: [{id: cafe, model: pass_through}]",
        """cafe:
        - {id: v, model: volume, tiers: [{up_to: 15, unit_price: 10}, {unit_price: 5}]}
        - {id: k, model: package, size: 10, price: 15, free: 10}
        - {id: f, model: flat, amount: "2.00"}
        - id: p
          model: percentage
          field: total
          rate: "0.013"
          fixed: 2
          minimum: "1.75"
          maximum: 12
          free_events: 3
          free_amount: 250
        - {id: m, model: pass_through, markup: "0.1", per: member, tax: vat19, period_minimum: {amount: 10}}
        - id: w
          model: per_unit
          unit_price: 1
          when: {days: [mon, sun], hours: "18:00-24:00", holidays: [2026-12-25]}
        - id: g
          model: graduated
          flat_at_zero: true
          cap: {amount: 8, every: day}
          tiers: [{up_to: 5, flat: 100, unit_price: 0}]""",
    )
    loaded = load(text)
    prices = {price.id: price for price in loaded.catalog.plans["flex-10"].prices["cafe"]}
    assert [type(price.model) for price in prices.values()] == [
        *(Volume, Package, Flat, Percentage, PassThrough, PerUnit, Graduated)
    ]
    assert prices["k"].model == Package(size=Decimal(10), price=Decimal(15), free=Decimal(10))
    assert prices["p"].model == Percentage(
        path=("total",),
        rate=Decimal("0.013"),
        fixed=Decimal(2),
        minimum=Decimal("1.75"),
        maximum=Decimal(12),
        free_events=3,
        free_amount=Decimal(250),
    )
    assert prices["m"] == Price(
        id="m", model=PassThrough(markup=Decimal("0.1")), per="member", tax="vat19", period_minimum=Decimal(10)
    )
    assert prices["w"].when == Window(
        days=frozenset({0, 6}), holidays=frozenset({date(2026, 12, 25)}), from_minute=1080, to_minute=1440
    )
    assert (prices["g"].day_cap, prices["g"].period_cap) == (Decimal(8), None)
    assert prices["g"].model == Graduated(
        tiers=(Tier(up_to=Decimal(5), unit_price=Decimal(0), flat=Decimal(100)),), flat_at_zero=True
    )
    assert loaded.directory.links == (
        LinkDraft(
            member="ada",
            account="acme",
            start=date(2026, 1, 1),
            end=date(2026, 6, 1),
            place=loaded.directory.links[0].place,
        ),
    )


def test_the_example_to_run_needs_no_warning() -> None:
    assert load(example_catalog()).warnings == ()
