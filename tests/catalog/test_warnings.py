"""What is accepted and does less than it says, told with a warning."""

from __future__ import annotations

import pytest

from tests.catalog.reading import HEAD, METER, load


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
