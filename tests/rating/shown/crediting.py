"""Examples of section 4: which credit is drawn, by how much, what comes with a plan, and what is bought."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from meter.model.directory import GivenGrant, Purchase, Span
from meter.model.event import UsageEvent
from meter.model.money import plain
from tests.rating.shown.words import (
    amounts,
    bill,
    by_meter,
    example,
    figures,
    held,
    house,
    left,
    money,
    on,
    total,
    used,
)
from tests.rating.world import d

USE = """
    meters: {{use: {{event: usage.reported, unit: page}}}}
    plans: {{flex: {{prices: {{use: [{{id: each, model: per_unit, unit_price: "{price}"}}]}}, grants: [{grants}]}}}}
"""


def uses(price: str = "0.05", grants: str = "") -> str:
    return USE.format(price=price, grants=grants)


def grant(id: str, amount: str | int, unit: str = "page", since: str | None = None, **more: Any) -> GivenGrant:
    span = Span(start=None if since is None else on(since))
    return GivenGrant(id=id, account="acme", unit=unit, amount=Decimal(amount), span=span, **more)


@example
def a_pool() -> str:
    pool, first, second = 50, 40, 30
    where = house(uses(grants=f"{{id: pages, unit: page, amount: {pool}}}"))
    one, two = where.lines(used("11-02", first), used("11-03", second))
    turned = where.lines(used("11-01", second), used("11-02", first))
    assert [plain(line.covered) for line in turned] == ["30", "20"]
    return (
        f"A pool of {pool} pages; jobs of {first} and then {second} pages at 0.05: the first is covered whole and "
        f"booked at "
        f"{plain(one.amount)}, of the second {plain(two.covered)} pages are covered and {plain(two.billable)} are "
        f"priced, "
        f"{money(two.amount)}. If the job of {second} has the earlier time, it is covered whole, whichever came in "
        f"first."
    )


@example
def priorities() -> str:
    where = house(uses(), grants=[grant("first", 100, priority=1), grant("second", 100, priority=2)])
    kept = left(where, "11-30", used("11-02", 120))
    return (
        f"Two grants of 100 pages, with `priority` 1 and 2, and 120 pages: {plain(kept['first'].remaining)} and "
        f"{plain(kept['second'].remaining)} are left."
    )


@example
def expiry_first() -> str:
    where = house(uses(grants="{id: monthly, unit: page, amount: 500}"), grants=[grant("extra", 200)])
    first, second = used("11-02", 400), used("11-03", 200)

    def told(at: str, *events: Any) -> str:
        kept = left(where, at, *events)
        monthly = next(balance for name, balance in kept.items() if name != "extra")
        return f"{plain(monthly.remaining)} and {plain(kept['extra'].remaining)}"

    return (
        f"500 pages a month, and 200 without an end; after 400 pages {told('11-02 13:00', first)} are left, after 200 "
        f"more "
        f"{told('11-04', first, second)}, and in the next month {told('12-04', first, second)}."
    )


@example
def never_before() -> str:
    where = house(uses(), grants=[grant("later", 100, since="11-03 00:00")])
    events = [used("11-02", 25), used("11-04", 25)]
    priced = total(line.billable for line in where.lines(*events))
    kept = left(where, "11-05", *events)["later"].remaining
    return (
        f"25 pages, then a grant of 100 begins, then 25 pages: {plain(priced)} are priced, {plain(kept)} are left of "
        f"the grant."
    )


@example
def in_hours() -> str:
    where = house("""
        meters: {rooms: {event: usage.reported, unit: hour}}
        plans: {flex: {prices: {rooms: [{id: room, model: per_unit, unit_price: "12.00"}]},
                       grants: [{id: rooms, unit: hour, amount: 6}]}}
    """)
    kept = [balance.remaining for balance in left(where, "11-30", used("11-02", "0.5", meter="rooms")).values()]
    return f"6 hours of room credit and a booking of half an hour: {plain(kept[0])} hours are left."


@example
def credit_by_rate() -> str:
    where = house(
        uses()
        + """
    credits: {rates: {use: [{rate: "0.03"}]}}
