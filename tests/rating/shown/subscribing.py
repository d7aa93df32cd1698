"""Examples of sections 7 and 9: fees, changes in mid-period, discounts, deposits; what comes after closing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meter.booking.books import _invoice_period
from meter.model.charge import Line
from meter.model.directory import Account, Discount, Link, Span
from meter.model.money import plain, rounded_minor
from meter.model.period import Replaced, Terms
from meter.rating.calendar import beats
from tests.rating.shown.words import (
    ZONE,
    amounts,
    bill,
    by_meter,
    example,
    figures,
    held,
    house,
    money,
    on,
    total,
    used,
)
from tests.rating.world import d

FLEX = """
    meters: {{use: {{event: usage.reported, unit: page}}}}
    plans:
      flex: {{fee: {{amount: "199.00", in: {timing}}},
             prices: {{use: [{{id: each, model: per_unit, unit_price: "0.05"}}]}}}}
      team: {{fee: {{amount: "300.00", in: {timing}}},
             prices: {{use: [{{id: each, model: per_unit, unit_price: "0.04"}}]}}}}
"""
ADVANCE = FLEX.format(timing="advance")


def fees(lines: Iterable[Line]) -> list[Line]:
    return [line for line in by_meter(lines, "membership") if line.key.time < on("12-01 00:00")]


def dated(line: Line) -> str:
    time = line.key.time.astimezone(on("11-01").tzinfo)
    return f"{time.day} {time:%B}"


@example
def two_plans() -> str:
    where = house(ADVANCE, subscriptions=[held(), held("team", member="ada")])
    lines = by_meter(where.lines(used("11-02", 100), used("11-03", 100, by="bob")), "use")
    found = [line for line in lines if line.kind == "usage"]
    return (
        f"Acme has the plan `flex`, with pages at 0.05, and Ada one of her own, `team`, at 0.04: 100 pages of Ada cost "
        f"{money(found[0].amount)}, 100 of Bob {money(found[1].amount)}."
    )


@example
def a_fee() -> str:
    where = house(ADVANCE, subscriptions=[held(since="11-16 00:00", seats=3)])
    (line,) = fees(where.lines(until=on("11-30")))
    return (
        f"199.00 a month and seat, 3 seats from 16 November on: 3 x 199.00 x 15 / 30 = {money(line.amount)}, on "
        f"{dated(line)}; the "
        f"quantity is {plain(line.quantity)} months."
    )


@example
def a_moved_anchor() -> str:
    before, now = Terms("EUR", ZONE, 1), Terms("EUR", ZONE, 15)
    acme = Account(id="acme", name="Acme", **now._asdict(), replaced=(Replaced(before, "2026-12"),))
    months = [acme.periods.named(name) for name in ("2026-11", "2026-12", "2027-01")]
    starts = [month.start.astimezone(on("11-01").tzinfo) for month in months]
    told = [f"{start.day} {start:%B}" for start in starts]
    where = house(ADVANCE, subscriptions=[held(since="11-01 00:00")], accounts=[acme])
    _, fee = by_meter(where.lines(until=on("12-02")), "membership")
    (days,) = (beat.days for beat in beats(where.facts, months[1]) if beat.days is not None)
    each = rounded_minor(fee.amount, now.currency)
    return (
        f"An anchor day of {before.anchor_day} becomes {now.anchor_day} in November: the periods begin on {told[0]}, "
        f"{told[1]} and {told[2]}; a fee of 199.00 a month is {each} for the {days.active} days of December's, at "
        f"{days.days} days a month."
    )


@example
def in_arrears() -> str:
    where = house(FLEX.format(timing="arrears"), subscriptions=[held(since="11-16 00:00", to="11-26 00:00")])
    (line,) = fees(where.lines(until=on("11-30")))
    return (
        f"The same in arrears, 1 seat, from 16 to 26 November: 199.00 x 10 / 30 = {plain(line.amount)}, on "
        f"{dated(line)}."
    )


@example
def a_change() -> str:
    where = house(
        ADVANCE, subscriptions=[held(since="11-01 00:00", to="11-16 00:00"), held("team", since="11-16 00:00")]
    )
    lines = fees(where.lines(until=on("11-30")))
    old, back, new = sorted(lines, key=lambda line: (line.key.time, line.amount))
    return (
        f"199.00 a month in advance, changed to 300.00 on 16 November: {money(old.amount)} on {dated(old)}; on "
        f"{dated(back)} "
        f"{money(back.amount)} for the 15 days not used, and {money(new.amount)} for the 15 that are left."
    )


@example
def an_end() -> str:
    where = house(ADVANCE, subscriptions=[held(since="11-01 00:00", to="11-21 00:00")])
    first, back = fees(where.lines(until=on("11-30")))
    charges = bill(where, [first, back])
    return (
        f"It ends on 21 November instead: {money(first.amount)}, and {plain(back.amount)} for 10 days of 30, booked as "
        f"{money(charges[1].rounded)}."
    )


@example
def an_end_with_a_discount() -> str:
    tenth = Discount(id="tenth", rate=d("0.10"), span=Span(end=on("11-21 00:00")))
    where = house(ADVANCE, subscriptions=[held(since="11-01 00:00", to="11-21 00:00", discounts=(tenth,))])
    told = figures(line.amount for line in fees(where.lines(until=on("11-30"))))
    return f"The same with 10 % off up to 21 November: {told}."


def discounted(*discounts: Discount, pages: Iterable[int] = ()) -> tuple[Line, ...]:
    where = house(ADVANCE, subscriptions=[held(since="11-01 00:00", discounts=discounts)])
    return where.lines(*(used(f"11-{day:02}", count) for day, count in enumerate(pages, 2)), until=on("11-30"))


@example
def discounts() -> str:
    (fee,) = fees(discounted(Discount(id="founder", rate=d("0.10"), on=("fees",))))
    usage = by_meter(discounted(Discount(id="start", amount=d("5.00"), on=("use",)), pages=[60, 80, 20]), "use")
    return (
        f"10 % off the fee of 199.00: {money(fee.amount)}. 5.00 a period off pages at 0.05; jobs of 60, 80 and 20 "
        f"pages cost "
        f"{amounts(usage)}."
    )


@example
def both_discounts() -> str:
    pair = Discount(id="first", rate=d("0.10")), Discount(id="second", amount=d("9.10"))
    one, other = (fees(discounted(*found))[0].amount for found in (pair, pair[::-1]))
    return f"10 % off, then 9.10 off: the fee of 199.00 is {money(one)}. In the other order it is {money(other)}."


@example
def a_deposit() -> str:
    where = house(ADVANCE, subscriptions=[held(since="11-01 00:00", to="11-21 00:00", deposit=d("200.00"))])
    lines = by_meter(where.lines(until=on("11-30")), "deposit")
    told = " and ".join(f"{money(line.amount)} on {dated(line)}" for line in lines)
    return f"A deposit of 200.00 of a subscription from 1 to 21 November: lines of {told}, without tax."


@example
def members_come_and_go() -> str:
    links = [
        Link(member="ada", account="acme", span=Span(start=on("01-01 00:00"), end=on("11-11 00:00"))),
        Link(member="ada", account="beta", span=Span(start=on("11-11 00:00"))),
    ]
    own = held("team", since="11-01 00:00", member="ada")
    where = house(ADVANCE, subscriptions=[own], links=links)
    lines = fees(where.lines(until=on("11-30")))
    return (
        f"Ada's own plan costs 300.00, and she moves from Acme to Beta on 11 November: Acme is billed "
        f"{figures(line.amount for line in lines)}, Beta the rest."
    )


@example
def closing() -> str:
    november = "11-01 00:00"
    where = house(
        """
        meters: {use: {event: usage.reported, unit: page}}
        plans: {flex: {prices: {use: [{id: each, model: per_unit, unit_price: "0.05"}]}}}
        """,
        closed=[november],
    )
    account = where.facts.account
    job, late = used("11-02", 100), used("11-28", 40)
    booked = bill(where, where.lines(job), invoice_period=lambda line: _invoice_period(account, frozenset(), line))
    after: Any = bill(
        where,
        where.lines(job, late),
        booked=booked,
        invoice_period=lambda line: _invoice_period(account, where.closed, line),
    )
    (adjustment,) = after
    invoice = adjustment.invoice_period.start.astimezone(on("11-01").tzinfo)
    service = adjustment.line.period.start.astimezone(on("11-01").tzinfo)
    assert adjustment.kind == "adjustment"
    return (
        f"November had {money(total(charge.rounded for charge in booked))} when it was closed. A job of 40 pages of 28 "
        f"November "
        f"comes in on 3 December: an `{adjustment.kind}` of {money(adjustment.rounded)} on the invoice of "
        f"{invoice:%B}, with the "
        f"service period of {service:%B}."
    )
