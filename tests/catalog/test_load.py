"""Catalog texts: what is read, what is refused and where the fault stands, what is accepted with a warning."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meter.catalog.build import catalog_from_body
from meter.catalog.draft import LinkDraft
from meter.catalog.issues import CatalogError
from meter.catalog.load import LoadedCatalog, read_catalog_json, read_catalog_text
from meter.catalog.nodes import DEPTH_MAX
from meter.catalog.people import Known
from meter.examples import example_catalog
from meter.model.catalog import (
    Condition,
    CreditRate,
    Fee,
    Flat,
    Graduated,
    Increment,
    Meter,
    Package,
    Pairing,
    PassThrough,
    Percentage,
    PerUnit,
    Price,
    Rollover,
    Tier,
    Volume,
    Window,
)
from meter.model.directory import Purchase
from meter.store.engine import decode_json, encode_json

CONTRACT = (Path(__file__).parent / "data" / "contract.yaml").read_text()
HEAD = "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\n"
METER = "meters:\n  pages: {event: print.job, aggregate: sum, value: impressions, unit: page, group_by: [color, a.b]}\n"


def load(text: str, *, known: Known | None = None) -> LoadedCatalog:
    return read_catalog_text([("c.yaml", text)], known=known)


def faults(*texts: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(CatalogError) as caught:
        read_catalog_text([(f"{n}.yaml", text) for n, text in enumerate(texts)])
    return [(issue.file, issue.line, issue.path) for issue in caught.value.issues]


def messages(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(text)
    return [issue.message for issue in caught.value.issues]


def dotted(value: Any, path: str = "") -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from dotted(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from dotted(inner, f"{path}[{i}]")
    else:
        yield path


# --- the contract's example -------------------------------------------------------------------------------------------


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
    assert catalog.ledger_accounts["clearing.square"] == "assets:clearing:square"
    assert catalog.ledger_accounts["revenue.cafe"] == "income:food-beverage"


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


def test_what_is_not_posted_yet_is_told_with_path_and_consequence() -> None:
    assert [(w.line, w.path) for w in load(CONTRACT).warnings] == [(35, "revenue_share")]
    assert "is the operator's" in load(CONTRACT).warnings[0].message


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


# --- meters and prices, key by key ------------------------------------------------------------------------------------


def meter_of(rest: str) -> Meter:
    return load(HEAD + f"meters:\n  m: {{event: e, {rest}}}\n").catalog.meters["m"]


def price_of(rest: str) -> Price:
    text = f"plans:\n  p: {{prices: {{pages: [{{id: x, model: per_unit, unit_price: 1, {rest}}}]}}}}\n"
    return load(HEAD + METER + text).catalog.plans["p"].prices["pages"][0]


def test_every_key_of_a_session() -> None:
    every = "start: {s: 1}, end: {s: 0}, minimum: 20s, max: 1h30m, idle: 2h, increment: 30s/6s, missing_end: last_seen"
    assert meter_of(f"aggregate: duration, unit: minute, key: door.id, {every}") == Meter(
        id="m",
        event="e",
        aggregate="duration",
        unit="minute",
        key=("door", "id"),
        pairing=Pairing(
            start=(Condition(path=("s",), operator="=", value=1),),
            end=(Condition(path=("s",), operator="=", value=0),),
            max_s=5400,
            missing_end="last_seen",
            idle_s=7200,
            minimum_s=20,
            increment=Increment(first_s=30, step_s=6),
        ),
    )
    usual = meter_of("aggregate: duration, unit: second, start: {s: 1}, end: {s: 0}").pairing
    assert usual is not None
    assert (usual.max_s, usual.missing_end, usual.minimum_s) == (86_400, "none", 0)
    assert usual.increment == Increment(first_s=1, step_s=1)


def test_every_key_of_a_counter_and_of_a_gauge() -> None:
    counter = meter_of("aggregate: counter, value: v, unit: u, key: meter, reset: below, forget: 30d")
    assert (counter.key, counter.from_zero, counter.reset_below, counter.forget_s) == (
        ("meter",),
        False,
        True,
        30 * 86_400,
    )
    assert meter_of("aggregate: max, value: v, unit: u, per: member").per == "member"
    assert meter_of("aggregate: latest, value: v, unit: u").per == "account"


@pytest.mark.parametrize("name", ["membership", "deposit", "credit"])
def test_what_is_booked_without_a_meter_keeps_its_name(name: str) -> None:
    assert faults(HEAD + f"meters:\n  {name}: {{event: e, aggregate: count, unit: u}}\n") == [
        ("0.yaml", 5, f"meters.{name}")
    ]


def test_caps_of_a_day_and_of_a_period_stand_side_by_side() -> None:
    both = price_of("cap: [{amount: 8, every: day}, {amount: 100, every: period}]")
    assert (both.day_cap, both.period_cap) == (Decimal(8), Decimal(100))


@pytest.mark.parametrize(
    ("hours", "minutes"),
    [("18:00-24:00", (1080, 1440)), ("22:00-06:30", (1320, 390)), ("00:00-09:05", (0, 545))],
)
def test_hours_are_minutes_of_the_day_and_may_reach_over_midnight(hours: str, minutes: tuple[int, int]) -> None:
    window = price_of(f"when: {{hours: '{hours}'}}").when
    assert window is not None
    assert (window.from_minute, window.to_minute, window.days, window.holidays) == (*minutes, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("rest", "paths"),
    [
        ("aggregate: count, unit: u, key: k", ["key"]),
        ("aggregate: sum, value: v, unit: u, from_zero: true", ["from_zero"]),
        ("aggregate: unique, value: v, unit: u, scale: 2", ["scale"]),
        ("aggregate: max, value: v, unit: u, reset: below", ["reset"]),
        ("aggregate: counter, value: v, unit: u, per: member", ["per"]),
        ("aggregate: counter, value: v, unit: u, forget: 0s", ["forget"]),
        ("aggregate: duration, unit: hour", ["", ""]),
        ("aggregate: duration, unit: visit, start: {s: 1}, end: {s: 0}", ["unit"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, max: 0h", ["max"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, max: 99999d", ["max"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, increment: 30s/0s", ["increment"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, increment: 30", ["increment"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, value: v", ["value"]),
    ],
)
def test_a_key_of_another_aggregation_or_out_of_bounds_is_a_fault(rest: str, paths: list[str]) -> None:
    found = faults(HEAD + f"meters:\n  m: {{event: e, {rest}}}\n")
    assert found == [("0.yaml", 5, f"meters.m.{path}".rstrip(".")) for path in paths]


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("cap: [{amount: 8, every: day}, {amount: 9, every: day}]", "cap[1].every"),
        ("cap: {amount: 8}", "cap"),
        ("cap: 8", "cap"),
        ("period_minimum: {}", "period_minimum"),
        ("when: {days: [monday]}", "when.days[0]"),
        ("when: {days: []}", "when.days"),
        ("when: {hours: '9-17'}", "when.hours"),
        ("when: {holidays: ['2026-12-25T00:00:00Z']}", "when.holidays"),
        ("flat_at_zero: true", "flat_at_zero"),
        ("free_events: 3", "free_events"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_fault(rest: str, path: str) -> None:
    with pytest.raises(CatalogError) as caught:
        price_of(rest)
    assert [issue.path for issue in caught.value.issues] == [f"plans.p.prices.pages[0].{path}"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("model: volume", ""),
        ("model: volume, tiers: []", ".tiers"),
        ("model: graduated", ""),
        ("model: package, size: 0, price: 1", ".size"),
        ("model: package, size: 1", ""),
        ("model: flat", ""),
        ("model: percentage, rate: 0.1", ""),
        ("model: percentage, field: f, minimum: 2, maximum: 1", ".maximum"),
        ("model: pass_through, markup: -2", ".markup"),
    ],
)
def test_a_model_without_what_it_needs_is_a_fault(model: str, path: str) -> None:
    text = HEAD + METER + f"plans:\n  p: {{prices: {{pages: [{{id: x, {model}}}]}}}}\n"
    assert faults(text) == [("0.yaml", 7, f"plans.p.prices.pages[0]{path}")]


# --- what is accepted with a warning ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (
            (
                "sites:\n  a: {closes: '22:00'}\n  b: {}\nmeters:\n  m: {event: e, aggregate: duration, unit: hour,"
                " start: {s: 1}, end: {s: 0}, missing_end: close_at}\n"
            ),
            "meters.m.missing_end",
            "the site b has no `closes`",
        ),
        (
            "meters:\n  m: {event: e, aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, idle: 1h}\n",
            "meters.m.idle",
            "last_seen",
        ),
        ("plans:\n  p: {discounts: [{id: d, rate: '0.1'}]}\n", "plans.p.discounts", "into the subscription"),
        ("plans:\n  p: {deposits: 5}\n", "plans.p.deposits", "write `deposit` into the subscription"),
        ("accounts:\n  a: {deposit: 5}\n", "accounts.a.deposit", "into the subscription"),
        (
            "plans:\n  p: {fee: {amount: 5}}\naccounts:\n  a: {subscriptions: [{id: s, plan: p}]}\n",
            "accounts.a.subscriptions[0]",
            "has no `from`",
        ),
        (
            METER
            + "plans:\n  p: {prices: {pages: [{id: x, model: per_unit, unit_price: 1, period_minimum: {amount: 1}}"
            "]}}\naccounts:\n  a: {subscriptions: [{id: s, plan: p}]}\n",
            "accounts.a.subscriptions[0]",
            "has no `from`",
        ),
        (
            "plans:\n  p: {}\naccounts:\n  a: {subscriptions: [{id: s, plan: p, deposit: 5}]}\n",
            "accounts.a.subscriptions[0].deposit",
            "is not taken",
        ),
        ("plans:\n  p: {grants: [{id: g, unit: USD, amount: 5}]}\n", "plans.p.grants[0].unit", "nothing is converted"),
        (
            METER + "plans:\n  p: {grants: [{id: g, unit: credit, amount: 5}]}\n",
            "plans.p.grants[0].unit",
            "covers nothing",
        ),
        (
            METER + "plans:\n  p: {grants: [{id: g, unit: credit, amount: 5, meters: [pages]}]}\n",
            "plans.p.grants[0].meters[0]",
            "no rate",
        ),
        (
            METER + "plans:\n  p: {prices: {pages: [{id: x, model: percentage, field: v, rate: 1.3}]}}\n",
            "plans.p.prices.pages[0].rate",
            "fractions",
        ),
    ],
)
def test_what_is_accepted_and_does_less_than_it_says_is_told(text: str, path: str, said: str) -> None:
    (warning,) = load(HEAD + text).warnings
    assert (warning.path, said in warning.message) == (path, True), warning


def test_a_dated_subscription_to_a_plan_with_a_fee_needs_no_warning() -> None:
    text = "plans:\n  p: {fee: {amount: 5}}\naccounts:\n"
    text += "  a: {subscriptions: [{id: s, plan: p, from: 2026-01-01, deposit: 5}]}\n"
    assert load(HEAD + text).warnings == ()


def test_the_scope_of_credit_is_what_has_a_rate_and_of_money_what_the_plan_prices() -> None:
    meters = METER + "  days: {event: d, aggregate: count, unit: day}\n"
    grants = "[{id: c, unit: credit, amount: 1}, {id: m, unit: EUR, amount: 1},"
    grants += " {id: e, unit: EUR, amount: 1, meters: [pages]}]"
    text = f"plans:\n  p: {{grants: {grants}, prices: {{days: [{{id: x, model: flat, amount: 1}}]}}}}\n"
    plan = load(HEAD + meters + "credits: {rates: {pages: [{rate: 2}]}}\n" + text).catalog.plans["p"]
    assert [grant.meters for grant in plan.grants] == [("pages",), ("days",), ("pages",)]


# --- discounts, deposits, purchases -----------------------------------------------------------------------------------

SUBSCRIBED = HEAD + METER + "plans:\n  p: {}\naccounts:\n  a:\n    subscriptions:\n      - "


def test_discounts_and_a_deposit_are_drafted() -> None:
    text = SUBSCRIBED + "{id: s, plan: p, from: 2026-01-01, deposit: '200.00', discounts: ["
    text += "{id: early, rate: '0.1', on: fees, to: 2026-04-01}, {id: pages, amount: 5, on: [pages, fees]},"
    text += " {id: all, rate: 1}]}\n"
    (subscription,) = load(text).directory.subscriptions
    assert subscription.deposit == Decimal(200)
    assert [(d.id, d.rate, d.amount, d.on, d.start, d.end) for d in subscription.discounts] == [
        ("early", Decimal("0.1"), None, ("fees",), None, date(2026, 4, 1)),
        ("pages", None, Decimal(5), ("pages", "fees"), None, None),
        ("all", Decimal(1), None, (), None, None),
    ]


@pytest.mark.parametrize(
    ("discounts", "path"),
    [
        ("[{id: d}]", "[0]"),
        ("[{id: d, rate: 0.1, amount: 1}]", "[0]"),
        ("[{rate: 0.1}]", "[0]"),
        ("[{id: d, rate: 10}]", "[0].rate"),
        ("[{id: d, rate: 0}]", "[0].rate"),
        ("[{id: d, amount: -1}]", "[0].amount"),
        ("[{id: d, amount: 1, on: usage}]", "[0].on"),
        ("[{id: d, amount: 1, on: []}]", "[0].on"),
        ("[{id: d, amount: 1, on: [page]}]", "[0].on[0]"),
        ("[{id: d, amount: 1, from: 2026-02-01, to: 2026-02-01}]", "[0].to"),
        ("[{id: d, amount: 1}, {id: d, amount: 2}]", "[1].id"),
        ("[{id: d, amount: 1, every: month}]", "[0].every"),
        ("{id: d, amount: 1}", ""),
    ],
)
def test_a_discount_that_cannot_be_meant_is_a_fault(discounts: str, path: str) -> None:
    found = faults(SUBSCRIBED + f"{{id: s, plan: p, from: 2026-01-01, discounts: {discounts}}}\n")
    assert found == [("0.yaml", 11, f"accounts.a.subscriptions[0].discounts{path}")]


def test_a_purchase_needs_a_day_and_a_price() -> None:
    grant = "grants:\n  - {id: g, account: a, unit: EUR, amount: 5, bought: {price: 4}}\n"
    assert faults(HEAD + "accounts:\n  a: {}\n" + grant) == [("0.yaml", 7, "grants[0].bought")]
    dated = grant.replace("bought: {price: 4}", "effective: 2026-01-01, bought: {tax: vat}")
    assert faults(HEAD + "accounts:\n  a: {}\n" + dated) == [
        ("0.yaml", 7, "grants[0].bought"),
        ("0.yaml", 7, "grants[0].bought.tax"),
    ]


# --- what the store keeps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CONTRACT, example_catalog()], ids=["contract", "example"])
def test_a_body_survives_the_store_and_builds_the_same_catalog(text: str) -> None:
    loaded = load(text)
    kept = decode_json(encode_json(loaded.body))
    built = catalog_from_body(kept, version=0, effective=None)
    assert built == loaded.catalog
    assert set(kept) & {"accounts", "members", "grants", "effective"} == set()


def test_what_an_earlier_version_took_can_still_be_read() -> None:
    """It booked nothing for either; a gateway that could not read its catalog any more would book nothing at all."""
    body = {
        "operator": "o",
        "currency": "EUR",
        "timezone": "UTC",
        "meters": {
            "visits": {"event": "e", "aggregate": "duration", "unit": "visit", "start": {"s": 1}, "end": {"s": 0}},
            "hours": {"event": "e", "aggregate": "duration", "unit": "hour", "start": {"s": 1}, "end": {}, "max": "0s"},
        },
        "plans": {"p": {"prices": {"visits": [{"id": "x", "model": "flat", "amount": 1, "when": {"days": []}}]}}},
    }
    catalog = catalog_from_body(body, version=1, effective=None)
    assert set(catalog.meters) == {"hours"}
    assert catalog.meters["hours"].pairing is not None
    assert catalog.meters["hours"].pairing.max_s == 1
    assert catalog.plans["p"].prices["visits"][0].when == Window()
    with pytest.raises(CatalogError):
        read_catalog_json(encode_json(body))


def test_json_says_the_same_as_yaml() -> None:
    loaded = load(CONTRACT)
    sections = {**loaded.body, "members": {"ada": {"identities": ["badge:1"]}}}
    again = read_catalog_json(encode_json(sections))
    assert (again.catalog, again.body) == (loaded.catalog, loaded.body)
    assert again.directory.claims[0].identity == "badge:1"


# --- scalars without surprises ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2026-01-01", "2026-01-01"),
        ("'true'", "true"),
        ('"3"', "3"),
        ("true", True),
        ("False", False),
        ("3", 3),
        ("-3", -3),
        ("1e3", Decimal("1e3")),
        ("0.10", Decimal("0.10")),
        ("0.1000000000000000055", "0.1000000000000000055"),  # more digits than are kept: text, which no number takes
        ("0.30000000000000004", Decimal("0.30000000000000004")),
    ],
)
def test_a_scalar_is_what_it_looks_like(written: str, value: Any) -> None:
    meter = f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {{x: {written}}}}}\n"
    (condition,) = load(HEAD + meter).catalog.meters["m"].where
    assert (condition.value, type(condition.value)) == (value, type(value))


def test_numbers_are_read_as_written_never_as_floats() -> None:
    text = HEAD + METER + "plans:\n  p: {prices: {pages: [{id: x, model: per_unit, unit_price: 0.07}]}}\n"
    assert load(text).catalog.plans["p"].prices["pages"][0].model == PerUnit(unit_price=Decimal("0.07"))


def test_an_alias_is_what_its_anchor_is() -> None:
    text = HEAD + "sites:\n  a: &a {name: A, closes: '22:00'}\n  b: *a\n"
    sites = load(text).catalog.sites
    assert (sites["b"].id, sites["b"].name, sites["b"].closes) == ("b", "A", "22:00")


# --- where ------------------------------------------------------------------------------------------------------------


def test_every_comparison_of_where() -> None:
    where = "{status: completed, pages: {gt: 3, lte: 9.5}, kind: {in: [a, 1, true]}, x.y: {exists: false}, z: {'=': 1}}"
    text = HEAD + f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {where}}}\n"
    assert load(text).catalog.meters["m"].where == (
        Condition(path=("status",), operator="=", value="completed"),
        Condition(path=("pages",), operator="gt", value=Decimal(3)),
        Condition(path=("pages",), operator="lte", value=Decimal("9.5")),
        Condition(path=("kind",), operator="in", value=("a", 1, True)),
        Condition(path=("x", "y"), operator="exists", value=False),
        Condition(path=("z",), operator="=", value=1),
    )


@pytest.mark.parametrize(
    "where",
    ["{x: null}", "{x: {}}", "{x: {over: 3}}", "{x: {gt: many}}", "{x: {in: []}}", "{x: [1]}", "{a..b: 1}", "[x]", "x"],
)
def test_a_condition_that_says_nothing_is_a_fault(where: str) -> None:
    assert messages(HEAD + f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {where}}}\n")


# --- faults, all at once, each at its place ---------------------------------------------------------------------------


def test_all_faults_are_told_at_once_with_file_line_and_path() -> None:
    first = """operator: northside
