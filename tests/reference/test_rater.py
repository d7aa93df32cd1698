"""The second rater by itself: every figure of the rules' oracle cases."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from tests.reference.bill import balances, groups, taxes
from tests.reference.rater import Bill, Facts, Line, Rater
from tests.reference.sessions import stepped
from tests.reference.values import Doc

NOW = datetime(2026, 12, 1, tzinfo=UTC)
SUB = {"id": "sub", "plan": "plan", "from": "2026-01-01"}
HOUR = {"event": "door.access", "aggregate": "duration", "unit": "hour", "key": "member", "start": {"direction": "in"},
        "end": {"direction": "out"}, "max": "14h", "missing_end": "close_at"}  # fmt: skip
_ids = itertools.count(1)


def catalog(
    meter: Doc | None = None, prices: list[Doc] | None = None, grants: list[Doc] | None = None, **more: Any
) -> Doc:
    """One site, one account, ada, and the meter `m`, fed by `usage.reported` unless said otherwise."""
    body: Doc = {
        "operator": "northside", "currency": "EUR", "timezone": "UTC", "taxes": {"vat": {"rate": "0.2"}},
        "sites": {"berlin": {"timezone": "UTC", "closes": "22:00"}},
        "meters": {"m": meter or {"event": "usage.reported", "unit": "unit"}},
        "plans": {"plan": {"prices": {"m": prices or []}, "grants": grants or []}},
        "accounts": {"acme": {"timezone": "UTC", "subscriptions": [SUB]}},
        "members": {"ada": {"account": "acme", "identities": ["badge:A"]},
                    "bob": {"account": "acme", "identities": ["badge:B"]}},
    }  # fmt: skip
    return body | more


def event(kind: str, at: str, data: Doc, subject: str | None = "badge:A", **more: Any) -> Doc:
    """An event of 2026, its time like `03-02T08:00`."""
    found = {"type": kind, "source": "berlin/x", "id": f"e{next(_ids):04}", "data": data}
    found |= {"subject": subject} if subject else {}
    return found | {"at": datetime.fromisoformat(f"2026-{at}").replace(tzinfo=UTC)} | more


def used(quantity: Any, at: str = "03-02T08:00", **more: Any) -> Doc:
    return event("usage.reported", at, {"meter": "m", "quantity": quantity} | more)


def rate(body: Doc, events: list[Doc], *, now: datetime = NOW, closes: Any = ()) -> Bill:
    facts = Facts([(None, body)], [], events, now=now, closes=closes)
    return Rater(facts, events).bill


def amounts(bill: Bill) -> list[Fraction]:
    return [line.amount for line in sorted(bill.lines, key=lambda line: line.key)]


def of(*values: Any) -> list[Fraction]:
    return [Fraction(str(value)) for value in values]


def usage(body: Doc, quantities: list[Any], **more: Any) -> list[Fraction]:
    return amounts(rate(body, [used(quantity) for quantity in quantities], **more))


TIERS: list[Doc] = [{"up_to": 10, "unit_price": "1.5"}, {"up_to": 110, "unit_price": "1"},
                    {"up_to": 1110, "unit_price": "0.5"}]  # fmt: skip


def test_graduated_with_flats_from_zero() -> None:
    tiers = [{"up_to": 5, "flat": 100}, {"up_to": 10, "flat": 50}, {"up_to": 15, "unit_price": 10}, {"unit_price": 5}]
    price = {"id": "p", "model": "graduated", "tiers": tiers, "flat_at_zero": True}
    body = catalog(prices=[price])
    body["accounts"]["acme"]["subscriptions"] = [SUB | {"from": "2026-03-01"}]
    bill = rate(body, [used(q) for q in ("5", "0.001", "1.999", "5", "10")], now=datetime(2026, 3, 31, tzinfo=UTC))
    lines = sorted(bill.lines, key=lambda line: line.key)
    assert list(itertools.accumulate(line.amount for line in lines)) == of(100, 100, 150, 150, 170, 235)
    assert lines[0].key[:2] == (datetime(2026, 3, 1, tzinfo=UTC), "")


def test_tiers() -> None:
    volume = {"id": "p", "model": "volume", "tiers": [{"up_to": 15, "unit_price": 10}, {"unit_price": 5}]}
    assert usage(catalog(prices=[volume]), [15, 1, 0]) == of(150, -70)
    assert usage(catalog(prices=[{"id": "p", "model": "graduated", "tiers": TIERS}]), [111]) == of("115.5")
    assert usage(catalog(prices=[{"id": "p", "model": "volume", "tiers": TIERS}]), [111]) == of("55.5")


def test_packages() -> None:
    package = {"id": "p", "model": "package", "size": 10, "price": 15}
    assert usage(catalog(prices=[package]), [1, 8, 1]) == of(15, 0, 0)
    assert usage(catalog(prices=[package | {"price": 100}]), [121]) == of(1300)
    assert usage(catalog(prices=[package | {"price": 100, "free": 10}]), [121]) == of(1200)


def test_a_package_of_an_hour() -> None:
    price = {"id": "p", "model": "package", "size": 1, "price": 10}
    events = []
    for hour in range(12):
        events += [event("door.access", f"03-02T{hour:02}:00", {"direction": "in"}),
                   event("door.access", f"03-02T{hour:02}:10", {"direction": "out"})]  # fmt: skip
    assert sum(amounts(rate(catalog(HOUR, [price]), events))) == 20


@pytest.mark.parametrize(
    ("price", "events", "expected"),
    [
        ({"rate": "0.013", "fixed": 2, "free_events": 3, "free_amount": 250}, [50, 100, 250, 400], "11.15"),
        ({"rate": "0.013", "fixed": 2, "free_events": 3, "free_amount": 250}, [10, 20, 30, 100], "3.30"),
        ({"rate": "0.0299", "minimum": "1.75", "maximum": 12}, [10, 80, 10000], "16.142"),
    ],
)
def test_percentages(price: Doc, events: list[int], expected: str) -> None:
    body = catalog(prices=[{"id": "p", "model": "percentage", "field": "money"} | price])
    found = amounts(rate(body, [used(1, money=money) for money in events]))
    assert sum(found) == Fraction(expected)


def test_a_daily_cap() -> None:
    price = {"id": "p", "model": "graduated", "tiers": [{"up_to": 10, "unit_price": 1}, {"unit_price": "0.5"}],
             "cap": {"amount": 8, "every": "day"}}  # fmt: skip
    found = amounts(rate(catalog(prices=[price]), [used(12), used(12, "03-03T08:00")]))
    assert found == of(8, 6)


def test_a_period_minimum() -> None:
    price = {"id": "p", "model": "per_unit", "unit_price": 1, "period_minimum": {"amount": "10.00"}, "tax": "vat"}
    sub = SUB | {"from": "2026-02-04"}
    body = catalog(prices=[price], accounts={"acme": {"timezone": "UTC", "subscriptions": [sub]}})
    bill = rate(body, [used(8, "02-10T08:00")], closes=[("acme", datetime(2026, 2, 1, tzinfo=UTC))])
    assert [line.kind for line in bill.lines] == ["usage", "minimum"]
    assert sum(groups(bill.lines).values()) == Fraction("8.93")
    assert sum(groups(bill.lines).values()) + sum(taxes(bill.lines).values()) == Fraction("10.72")


def balance(bill: Bill, body: Doc, events: list[Doc], at: str) -> dict[str, Fraction]:
    facts = Facts([(None, body)], [], events, now=NOW)
    instant = datetime.fromisoformat(f"2026-{at}").replace(tzinfo=UTC)
    found = balances(facts, bill.accounts["acme"], instant)
    for one in found.values():
        assert one.amount == one.used + one.remaining + one.rolled + one.expired
        assert min(one.used, one.remaining, one.rolled, one.expired) >= 0
    return {name: one.remaining for name, one in found.items()}


def test_two_grants_by_priority() -> None:
    given = [{"id": f"g{n}", "account": "acme", "unit": "unit", "amount": 100, "priority": n} for n in (1, 2)]
    body, events = catalog() | {"grants": given}, [used(120)]
    assert balance(rate(body, events), body, events, "03-03T00:00") == {"g1": 0, "g2": 80}


def test_rollover() -> None:
    grant = {"id": "g", "unit": "unit", "amount": 100, "meters": ["m"], "rollover": {"max": 50}}
    body, events = catalog(grants=[grant]), [used(10, "03-10T00:00")]
    accounts = {"acme": {"timezone": "UTC", "subscriptions": [SUB | {"from": "2026-03-01"}]}}
    body |= {"accounts": accounts}
    found = balance(rate(body, events), body, events, "04-10T00:00")
    assert found == {"sub/g/2026-03": 0, "sub/g/2026-03/rolled": 50, "sub/g/2026-04": 100}
    later = [*events, used(30, "04-11T00:00")]
    found = balance(rate(body, later), body, later, "05-10T00:00")
    assert found["sub/g/2026-03/rolled"] == 0
    assert found["sub/g/2026-04/rolled"] == 50


def test_monthly_and_lasting_credit() -> None:
    grant = {"id": "g", "unit": "unit", "amount": 500, "meters": ["m"]}
    given = {"id": "lasting", "account": "acme", "unit": "unit", "amount": 200}
    body, events = catalog(grants=[grant]) | {"grants": [given]}, [used(400), used(200, "03-04T00:00")]
    bill = rate(body, events)
    assert balance(bill, body, events, "03-03T00:00") | {} == {
        "lasting": 200, "sub/g/2026-03": 100, "sub/g/2026-02": 0, "sub/g/2026-01": 0}  # fmt: skip
    assert balance(bill, body, events, "03-05T00:00")["lasting"] == 100
    assert balance(bill, body, events, "03-05T00:00")["sub/g/2026-03"] == 0
    assert balance(bill, body, events, "04-05T00:00")["sub/g/2026-04"] == 500
    assert balance(bill, body, events, "04-05T00:00")["lasting"] == 100


def test_a_grant_never_pays_for_usage_from_before_it_began() -> None:
    given = {"id": "g", "account": "acme", "unit": "unit", "amount": 100, "effective": "2026-03-03"}
    body = catalog(prices=[{"id": "p", "model": "per_unit", "unit_price": 1}]) | {"grants": [given]}
    events = [used(25), used(25, "03-04T00:00")]
    bill = rate(body, events)
    assert amounts(bill) == of(25, 0)
    assert balance(bill, body, events, "03-05T00:00") == {"g": 75}


def test_a_credit_that_runs_short() -> None:
    given = {"id": "g", "account": "acme", "unit": "credit", "amount": 1}
    body = catalog(prices=[{"id": "p", "model": "per_unit", "unit_price": "0.05"}], credits={
        "rates": {"m": [{"rate": "0.03"}]}}) | {"grants": [given]}  # fmt: skip
    (line,) = rate(body, [used(100)]).lines
    assert line.covered == Fraction("33.333333")
    assert sum(groups([line]).values()) == Fraction("3.33")
    assert line.draws == {"g": 1}


@pytest.mark.parametrize(("seconds", "amount"), [(32, "0.0036"), (57, "0.006"), (75, "0.0078")])
def test_increments(seconds: int, amount: str) -> None:
    meter = HOUR | {"unit": "minute", "increment": "30s/6s"}
    events = [event("door.access", "03-02T08:00", {"direction": "in"})]
    end = {"at": events[0]["at"] + timedelta(seconds=seconds)}
    events.append(event("door.access", "03-02T08:00", {"direction": "out"}) | end)
    price = {"id": "p", "model": "per_unit", "unit_price": "0.006"}
    assert amounts(rate(catalog(meter, [price]), events)) == of(amount)


def test_a_minimum_and_an_increment() -> None:
    assert stepped(max(21, 20), "15s") == 30


def hours(body: Doc, events: list[Doc], now: datetime = NOW) -> list[Any]:
    return [(line.quantity, line.estimated) for line in rate(body, events, now=now).lines]


def test_missing_ends() -> None:
    body = catalog(HOUR, [{"id": "p", "model": "per_unit", "unit_price": 1}])
    inward, outward = {"direction": "in"}, {"direction": "out"}
    events = [event("door.access", f"03-02T{at}", data) for at, data in
              (("09:00", inward), ("10:00", inward), ("18:00", outward))]  # fmt: skip
    assert hours(body, events) == [(1, True), (8, False)]
    events = [event("door.access", "03-02T14:00", inward), event("door.access", "03-02T23:30", outward)]
    assert hours(body, events[:1], datetime(2026, 3, 2, 21, tzinfo=UTC)) == []
    assert hours(body, events[:1]) == [(8, True)]
    assert hours(body, events) == [(Fraction("9.5"), False)]


def test_counters() -> None:
    meter = {"event": "wifi.session", "aggregate": "counter", "value": "bytes_in", "key": "session", "unit": "byte",
             "from_zero": True}  # fmt: skip
    events = [event("wifi.session", f"03-02T0{n}:00", {"session": "s", "bytes_in": value}) for n, value in
              enumerate((100, 90, 110))]  # fmt: skip
    price = {"id": "p", "model": "per_unit", "unit_price": 1}
    assert sum(amounts(rate(catalog(meter, [price]), events))) == 110
    assert sum(amounts(rate(catalog(meter | {"reset": "below"}, [price]), events))) == 210


def test_a_counter_across_the_month() -> None:
    meter = {"event": "wifi.session", "aggregate": "counter", "value": "bytes_in", "key": "session", "unit": "byte"}
    body = catalog(meter, [{"id": "p", "model": "per_unit", "unit_price": 1}])
    first, late, second = (event("wifi.session", at, {"session": "s", "bytes_in": value}) for at, value in
                           (("01-31T08:00", 100), ("01-31T09:00", 120), ("02-01T08:00", 150)))  # fmt: skip
    assert [line.quantity for line in rate(body, [first, second]).lines] == of(50)
    assert [line.quantity for line in rate(body, [first, second, late]).lines] == of(20, 30)


def test_free_seconds_go_to_the_earlier_call() -> None:
    meter = HOUR | {"unit": "second", "key": "call"}
    given = {"id": "g", "account": "acme", "unit": "second", "amount": 60}
    body = catalog(meter, [{"id": "p", "model": "per_unit", "unit_price": "0.01"}]) | {"grants": [given]}
    events = []
    for call, at in (("b", "09:00"), ("a", "08:00")):
        events += [event("door.access", f"03-02T{at}", {"direction": "in", "call": call}),
                   event("door.access", f"03-02T{at[:3]}02", {"direction": "out", "call": call})]  # fmt: skip
    assert amounts(rate(body, events)) == amounts(rate(body, events[::-1])) == of("0.6", "1.2")


@pytest.mark.parametrize(("fee", "free", "extra", "days", "total"), [(75, 5, 20, 9, 155), (50, 3, 15, 5, 80)])
def test_day_passes(fee: int, free: int, extra: int, days: int, total: int) -> None:
    meter = {"event": "door.access", "aggregate": "unique_days", "unit": "day"}
    grant = {"id": "days", "unit": "day", "amount": free, "meters": ["m"]}
    body = catalog(meter, [{"id": "p", "model": "per_unit", "unit_price": extra}], [grant])
    body["plans"]["plan"]["fee"] = {"amount": fee}
    body["accounts"]["acme"]["subscriptions"] = [SUB | {"from": "2026-03-01"}]
    events = [event("door.access", f"03-{day:02}T08:00", {"direction": "in"}) for day in range(1, days + 1)]
    assert sum(amounts(rate(body, events + events[:2], now=datetime(2026, 3, 31, tzinfo=UTC)))) == total


def test_a_pool_of_days() -> None:
    meter = {"event": "door.access", "aggregate": "unique_days", "unit": "day"}
    grant = {"id": "days", "unit": "day", "amount": 10, "meters": ["m"]}
    body = catalog(meter, [{"id": "p", "model": "per_unit", "unit_price": 1}], [grant])
    events = [event("door.access", f"03-{day:02}T08:00", {}, f"badge:{who}") for day in range(1, 9) for who in "AB"]
    assert sum(line.quantity - line.covered for line in rate(body, events).lines) == 6


def sale(net: str, tax: str, settlement: str, at: str = "03-02T08:00", **more: Any) -> Doc:
    total = str(Fraction(net) + Fraction(tax)) if Fraction(net).denominator == 1 else net
    line = {"sku": "coffee", "quantity": 1, "amount": net} | ({"tax": tax} if Fraction(tax) else {})
    data = {"order": "o1", "currency": "EUR", "lines": [line], "total": more.pop("total", total),
            "settlement": settlement}  # fmt: skip
    return event("pos.sale", at, data | more)


def refund(number: int, at: str, **more: Any) -> Doc:
    data = {"refund": f"r{number}", "sale": {"source": "berlin/x", "order": "o1"}, "currency": "EUR",
            "status": "completed"}  # fmt: skip
    return event("pos.refund", at, data | more)


CAFE = {"event": "pos.sale", "aggregate": "sum", "value": "lines.amount", "unit": "EUR"}


def refunds(bill: Bill) -> list[Line]:
    return [line for line in bill.lines if line.kind == "refund"]


def test_a_refund_gives_back_money_first_then_credit() -> None:
    given = {"id": "g", "account": "acme", "unit": "EUR", "amount": 15}
    body = catalog(CAFE, [{"id": "p", "model": "pass_through"}]) | {"grants": [given]}
    bill = rate(body, [sale("20", "0", "account"), refund(1, "03-03T08:00", amount="10")])
    assert [line.amount for line in bill.lines] == of(5, -5)
    assert refunds(bill)[0].draws == {"g": -5}


def test_a_refund_is_split_in_proportion() -> None:
    paid = sale("10.00", "1.90", "paid", total="11.90")
    (line,) = refunds(rate(catalog(CAFE), [paid, refund(1, "03-03T08:00", amount="5.95")]))
    assert [line.amount, line.till_tax, line.total] == of(-5, "-0.95", "-5.95")
    paid = sale("200.00", "50.00", "paid", total="250.00")
    parts = [{"sku": "coffee", "quantity": 1, "amount": "193.33"}]
    (line,) = refunds(rate(catalog(CAFE), [paid, refund(1, "03-01T08:00", lines=parts)]))
    assert sum(groups([line]).values()) == Fraction("-193.33")
    assert line.till_tax == Fraction("-48.33")


def test_the_last_refund_returns_the_rest() -> None:
    paid = sale("10.00", "1.90", "paid", total="11.90")
    parts = [refund(n, f"03-{n:02}T08:00", amount="4") for n in range(1, 6)]
    bill = rate(catalog(CAFE), [paid, *parts])
    assert sum(line.amount for line in bill.lines) == 0
    assert sum(line.till_tax or 0 for line in bill.lines) == 0
    assert len(refunds(bill)) == 3


def test_an_amendment_that_was_voided() -> None:
    body = catalog(prices=[{"id": "p", "model": "per_unit", "unit_price": 1}])
    one = used(5)
    amended = event("event.amended", "03-03T00:00", {"source": one["source"], "id": one["id"],
                                                     "data": {"meter": "m", "quantity": 9}}, None)  # fmt: skip
    voided = event("event.voided", "03-03T00:00", {"source": amended["source"], "id": amended["id"]}, None)
    assert amounts(rate(body, [one, amended])) == of(9)
    assert amounts(rate(body, [one, amended, voided])) == of(5)


def test_a_thousand_tiny_lines() -> None:
    body = catalog(prices=[{"id": "p", "model": "per_unit", "unit_price": "0.004"}])
    bill = rate(body, [used(1) for _ in range(1000)])
    assert sum(groups(bill.lines).values()) == 4
