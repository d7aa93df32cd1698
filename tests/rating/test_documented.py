"""The figures of docs/rating.md, section by section: who changes one changes the other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meter.model.catalog import Site
from meter.model.event import UsageEvent
from meter.rating.grants import balances
from tests.rating.world import (
    PAGES,
    USE,
    Ledger,
    amend,
    d,
    entered,
    event,
    graduated,
    passed,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    span,
    subscription,
    t,
    taxed,
    use,
    void,
)


def test_section_2_an_amendment_counts_until_it_is_voided() -> None:
    where, job = space(plan(pages=per_unit("0.05"))), printed("11-02", 5)
    amended = amend(job, {**job.data, "impressions": 9})
    assert [line.quantity for line in where.lines(job, revisions=[amended])] == [9]
    assert [line.quantity for line in where.lines(job, revisions=[amended, void(amended)])] == [5]


def test_section_3_a_day_stands_at_its_first_event_even_if_that_comes_late() -> None:
    where, ledger = space(plan(days=per_unit("25"))), Ledger.empty()
    seen = [entered("11-02 09:00"), entered("11-02 13:00"), entered("11-02 18:00")]
    ledger.make_good(where.lines(*seen))
    late = ledger.make_good(where.lines(*seen, entered("11-02 08:00")))
    assert {(str(charge.role), charge.line.quantity, charge.line.key.time) for charge in late} == {
        ("original", d(1), t("11-02 08:00")),
        ("reversal", d(-1), t("11-02 09:00")),
    }


def test_section_4_a_pool_of_50_and_jobs_of_40_and_30() -> None:
    where = space(plan(pages=per_unit("0.05"), grants=[plan_grant("pages", PAGES, "50")]))
    lines = where.lines(printed("11-02", 40), printed("11-03", 30))
    assert [(line.covered, line.billable, line.amount) for line in lines] == [(d(40), d(0), d(0)), (d(10), d(20), d(1))]
    assert [line.covered for line in where.lines(printed("11-02", 40), printed("11-01", 30))] == [30, 20]


def test_section_5_graduated_jobs_of_40_and_30() -> None:
    where = space(plan(pages=priced(graduated(("50", "0.25"), (None, "0.20")))))
    assert where.amounts(printed("11-02", 40, color=True), printed("11-03", 30, color=True)) == [10, d("6.50")]


def test_section_6_lines_of_0_004() -> None:
    where = space(plan(use=per_unit("0.004")))
    booked = Ledger.empty().make_good(where.lines(use("11-02", 1), use("11-03", 1), use("11-04", 1)))
    assert [charge.rounded for charge in booked] == [0, d("0.01"), 0]


def test_section_6_tax_of_6_50_and_1_00() -> None:
    sites = {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", tax="vat")}
    where = space(plan(use=per_unit("1")), terms={"sites": sites, "taxes": taxed("0.19")})
    booked = Ledger.empty().make_good(where.lines(use("11-02", "6.50"), use("11-03", "1.00")))
    assert [charge.tax_amount for charge in booked] == [d("1.24"), d("0.19")]


def test_section_7_parts_of_a_period() -> None:
    def given(amount: str, start: str) -> Decimal:
        held = subscription(span=span(start))
        where = space(plan(use=per_unit("1"), grants=[plan_grant("units", USE, amount)]), subscriptions=[held])
        (balance,) = balances(where.facts, t("11-30 12:00"), {})
        return balance.amount

    assert given("50", "2026-11-16T00:00:00+01:00") == 25
    assert given("100", "2026-11-21T00:00:00+01:00") == d("33.333333")


def test_section_8_coffee_cake_and_a_tip() -> None:
    where = space(plan(cafe=passed()))
    assert where.amounts(sale("account")) == [d("3.50"), d("4.00"), d("0.50")]
    (line,) = where.lines(sale("paid", tax="1.43"))
    assert (line.amount, line.tip, line.tax and line.tax.amount) == (d("7.50"), d("0.50"), d("1.43"))


def sale(settlement: str, *, tax: str | None = None) -> UsageEvent:
    lines: list[dict[str, Any]] = [{"quantity": 1, "amount": "3.50"}, {"quantity": 1, "amount": "4.00"}]
    if tax is not None:
        lines[0]["tax"] = tax
    data = {"order": "o", "currency": "EUR", "lines": lines, "tip": "0.50", "total": "8.00", "settlement": settlement}
    return event("sale", "pos.sale", "11-02", data)