""",
        grants=[grant("credit", 1, "credit")],
    )
    (line,) = where.lines(used("11-02", 100))
    (charge,) = bill(where, [line])
    return (
        f"1 credit at a rate of 0.03 a page, and 100 pages at 0.05: {plain(line.covered)} pages are covered, "
        f"{plain(line.billable)} are priced, {plain(line.amount)}, booked as {money(charge.rounded)}."
    )


@example
def goodwill() -> str:
    where = house(uses("0.10"), grants=[grant("goodwill", 20, "EUR")])
    lines = where.lines(used("11-02", 120), used("11-03", 150))
    drawn = figures(draw.amount for line in lines for draw in line.draws)
    return (
        f"A grant of 20.00 EUR, and jobs that cost 12.00 and 15.00: it pays {drawn}, and the lines are "
        f"{amounts(lines)}."
    )


@example
def falling() -> str:
    where = house(
        """
        meters: {seats: {event: usage.reported, aggregate: latest, unit: seat}}
        plans: {flex: {prices: {seats: [{id: seat, model: per_unit, unit_price: "10.00"}]},
                       grants: [{id: seats, unit: seat, amount: 3}]}}
        """
    )
    up, down = where.lines(used("11-02", 5, meter="seats"), used("11-03", 2, meter="seats"))
    return (
        f"A team counts 5 seats, 3 of them covered by credit: {plain(up.billable)} are priced, {money(up.amount)}. It "
        f"falls to 2: "
        f"a line of {plain(down.quantity)} gives back {money(-down.amount)} for {plain(-down.billable)} seats, and "
        f"{plain(-down.covered)} to the credit."
    )


def given_by(plan_grant: str, since: str = "01-01 00:00", **more: Any) -> list[Decimal]:
    where = house(uses(grants=plan_grant), subscriptions=[held(since=since, **more)])
    return [balance.amount for balance in left(where, "11-30").values()]


@example
def parts_of_a_period() -> str:
    half = given_by("{id: pages, unit: page, amount: 50}", "11-16 00:00")
    third = given_by("{id: pages, unit: page, amount: 100}", "11-21 00:00")
    return (
        f"50 pages a month from 16 November on: 50 x 15 / 30 = {plain(half[0])}. 100 pages from 21 November on: "
        f"{plain(third[0])}."
    )


@example
def seats() -> str:
    pooled = given_by("{id: pages, unit: page, amount: 10, per_seat: true}", seats=5)
    each = given_by("{id: pages, unit: page, amount: 10, for: member}", seats=1)
    return (
        f"Acme has 5 seats: 10 pages with `per_seat` are a pool of {figures(pooled, plain)}. Acme has 1 seat and two "
        f"members: 10 "
        f"pages `for: member` are {len(each)} x {figures(each, plain)}, for the one who came first."
    )


@example
def rollover() -> str:
    rolling = "{id: pages, unit: page, amount: 100, rollover: {max: 50}}"
    where = house(uses(grants=rolling), subscriptions=[held(since="10-01 00:00")])
    october, november = used("10-05", 10), used("11-05", 120)

    def told(at: str, *events: Any) -> list[str]:
        kept = left(where, at, *events)
        return [plain(balance.remaining) for balance in sorted(kept.values(), key=lambda one: one.origin == "plan")]

    rolled, own = told("11-01", october)
    after = told("11-30", october, november)
    again = told("12-01", october, november)
    return (
        f"100 pages a month, of which at most 50 go on for one month. October uses 10: November begins with {rolled} "
        f"rolled on and "
        f"{own} of its own. It uses 120: {' and '.join(after)} are left. December begins with {' and '.join(again)}."
    )


@example
def bought() -> str:
    pack = grant("pack", 10, since="11-10 00:00", bought=Purchase(price=d("180.00"), tax="vat19"))
    where = house(uses("25.00"), grants=[pack])
    lines = where.lines(used("11-12", 3), until=on("11-30"))
    charges = bill(where, lines)
    (sold,), (use,) = by_meter(lines, "credit"), by_meter(lines, "use")
    tax = next(charge.tax_amount for charge in charges if charge.line.meter == "credit")
    kept = left(where, "11-30", used("11-12", 3))["pack"]
    return (
        f"10 pages are bought for 180.00 from 10 November on: a line `credit` of {money(sold.amount)} and {money(tax)} "
        f"tax on that day. 3 pages of 12 November are covered, {money(use.amount)}; {plain(kept.remaining)} are left, "
        f"and {money(kept.drawn_cost or d(0))} of the price is used."
    )


@example
def expired() -> str:
    until = Span(start=on("11-10 00:00"), end=on("12-09 00:00"))
    pack = replace(grant("pack", 10, bought=Purchase(price=d("180.00"))), span=until)
    where = house(uses("25.00"), grants=[pack])

    def rest(*events: UsageEvent) -> str:
        (line,) = [line for line in where.lines(*events, until=on("12-31")) if line.key.of_expiry]
        assert line.key.time == on("12-09 00:00")
        return f"{plain(line.quantity)} pages and {money(line.amount)}"

    return (
        f"10 pages are bought, to be drawn before 9 December, and 3 are used: a line `credit` of "
        f"{rest(used('11-12', 3))} on 9 December. Another 2 pages of 14 November come in later: that line is reversed, "
        f"and replaced by one of {rest(used('11-12', 3), used('11-14', 2))}."
    )