currency: euro
timezone: Europe/Berlyn
meters:
  pages:
    event: print.job
    agregate: sum
    unit: page
plans:
  flex:
    prices:
      pags:
        - {id: x, model: per_unit}
      pages:
        - id: tiered
          model: graduated
          tiers:
            - {up_to: 50, unit_price: "0.25"}
            - {up_to: 40, unit_price: -1}
"""
    second = """accounts:
  acme:
    subscriptions:
      - id: s
        plan: gold
        from: 2026-02-30
members:
  ada: {account: nobody, identities: ["04A2", {id: "badge:1", from: 2026-03-01, to: 2026-03-01}]}
"""
    assert sorted(faults(first, second)) == [
        ("0.yaml", 2, "currency"),
        ("0.yaml", 3, "timezone"),
        ("0.yaml", 5, "meters.pages"),
        ("0.yaml", 7, "meters.pages.agregate"),
        ("0.yaml", 12, "plans.flex.prices.pags"),
        ("0.yaml", 19, "plans.flex.prices.pages[0].tiers[1].unit_price"),
        ("0.yaml", 19, "plans.flex.prices.pages[0].tiers[1].up_to"),
        ("1.yaml", 5, "accounts.acme.subscriptions[0].plan"),
        ("1.yaml", 6, "accounts.acme.subscriptions[0].from"),
        ("1.yaml", 8, "members.ada.account"),
        ("1.yaml", 8, "members.ada.identities[0]"),
        ("1.yaml", 8, "members.ada.identities[1].to"),
    ]


def test_a_misspelt_key_is_answered_with_the_right_one() -> None:
    (missing, unknown) = messages(HEAD + "meters:\n  m: {event: e, agregate: sum, unit: u}\n")
    assert "aggregate" in missing
    assert "did you mean aggregate?" in unknown
    (reference,) = messages(HEAD + METER + "plans:\n  p: {prices: {page: [{id: x, model: per_unit, unit_price: 1}]}}\n")
    assert "did you mean pages?" in reference


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        (
            METER
            + "plans:\n  p: {prices: {pages: [{id: x, match: {colour: true}, model: per_unit, unit_price: 1}]}}\n",
            7,
            "plans.p.prices.pages[0].match.colour",
        ),
        (
            METER + "plans:\n  p: {grants: [{id: g, unit: hour, amount: 1, meters: [pages]}]}\n",
            7,
            "plans.p.grants[0].meters[0]",
        ),
        (METER + "plans:\n  p: {grants: [{id: g, unit: hour, amount: 1}]}\n", 7, "plans.p.grants[0].unit"),
        (METER + "plans:\n  p: {grants: [{id: g, unit: page, amount: 0}]}\n", 7, "plans.p.grants[0].amount"),
        ("taxes:\n  vat: {rate: 19}\n", 5, "taxes.vat.rate"),
        ("sites:\n  b: {tax: vat}\n", 5, "sites.b.tax"),
        ("sites:\n  b: {closes: 25:00}\n", 5, "sites.b.closes"),
        ("sites:\n  a/b: {}\n", 5, "sites.a/b"),
        ("default_plan: gold\n", 4, "default_plan"),
        ("mqtt:\n  - {topic: 'a/#/b', decoder: d, site: s}\n", 5, "mqtt[0].topic"),
        ("mqtt:\n  - {topic: a, decoder: d, site: s}\n", 5, "mqtt[0].site"),
        ("grants:\n  - {id: g, account: a, unit: EUR, amount: 1}\n", 5, "grants[0].account"),
        ("members:\n  m: {account: a}\n", 5, "members.m.account"),
        ("members:\n  m: {identities: ['member:x']}\n", 5, "members.m.identities[0]"),
        ("revenue_share:\n  - {match: {meter: m}, party: p, share: '0.1'}\n", 5, "revenue_share[0].match.meter"),
        ("credits: {rates: {m: [{rate: 1}]}}\n", 4, "credits.rates.m"),
        ("ledger: {accounts: {receivable: receivable}}\n", 4, "ledger.accounts.receivable"),
        ("accounts:\n  a: {anchor_day: 32}\n", 5, "accounts.a.anchor_day"),
        ("accounts:\n  a: {name: true}\n", 5, "accounts.a.name"),
        ("accounts:\n  a: {xero: 1e5}\n", 5, "accounts.a.xero"),
        ("accounts:\n  a: {timezone: Mars/Base}\n", 5, "accounts.a.timezone"),
        ("accounts: [a]\n", 4, "accounts"),
        ("effective: soon\n", 4, "effective"),
        ("plan: {}\n", 4, "plan"),
    ],
)
def test_a_fault_names_its_line_and_path(text: str, line: int, path: str) -> None:
    found = faults(HEAD + text)
    assert ("0.yaml", line, path) in found


def test_ids_are_unique() -> None:
    accounts = "accounts:\n  a: {subscriptions: [{id: s, plan: p}]}\n  b: {subscriptions: [{id: s, plan: p}]}\n"
    prices = "plans:\n  p: {prices: {pages: [{id: x, model: flat, amount: 1}, {id: x, model: flat, amount: 2}]}}\n"
    assert faults(HEAD + METER + prices + accounts) == [
        ("0.yaml", 7, "plans.p.prices.pages[1].id"),
        ("0.yaml", 10, "accounts.b.subscriptions[0]"),
    ]
    assert faults(HEAD + "members:\n  m: {identities: ['badge:a1', 'badge:A1']}\n") == [
        ("0.yaml", 5, "members.m.identities[1]")
    ]


def test_the_keys_of_another_model_are_faults() -> None:
    text = HEAD + METER + "plans:\n  p: {prices: {pages: [{id: x, model: per_unit, unit_price: 1, tiers: []}]}}\n"
    assert faults(text) == [("0.yaml", 7, "plans.p.prices.pages[0].tiers")]


# --- several files ----------------------------------------------------------------------------------------------------


def test_files_are_joined_section_by_section() -> None:
    one = HEAD + "accounts:\n  a: {}\ngrants:\n  - {id: g, account: b, unit: EUR, amount: 1}\n"
    two = "operator: northside\naccounts:\n  b: {}\ngrants:\n  - {id: h, account: a, unit: EUR, amount: 1}\n"
    draft = read_catalog_text([("one", one), ("two", two)]).directory
    assert [account.id for account in draft.accounts] == ["a", "b"]
    assert [(grant.id, grant.place.file, grant.place.path) for grant in draft.grants] == [
        ("g", "one", "grants[0]"),
        ("h", "two", "grants[0]"),
    ]


def test_what_stands_in_two_files_is_a_fault() -> None:
    one = HEAD + "sites:\n  a: {}\n"
    two = "operator: southside\ncurrency: EUR\nsites:\n  a: {}\n"
    assert faults(one, two) == [("1.yaml", 1, "operator"), ("1.yaml", 2, "currency"), ("1.yaml", 4, "sites.a")]


def test_entries_may_refer_to_what_is_stored() -> None:
    text = HEAD + "members:\n  m: {account: a, subscriptions: [{id: s, plan: p}]}\ngrants:\n"
    text += "  - {id: g, account: a, member: n, unit: EUR, amount: 1}\n"
    known = Known(accounts={"a"}, members={"n"}, plans={"p"})
    assert load(text, known=known).directory.links[0].account == "a"


def test_a_walk_in_account_need_not_be_written_out() -> None:
    text = HEAD + "sites:\n  s: {name: S, timezone: Asia/Tokyo, walk_in: w}\n"
    (account,) = load(text).directory.accounts
    assert (account.id, account.timezone) == ("w", "Asia/Tokyo")
    assert load(text, known=Known(accounts={"w"})).directory.accounts == ()
    assert len(load(text + "accounts:\n  w: {name: Guests}\n").directory.accounts) == 1


# --- texts that are no catalog ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("# nothing\n", None),
        ("- a\n- b\n", None),
        ("operator: a\noperator: b\n", 2),
        ("operator: [\n", 2),
        ("operator: a\n---\noperator: b\n", 2),
        ("operator: !!python/object:os.system x\n", 1),
        ("a: *nowhere\n", 1),
        ("a: &a [*a]\n", 1),
        ("? [a]\n: b\n", 1),
        ("operator: 'a\\0'\nx: \"\\0\"\n", 2),
        ("a: \x07\n", None),
        ("x: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), 1),
        ("x: " + "[" * 100_000, 1),
        ("x: " + "{a: " * 100_000, 1),
        ("\ud800", None),
    ],
)
def test_a_text_that_is_no_catalog_is_refused(text: str, line: int | None) -> None:
    assert ("0.yaml", line) in [fault[:2] for fault in faults(text)]


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "aliases" in messages("\n".join(lines))[0]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"a": NaN}', '{"a": 1, "a": 2}', '{"operator": "\\ud800"}', '{"operator": "\\u0000"}'],
)
def test_json_that_is_no_catalog_is_refused(text: str) -> None:
    with pytest.raises(CatalogError):
        read_catalog_json(text)
    deep = '{"x": ' * (DEPTH_MAX + 2) + "1" + "}" * (DEPTH_MAX + 2)
    with pytest.raises(CatalogError, match="nested deeper"):
        read_catalog_json(deep)


def test_the_number_of_faults_told_is_bounded() -> None:
    text = HEAD + "accounts:\n" + "".join(f"  a{n}: {{nam: x}}\n" for n in range(3000))
    assert len(faults(text)) == 500
