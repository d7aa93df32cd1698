"""What whoever asks before acting may have: limits of a plan, and usage beyond a grant."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.catalog.build import catalog_from_body
from meter.catalog.compare import section_changes
from meter.catalog.issues import CatalogError
from meter.model.catalog import Plan, UsageLimit
from tests.catalog.reading import HEAD, METER, load

PRICED = "prices: {pages: [{id: x, model: per_unit, unit_price: 1}]}"


def text_of(rest: str) -> str:
    return f"{HEAD}{METER}plans:\n  p: {{{PRICED}, {rest}}}\n"


def plan_of(rest: str) -> Plan:
    return load(text_of(rest)).catalog.plans["p"]


def test_a_limit_says_how_much_of_what_and_of_whom() -> None:
    plan = plan_of("limits: [{meter: pages, hard: 100, soft: '80.5', of: money, every: day, per: member}]")
    assert plan.limits == (
        UsageLimit(meter="pages", hard=Decimal(100), soft=Decimal("80.5"), of="money", every="day", per="member"),
    )


def test_a_limit_is_of_the_accounts_quantity_each_period_unless_it_says_more() -> None:
    assert plan_of("limits: [{meter: pages, hard: 0}]").limits == (UsageLimit(meter="pages", hard=Decimal(0)),)


@pytest.mark.parametrize(
    ("limits", "path"),
    [
        ("[{hard: 1}]", "limits[0]"),
        ("[{meter: page, hard: 1}]", "limits[0].meter"),
        ("[{meter: pages}]", "limits[0]"),
        ("[{meter: pages, hard: -1}]", "limits[0].hard"),
        ("[{meter: pages, hard: 5, soft: 5}]", "limits[0].soft"),
        ("[{meter: pages, hard: 5, of: euros}]", "limits[0].of"),
        ("[{meter: pages, hard: 5, every: week}]", "limits[0].every"),
        ("[{meter: pages, hard: 5, per: site}]", "limits[0].per"),
        ("[{meter: pages, hart: 5, soft: 1}]", "limits[0].hart"),
        ("[{meter: pages, hard: 5}, {meter: pages, soft: 4}]", "limits[1]"),
        ("7", "limits"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_fault_with_its_place(limits: str, path: str) -> None:
    with pytest.raises(CatalogError) as caught:
        plan_of(f"limits: {limits}")
    assert [(issue.file, issue.path) for issue in caught.value.issues] == [("c.yaml", f"plans.p.{path}")]
    assert all(issue.line == 7 for issue in caught.value.issues)


def test_more_limits_than_an_answer_can_sum_up_are_a_fault() -> None:
    with pytest.raises(CatalogError, match="at most 100"):
        plan_of(f"limits: [{', '.join(['{meter: pages, hard: 1}'] * 101)}]")


def test_a_limit_on_what_the_plan_does_not_sell_draws_a_warning() -> None:
    text = f"{HEAD}{METER}plans:\n  p: {{limits: [{{meter: pages, hard: 1}}]}}\n"
    assert [issue.path for issue in load(text).warnings] == ["plans.p.limits[0].meter"]


def test_usage_beyond_a_grant_is_billed_unless_the_grant_denies_it() -> None:
    grants = "grants: [{id: a, unit: page, amount: 1}, {id: b, unit: page, amount: 1, overage: deny}]"
    assert [grant.overage for grant in plan_of(grants).grants] == ["bill", "deny"]
    with pytest.raises(CatalogError, match="bill, deny"):
        plan_of("grants: [{id: a, unit: page, amount: 1, overage: allow}]")


def test_a_given_grant_denies_what_lies_beyond_it_too() -> None:
    given = "accounts: {acme: {}}\ngrants: [{id: pack, account: acme, unit: page, amount: 1, overage: deny}]\n"
    assert [grant.overage for grant in load(HEAD + METER + given).directory.grants] == ["deny"]


def test_stored_versions_read_as_they_were_and_a_plan_with_a_new_limit_differs() -> None:
    before, after = load(text_of("name: P")), load(text_of("name: P, limits: [{meter: pages, hard: 5}]"))
    old, new = (catalog_from_body(one.body, version=1, effective=None) for one in (before, after))
    assert old.plans["p"].limits == ()
    assert [limit.hard for limit in new.plans["p"].limits] == [Decimal(5)]
    (change,) = section_changes(before.body, after.body)
    assert (change.section, change.changed) == ("plans", ("p",))
