"""Worked cases of the rules in docs/rating.md with figures known from elsewhere, each by its own name."""

from __future__ import annotations

from decimal import Decimal

from meter.model.catalog import PerUnit
from meter.model.event import UsageEvent
from meter.rating.grants import balances
from meter.rating.price import amount_between, cumulative
from tests.rating.world import (
    DAYS,
    USE,
    Ledger,
    Space,
    amend,
    catalog,
    d,
    entered,
    given,
    graduated,
    passed,
    per_unit,
    plan,
    plan_grant,
    priced,
    space,
    span,
    subscription,
    t,
    use,
    void,
)


def left(where: Space, at: str, *events: UsageEvent) -> dict[str, Decimal]:
    """What each grant in force at `at` has left after the events."""
    used: dict[str, Decimal] = {}
    for line in where.lines(*events):
        for draw in line.draws:
            used[draw.grant] = used.get(draw.grant, d(0)) + draw.amount
    return {balance.id: balance.remaining for balance in balances(where.facts, t(at), used)}


def test_graduated_with_flats() -> None:
    model = graduated(("5", "0", "100"), ("10", "0", "50"), ("15", "10"), (None, "5"))
    assert [cumulative(model, d(q)) for q in ("5", "5.001", "7", "12", "22")] == [100, 150, 150, 170, 235]
    assert cumulative(model, d(0)) == 0  # with flat_at_zero it is 100: a later version's


def test_tiers_up_to_10_110_1110_at_111() -> None:
    model = graduated(("10", "1.5"), ("110", "1"), ("1110", "0.5"))
    assert cumulative(model, d(111)) == d("115.5")
    assert amount_between(model, d(1110), d(1112)) == 1  # past the last tier its price goes on


def test_grants_100_and_100_use_120() -> None:
    where = space(
        plan(use=per_unit("1")),
        grants=[given("first", USE, "100", priority=1), given("second", USE, "100", priority=2)],
    )
    assert left(where, "11-30", use("11-02", 120)) == {"first": 0, "second": 80}


def test_500_monthly_and_200_without_expiry() -> None:
    where = space(
        plan(use=per_unit("1"), grants=[plan_grant("monthly", USE, "500")]), grants=[given("extra", USE, "200")]
    )
    events = [use("11-02", 400), use("11-03", 200)]
    assert left(where, "11-02 13:00", events[0]) == {"sub/monthly/2026-11": 100, "extra": 200}
    assert left(where, "11-04", *events) == {"sub/monthly/2026-11": 0, "extra": 100}
    assert left(where, "12-04", *events) == {"sub/monthly/2026-12": 500, "extra": 100}


def test_use_25_then_a_grant_of_100_begins_then_use_25() -> None:
    where = space(plan(use=per_unit("1")), grants=[given("later", USE, "100", span=span("11-03"))])
    events = [use("11-02", 25), use("11-04", 25)]
    assert left(where, "11-05", *events) == {"later": 75}
    assert sum(line.billable for line in where.lines(*events)) == 25


def test_60_free_seconds_and_two_calls_of_two_minutes_arriving_in_reverse_order() -> None:
    where = space(plan(use=per_unit("0.01"), grants=[plan_grant("free", USE, "60")]))
    earlier, later = use("11-02 10:00", 120), use("11-02 11:00", 120)
    ledger = Ledger.empty()
    ledger.make_good(where.lines(later))
    assert [charge.line.amount for charge in ledger.charges] == [d("0.6")]
    ledger.make_good(where.lines(earlier, later))
    standing = {charge.line.key.id: charge.line.amount for charge in ledger.standing().values()}
    assert standing == {earlier.id: d("0.6"), later.id: d("1.2")}


def test_day_passes_75_with_5_days_then_20_each_nine_days() -> None:
    where = space(plan(days=per_unit("20"), grants=[plan_grant("days", DAYS, "5", holder="member")]))
    assert 75 + sum(where.amounts(*(entered(f"11-{day:02}") for day in range(2, 11)))) == 155


def test_day_passes_50_with_3_days_then_15_each_five_days() -> None:
    where = space(plan(days=per_unit("15"), grants=[plan_grant("days", DAYS, "3", holder="member")]))
    assert 50 + sum(where.amounts(*(entered(f"11-{day:02}") for day in range(2, 7)))) == 80


def test_pool_of_10_days_for_host_and_guest_16_days_used() -> None:
    where = space(plan(days=per_unit("15"), grants=[plan_grant("pool", DAYS, "10")]))
    events = [entered(f"11-{day:02}", by=who) for day in range(2, 10) for who in ("ada", "bob")]
    assert sum(line.billable for line in where.lines(*events)) == 6


def test_an_amendment_5_to_9_then_the_amendment_voided() -> None:
    where = space(plan(use=per_unit("1")))
    five = use("11-02", 5)
    nine = amend(five, {"meter": "use", "quantity": 9})
    assert [line.quantity for line in where.lines(five, revisions=[nine])] == [9]
    assert [line.quantity for line in where.lines(five, revisions=[void(nine), nine])] == [5]


def test_1000_lines_of_0_004_sum_to_4_00_exactly() -> None:
    where = space(plan(use=per_unit("0.004")))
    ledger = Ledger.empty()
    ledger.make_good(where.lines(*(use(f"11-02 {n // 60:02}:{n % 60:02}", 1) for n in range(1000))))
    assert len(ledger.charges) == 1000
    assert sum(charge.rounded for charge in ledger.charges) == d("4.00")


def test_a_sale_line_passes_through_with_its_markup() -> None:
    where = space(plan(use=passed("0.1")))
    assert where.amounts(use("11-02", 20)) == [22]


def test_a_changed_price_starts_from_q_0() -> None:
    tiers = graduated(("10", "1"), (None, "0.5"))
    dearer = graduated(("10", "2"), (None, "1"))
    where = space(
        subscriptions=[subscription()],
        catalogs=[
            catalog(plan(use=priced(tiers))),
            catalog(plan(use=priced(dearer)), version=2, effective="11-10"),
        ],
    )
    assert where.amounts(use("11-02", 12), use("11-12", 12)) == [11, 22]
    assert cumulative(PerUnit(unit_price=d("0.1")), d(3)) == d("0.3")
