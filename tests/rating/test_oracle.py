"""The worked cases of the rules, each by its own name, through the whole fold.

Figures of a price by itself stand in `price/`; here they come from events, and as they are booked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from meter.model.catalog import (
    Condition,
    CreditRate,
    Graduated,
    Increment,
    Meter,
    Package,
    Pairing,
    Percentage,
    Price,
    Rollover,
    Site,
    Volume,
)
from meter.model.charge import Line
from meter.model.directory import GivenGrant
from meter.model.event import UsageEvent
from meter.model.money import rounded_minor
from meter.rating.grants import balances
from tests.rating.booker import Booker
from tests.rating.summed import statement_of
from tests.rating.world import (
    CAFE,
    DAYS,
    USE,
    Ledger,
    Space,
    amend,
    catalog,
    d,
    entered,
    event,
    given,
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

CALLS = replace(USE, id="calls", event="call.ended", value=("seconds",), unit="minute", scale=d(1) / 60)


def left(where: Space, at: str, *events: UsageEvent) -> dict[str, Decimal]:
    """What each grant in force at `at` has left after the events."""
    used: dict[str, Decimal] = {}
    for line in where.lines(*events):
        for draw in line.draws:
            used[draw.grant] = used.get(draw.grant, d(0)) + draw.amount
    return {balance.id: balance.remaining for balance in balances(where.facts, t(at), used)}


def quantities(lines: Iterable[Line]) -> list[Decimal]:
    return [line.quantity for line in lines]


def session_meter(unit: str = "hour", **pairing: Any) -> Meter:
    def direction(value: str) -> tuple[Condition, ...]:
        return (Condition(path=("direction",), operator="=", value=value),)

    pair = Pairing(start=direction("in"), end=direction("out"), **pairing)
    return Meter(id="presence", event="door.access", aggregate="duration", unit=unit, pairing=pair)


def door(at: str, direction: str, *, by: str = "ada") -> UsageEvent:
    data = {"door": "main", "granted": True, "direction": direction}
    return event(f"{direction}-{at}-{by}", "door.access", at, data, by=by)


def presence(meter: Meter, price: Price, *, closes: str | None = None, **more: Any) -> Space:
    sites = {"berlin": Site(id="berlin", name="Berlin", timezone="Etc/UTC", closes=closes)}
    return space(plan(presence=price, **more), terms={"meters": {"presence": meter}, "sites": sites})


# --- prices -----------------------------------------------------------------------------------------------------------


def test_graduated_with_flats_and_flat_at_zero() -> None:
    tiers = graduated(("5", "0", "100"), ("10", "0", "50"), ("15", "10"), (None, "5")).tiers
    where = space(plan(use=priced(Graduated(tiers=tiers, flat_at_zero=True))))
    steps = ["5", "0.001", "1.999", "5", "10"]
    lines = where.lines(*(use(f"11-{n + 2:02}", quantity) for n, quantity in enumerate(steps)), until="11-30")
    assert [sum(line.amount for line in lines[: n + 1]) for n in range(len(lines))] == [100, 100, 150, 150, 170, 235]
    zero = lines[0]
    assert (zero.key.time, zero.events, zero.kind) == (t("10-31 23:00"), (), "usage")
    assert [zero.quantity, zero.billable, zero.amount] == [0, 0, 100]


def test_volume_15_then_16_then_16() -> None:
    model = Volume(tiers=graduated(("15", "10"), (None, "5")).tiers)
    level = replace(USE, aggregate="latest")
    where = space(plan(use=priced(model)), terms={"meters": {"use": level}})
    assert where.amounts(use("11-02", 15), use("11-03", 16), use("11-04", 16)) == [150, -70]


def test_tiers_up_to_10_110_1110_at_111() -> None:
    tiers = graduated(("10", "1.5"), ("110", "1"), ("1110", "0.5"))
    assert space(plan(use=priced(tiers))).amounts(use("11-02", 111)) == [d("115.5")]
    assert space(plan(use=priced(Volume(tiers=tiers.tiers)))).amounts(use("11-02", 111)) == [d("55.5")]


def test_package_of_10_at_15() -> None:
    where = space(plan(use=priced(Package(size=d(10), price=d(15)))))
    assert where.amounts(use("11-02", 1), use("11-03", 8), use("11-04", 1)) == [15, 0, 0]


def test_package_of_10_at_100_with_and_without_10_free() -> None:
    for free, amount in ((0, 1300), (10, 1200)):
        where = space(plan(use=priced(Package(size=d(10), price=d(100), free=d(free)))))
        assert where.amounts(use("11-02", 121)) == [amount]


def test_package_of_1_h_at_10_and_12_sessions_of_10_min() -> None:
    where = presence(session_meter(), priced(Package(size=d(1), price=d(10))))
    doors = [door(f"11-02 {8 + n // 4:02}:{n % 4 * 12:02}", "in") for n in range(12)]
    doors += [door(f"11-02 {8 + n // 4:02}:{n % 4 * 12 + 10:02}", "out") for n in range(12)]
    assert sum(where.amounts(*doors)) == 20


def percentages(model: Percentage, *amounts: int) -> list[Decimal]:
    meter = Meter(id="fees", event="payment", aggregate="count", unit="payment")
    where = space(plan(fees=priced(model)), terms={"meters": {"fees": meter}})
    return where.amounts(*(event(f"p{n}", "payment", f"11-{n + 2:02}", {"amount": a}) for n, a in enumerate(amounts)))


def test_percentage_1_3_and_2_with_3_free_events_and_250_free() -> None:
    model = Percentage(path=("amount",), rate=d("0.013"), fixed=d(2), free_events=3, free_amount=d(250))
    assert sum(percentages(model, 50, 100, 250, 400)) == d("11.15")


def test_percentage_1_3_and_2_after_3_free_events() -> None:
    model = Percentage(path=("amount",), rate=d("0.013"), fixed=d(2), free_events=3, free_amount=d(250))
    assert percentages(model, 10, 20, 30, 100) == [0, 0, 0, d("3.30")]


def test_percentage_2_99_between_1_75_and_12() -> None:
    model = Percentage(path=("amount",), rate=d("0.0299"), minimum=d("1.75"), maximum=d(12))
    assert sum(percentages(model, 10, 80, 10000)) == d("16.142")


def test_cap_8_a_day_12_units_on_each_of_two_days() -> None:
    where = space(plan(use=priced(graduated(("10", "1"), (None, "0.5")), day_cap=d(8))))
    assert where.amounts(use("11-02", 12), use("11-03", 12)) == [8, 6]


def test_period_minimum_10_active_25_of_28_days_usage_8() -> None:
    where = space(
        plan(use=per_unit("1", period_minimum=d(10), tax="vat")),
        subscriptions=[subscription(span=span("02-03 23:00"))],
        terms={"taxes": taxed("0.2")},
        closed=["01-31 23:00"],
    )
    ledger = Ledger.empty()
    ledger.make_good(where.lines(use("02-10", 8), until="03-02"))
    minimum = ledger.charges[-1]
    assert (minimum.line.kind, minimum.rounded) == ("minimum", d("0.93"))
    assert statement_of(ledger.charges).totals_in("EUR").gross == d("10.72")


# --- grants -----------------------------------------------------------------------------------------------------------


def test_grants_100_and_100_use_120() -> None:
    where = space(
        plan(use=per_unit("1")),
        grants=[given("first", USE, "100", priority=1), given("second", USE, "100", priority=2)],
    )
    assert left(where, "11-30", use("11-02", 120)) == {"first": 0, "second": 80}


def test_rollover_max_50_after_using_10_of_100() -> None:
    grant = plan_grant("monthly", USE, "100", rollover=Rollover(most=d(50)))
    where = space(plan(use=per_unit("1"), grants=[grant]))
    assert left(where, "12-02", use("11-02", 10)) == {"sub/monthly/2026-11/rolled": 50, "sub/monthly/2026-12": 100}
    assert left(where, "01-02", use("11-02", 10))["sub/monthly/2026-01"] == 100


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


def test_1_credit_at_0_03_a_page_for_100_pages_at_0_05() -> None:
    credit = GivenGrant(id="one", account="acme", unit="credit", amount=d(1))
    terms = {"credit_rates": {"pages": (CreditRate(rate=d("0.03")),)}}
    (line,) = space(plan(pages=per_unit("0.05")), grants=[credit], terms=terms).lines(printed("11-02", 100))
    assert [line.covered, line.draws[0].amount] == [d("33.333333"), 1]
    assert rounded_minor(line.amount, "EUR") == d("3.33")


def test_60_free_seconds_and_two_calls_of_two_minutes_arriving_in_reverse_order() -> None:
    where = space(plan(use=per_unit("0.01"), grants=[plan_grant("free", USE, "60")]))
    earlier, later = use("11-02 10:00", 120), use("11-02 11:00", 120)
    booker = Booker()
    booker.book(where.facts, where.placed([later]), until=t("11-03"))
    assert [charge.line.amount for charge in booker.ledger.charges] == [d("0.6")]
    booker.book(where.facts, where.placed([earlier, later]), until=t("11-03"))
    standing = {charge.line.key.id: charge.line.amount for charge in booker.ledger.standing().values()}
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


# --- sessions and counters --------------------------------------------------------------------------------------------


def test_0_006_per_minute_increment_30s_6s() -> None:
    meter = session_meter("minute", increment=Increment(first_s=30, step_s=6))
    where = presence(meter, per_unit("0.006"))
    lengths = (32, 57, 75)
    doors = [door(f"11-02 {8 + n:02}:00", "in") for n in range(3)]
    doors += [
        replace(door(f"11-02 {8 + n:02}:01", "out"), time=t(f"2026-11-02T{8 + n:02}:{s // 60:02}:{s % 60:02}Z"))
        for n, s in enumerate(lengths)
    ]
    assert where.amounts(*doors) == [d("0.0036"), d("0.006"), d("0.0078")]


def test_minimum_20_s_increment_15_s_21_s() -> None:
    meter = session_meter("second", minimum_s=20, increment=Increment(first_s=15, step_s=15))
    out = replace(door("11-02 08:01", "out"), time=t("2026-11-02T08:00:21Z"))
    assert quantities(presence(meter, per_unit("1")).lines(door("11-02 08:00", "in"), out)) == [30]


def test_in_9_in_10_out_18_closes_22_max_14_h() -> None:
    where = presence(session_meter(max_s=14 * 3600, missing_end="close_at"), per_unit("1"), closes="22:00")
    lines = where.lines(door("11-02 09:00", "in"), door("11-02 10:00", "in"), door("11-02 18:00", "out"))
    assert [(line.quantity, line.estimated) for line in lines] == [(d(1), True), (d(8), False)]


def test_in_14_closes_22_out_23_30_arrives_a_day_later() -> None:
    where = presence(session_meter(max_s=14 * 3600, missing_end="close_at"), per_unit("1"), closes="22:00")
    start, end = door("11-02 14:00", "in"), door("11-02 23:30", "out")
    booker = Booker()
    booker.book(where.facts, where.placed([start]), until=t("11-02 21:59"))
    assert booker.ledger.charges == []
    booker.book(where.facts, where.placed([start]), until=t("11-03 12:00"))
    booker.book(where.facts, where.placed([start, end]), until=t("11-03 23:30"))
    told = [(charge.role, charge.line.quantity, charge.line.estimated) for charge in booker.ledger.charges]
    assert told == [("original", 8, True), ("reversal", -8, True), ("replacement", d("9.5"), False)]


def counter_space(**more: Any) -> Space:
    meter = Meter(id="kwh", event="meter.read", aggregate="counter", unit="kWh", value=("kwh",), **more)
    return space(plan(kwh=per_unit("1")), terms={"meters": {"kwh": meter}})


def read(at: str, kwh: int) -> UsageEvent:
    return event(f"read-{at}", "meter.read", at, {"kwh": kwh})


def test_counter_100_90_110_with_from_zero() -> None:
    events = [read("11-02", 100), read("11-03", 90), read("11-04", 110)]
    assert sum(quantities(counter_space(from_zero=True).lines(*events))) == 110
    assert sum(quantities(counter_space(from_zero=True, reset_below=True).lines(*events))) == 210


def test_counter_readings_31_jan_100_1_feb_150_late_31_jan_120() -> None:
    where = counter_space()
    first, second, late = read("01-31 10:00", 100), read("02-01 10:00", 150), read("01-31 20:00", 120)
    booker = Booker(stride=1)
    booker.book(where.facts, where.placed([first, second]), until=t("02-02"))
    assert of_period(booker.ledger, "01-31 23:00") == 50
    booker.book(where.facts, where.placed([first, second, late]), until=t("02-02"))
    assert of_period(booker.ledger, "01-31 23:00") == 30
    assert of_period(booker.ledger, "12-31 23:00", year=2025) == 20


def of_period(ledger: Ledger, start: str, *, year: int = 2026) -> Decimal:
    begun = t(start).replace(year=year)
    return sum((charge.line.quantity for charge in ledger.charges if charge.line.period.start == begun), d(0))


# --- the till ---------------------------------------------------------------------------------------------------------


def sale(at: str, *lines: dict[str, Any], settlement: str = "account", **more: Any) -> UsageEvent:
    data = {"order": "o", "currency": "EUR", "settlement": settlement, "lines": list(lines), **more}
    return event("sale", "pos.sale", at, data)


def refunded(at: str, amount: str, *, id: str = "r") -> UsageEvent:
    told = {"source": "berlin/device", "order": "o"}
    data = {"refund": id, "sale": told, "currency": "EUR", "status": "completed", "amount": amount}
    return event(id, "pos.refund", at, data)


def test_sale_on_account_20_with_credit_15_and_money_5_refund_10() -> None:
    cups = replace(CAFE, unit="cup", value=("lines", "quantity"))
    grants = [GivenGrant(id="cups", account="acme", unit="cup", amount=d(15))]
    where = space(plan(cafe=per_unit("1")), grants=grants, terms={"meters": {"cafe": cups}})
    lines = where.lines(sale("11-02", {"amount": "20", "quantity": 20}, total="20"), refunded("11-03", "10"))
    assert [line.amount for line in lines] == [5, -5]
    assert [(draw.grant, draw.amount) for draw in lines[1].draws] == [("cups", d(-5))]
    assert lines[1].kind == "refund"


def test_refund_of_5_95_gross_of_a_sale_of_10_and_1_90_tax() -> None:
    where = space(plan(cafe=passed()))
    bought = sale("11-02", {"amount": "10.00", "tax": "1.90"}, settlement="paid", total="11.90")
    line = where.lines(bought, refunded("11-03", "5.95"))[1]
    assert line.tax is not None
    assert [line.amount, line.tax.amount, line.settlement] == [d("-5.00"), d("-0.95"), "paid"]


def test_refund_of_29_of_30_parts_of_200_at_25_percent() -> None:
    where = space(plan(cafe=passed()))
    bought = sale("11-02", {"amount": "200.00", "tax": "50.00"}, settlement="paid", total="250.00")
    line = where.lines(bought, refunded("11-03", "241.66"))[1]
    assert line.tax is not None
    assert [line.amount, line.tax.amount] == [d("-193.33"), d("-48.33")]


# --- corrections and rounding -----------------------------------------------------------------------------------------


def test_an_amendment_5_to_9_then_the_amendment_voided() -> None:
    where = space(plan(use=per_unit("1")))
    five = use("11-02", 5)
    nine = amend(five, {"meter": "use", "quantity": 9})
    assert quantities(where.lines(five, revisions=[nine])) == [9]
    assert quantities(where.lines(five, revisions=[void(nine), nine])) == [5]


def test_1000_lines_of_0_004_sum_to_4_00_exactly() -> None:
    where = space(plan(use=per_unit("0.004")))
    ledger = Ledger.empty()
    ledger.make_good(where.lines(*(use(f"11-02 {n // 60:02}:{n % 60:02}", 1) for n in range(1000))))
    assert len(ledger.charges) == 1000
    assert sum(charge.rounded for charge in ledger.charges) == d("4.00")


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
