"""People: discounts and deposits of subscriptions, credit that is bought, accounts that need no entry."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from meter.catalog.people import Known
from tests.catalog.reading import HEAD, METER, faults, load

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
