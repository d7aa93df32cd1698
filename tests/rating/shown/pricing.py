"""Examples of sections 5 and 6: the models, what stands around them, rounding and tax."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from meter.model.catalog import Catalog
from meter.model.directory import Discount
from meter.model.event import UsageEvent
from meter.model.money import plain
from tests.rating.shown.words import (
    amounts,
    bill,
    door,
    example,
    figures,
    held,
    house,
    money,
    on,
    print_job,
    terms,
    total,
    used,
)
from tests.rating.world import Space, d

SITES = 'sites: {{berlin: {{closes: "22:00", tax: {tax}}}}}'


def priced(*prices: str, unit: str = "unit", sites: str | None = None) -> Space:
    text = f"""
    meters: {{use: {{event: usage.reported, unit: {unit}}}}}
    plans: {{flex: {{prices: {{use: [{", ".join(prices)}]}}}}}}
    """
    return house(text if sites is None else terms(text, sites=sites))


def usage(*quantities: int | str) -> list[UsageEvent]:
    return [used(f"11-{day:02}", quantity) for day, quantity in enumerate(quantities, 2)]


def costs(price: str, *quantities: int | str, unit: str = "unit") -> str:
    return amounts(priced(f"{{id: p, {price}}}", unit=unit).lines(*usage(*quantities)))


def paid_in_all(price: str, quantity: int | str) -> str:
    return money(total(line.amount for line in priced(f"{{id: p, {price}}}").lines(*usage(quantity))))


@example
def first_that_fits() -> str:
    where = house("""
        meters: {pages: {event: print.job, aggregate: sum, value: impressions, unit: page, group_by: [color]}}
        plans: {flex: {prices: {pages: [{id: colour, match: {color: true}, model: per_unit, unit_price: "0.25"},
                                        {id: mono, model: per_unit, unit_price: "0.05"}]}}}
    """)
    found = amounts(where.lines(print_job("11-02", 10, color=True), print_job("11-03", 10)))
    return (
        f"`colour` with `match: {{color: true}}` at 0.25, then `mono` at 0.05: 10 pages in colour and 10 without cost "
        f"{found}."
    )


@example
def per_member() -> str:
    tiers = 'model: graduated, tiers: [{up_to: 10, unit_price: "1.00"}, {unit_price: "0.50"}]'

    def told(more: str) -> str:
        where = priced(f"{{id: p, {tiers}{more}}}")
        return amounts(where.lines(used("11-02", 10), used("11-03", 10, by="bob")))

    return (
        f"1.00 each up to 10, then 0.50; Ada and then Bob use 10 each: {told('')}; with `per: member`, "
        f"{told(', per: member')}."
    )


@example
def per_unit() -> str:
    price = 'model: per_unit, unit_price: "0.006"'
    found = costs(price, "0.6", "1", "1.3", unit="minute")
    return f"0.006 a minute; 36, 60 and 78 s cost {found}."


@example
def graduated() -> str:
    where = house("""
        meters: {pages: {event: print.job, aggregate: sum, value: impressions, unit: page}}
        plans: {flex: {prices: {pages: [{id: p, model: graduated,
                                         tiers: [{up_to: 50, unit_price: "0.25"}, {unit_price: "0.20"}]}]}}}
    """)
    first, second = where.lines(print_job("11-02", 40), print_job("11-03", 30))
    return (
        f"0.25 up to 50 pages, then 0.20; jobs of 40 and 30 pages: P(40) = {money(first.amount)}; P(70) = 50 x 0.25 + "
        f"20 x 0.20 = "
        f"{money(first.amount + second.amount)}; the second job costs {money(second.amount)}."
    )


FLATS = (
    "model: graduated, flat_at_zero: true, tiers: [{up_to: 5, unit_price: 0, flat: 100}, "
    "{up_to: 10, unit_price: 0, flat: 50}, "
    "{up_to: 15, unit_price: 10}, {unit_price: 5}]"
)


@example
def flats() -> str:
    asked = ["5", "5.001", "7", "12", "22"]
    where = priced(f"{{id: p, {FLATS}}}")
    zero, use = where.lines(used("11-02", 5), until=on("11-30"))[-2:]
    at = figures((Decimal(paid_in_all_of_november(quantity)) for quantity in asked), plain)
    return (
        f"A flat 100 up to 5, a flat 50 up to 10, then 10 each up to 15, then 5 each, with `flat_at_zero`: 5, 5.001, "
        f"7, 12 and 22 "
        f"cost {at} in a period, of which {plain(zero.amount)} are a line of their own on the period's first day; the "
        f"first 5 "
        f"add {plain(use.amount)} to it."
    )


def paid_in_all_of_november(quantity: str) -> str:
    where = priced(f"{{id: p, {FLATS}}}")
    lines = where.lines(used("11-02", quantity), until=on("11-30"))
    return plain(total(line.amount for line in lines if line.key.time >= on("11-01 00:00")))


@example
def volume() -> str:
    price = "model: volume, tiers: [{up_to: 15, unit_price: 10}, {unit_price: 5}]"
    where = priced(f"{{id: p, {price}}}")
    first, second = where.lines(*usage(15, 1))
    return (
        f"10 each up to 15, 5 each above, for all of them: 15 cost {money(first.amount)}; one more makes it 16 x 5 = "
        f"{money(first.amount + second.amount)}, a line of {money(second.amount)}."
    )


@example
def packages() -> str:
    small = costs("model: package, size: 10, price: 15", 1, 8, 1)
    plain_, free = (paid_in_all(f"model: package, size: 10, price: 100{more}", 121) for more in ("", ", free: 10"))
    return (
        f"Packages of 10 at 15; uses of 1, 8 and 1 cost {small}. Packages of 10 at 100, and 121 used: {plain_}; with "
        f"10 free, "
        f"{free}."
    )


@example
def packages_of_an_hour() -> str:
    where = house("""
        meters: {door: {event: door.access, aggregate: duration, unit: hour,
                       start: {direction: in}, end: {direction: out}}}
        plans: {flex: {prices: {door: [{id: p, model: package, size: 1, price: "10.00"}]}}}
    """)
    visits = [door(f"11-{day:02} {at}", way) for day in range(2, 14) for way, at in (("in", "09:00"), ("out", "09:10"))]
    lines = where.lines(*visits)
    return (
        f"Packages of 1 h at 10.00, and {len(lines)} sessions of 10 minutes: "
        f"{money(total(line.amount for line in lines))}."
    )


@example
def flat() -> str:
    return (
        f"5.00 for each booking, whatever its length; bookings of 2, 1 and 3 hours: "
        f"{costs('model: flat, amount: 5', 2, 1, 3)}."
    )


def fees(terms: str, sums: Sequence[int]) -> list[Decimal]:
    where = priced(f"{{id: p, model: percentage, field: turnover, {terms}}}")
    events = [used(f"11-{day:02}", 1, turnover=turnover) for day, turnover in enumerate(sums, 2)]
    return [line.amount for line in where.lines(*events)]


@example
def percentage() -> str:
    terms = 'rate: "0.013", fixed: 2, free_events: 3, free_amount: 250'
    first, second = fees(terms, [50, 100, 250, 400]), fees(terms, [10, 20, 30, 100])
    limited = fees('rate: "0.0299", minimum: "1.75", maximum: 12', [10, 80, 10_000])
    return (
        f"1.3 % and 2.00 an event, of which 3 are free up to 250 in all: events of 50, 100, 250 and 400 cost "
        f"{figures(first)}, "
        f"{money(total(first))} together; events of 10, 20, 30 and 100 cost {figures(second)}. 2.99 %, at least 1.75 "
        f"and at most "
        f"12: events of 10, 80 and 10 000 cost {figures(limited)}."
    )


@example
def passed_through() -> str:
    return f"A line of a sale of 20.00 with `markup: 0.1`: {costs('model: pass_through, markup: 0.1', 20)}."


@example
def windows() -> str:
    where = house("""
        meters: {door: {event: door.access, aggregate: duration, unit: hour,
                       start: {direction: in}, end: {direction: out}}}
        plans: {flex: {prices: {door: [{id: evening, when: {hours: "18:00-06:00"}, model: per_unit, unit_price: "2.00"},
                                       {id: daytime, model: per_unit, unit_price: "4.00"}]}}}
    """)
    stays = [("17:30", "19:30"), ("18:00", "20:00")]
    events = [
        door(f"11-{day:02} {at}", way)
        for day, stay in enumerate(stays, 2)
        for way, at in zip(("in", "out"), stay, strict=True)
    ]
    return (
        f"2.00 an hour from 18:00 to 06:00, else 4.00: two hours from 17:30 and two from 18:00 cost "
        f"{amounts(where.lines(*events))}."
    )


@example
def fridays() -> str:
    where = priced(
        '{id: friday, when: {days: [fri], hours: "22:00-06:00"}, model: per_unit, unit_price: "1.00"}',
        '{id: other, model: per_unit, unit_price: "3.00"}',
    )
    friday, saturday = used("11-06 01:00", 1), used("11-07 01:00", 1)
    return (
        f'`days: [fri], hours: "22:00-06:00"` at 1.00, else 3.00: 01:00 on Friday and 01:00 on Saturday cost '
        f"{amounts(where.lines(friday, saturday))}."
    )


@example
def caps() -> str:
    tiers = "model: graduated, tiers: [{up_to: 10, unit_price: 1}, {unit_price: 0.5}], cap: {amount: 8, every: day}"
    days = [line.amount for line in priced(f"{{id: p, {tiers}}}").lines(*usage(12, 12))]
    period = [Decimal(25)] * 9
    capped = priced('{id: p, model: per_unit, unit_price: "25.00", cap: {amount: "200.00", every: period}}').lines(
        *usage(*[1] * 9)
    )
    return (
        f"1 each up to 10, then 0.50, at most 8 a day; 12 on each of two days: {figures(days)}, {money(total(days))} "
        f"together. "
        f"{len(period)} days at 25.00, at most 200.00 a period: {money(total(line.amount for line in capped))}, the "
        f"last day "
        f"{money(capped[-1].amount)}."
    )


@example
def minimum() -> str:
    where = house(
        terms(
            """
            meters: {use: {event: usage.reported, unit: unit}}
            plans: {flex: {prices: {use: [{id: p, model: per_unit, unit_price: 1, period_minimum: {amount: "10.00"}}]}}}
            """,
            sites=SITES.format(tax="vat20"),
        ),
        subscriptions=[held(since="02-04 00:00")],
        closed=["02-01 00:00"],
    )
    charges = bill(where, where.lines(used("02-10", 8), until=on("03-02")))
    (true_up,) = [charge for charge in charges if charge.line.kind == "minimum"]
    everything = total(charge.rounded + charge.tax_amount for charge in charges)
    return (
        f"At least 10.00 a period; a subscription from 4 February, 25 of 28 days, and usage of 8.00: when February is "
        f"closed, a line "
        f"of {money(true_up.rounded)}. With 20 % tax, February comes to {money(everything)}."
    )


@example
def discounted_minimum() -> str:
    where = house(
        """
        meters: {use: {event: usage.reported, unit: unit}}
        plans: {flex: {prices: {use: [{id: p, model: per_unit, unit_price: 1, period_minimum: {amount: "10.00"}}]}}}
        """,
        subscriptions=[held(discounts=(Discount(id="tenth", rate=d("0.10")),))],
        closed=["11-01 00:00"],
    )
    some, missing = where.lines(used("11-10", 8), until=on("12-02"))
    (enough,) = where.lines(used("11-10", 10), until=on("12-02"))
    return (
        f"At least 10.00 a period, and 10 % off: usage of 8.00 costs {money(some.amount)}, and {money(missing.amount)} "
        f"are missing; usage of 10.00 costs {money(enough.amount)}."
    )


@example
def unpriced() -> str:
    where = priced("{id: p, model: percentage, field: turnover, rate: 0.1}")
    (line,) = where.lines(used("11-02", 3))
    assert line.unpriced
    return (
        f"A percentage of `turnover`, and an event without that field: {plain(line.quantity)} units, booked at "
        f"{plain(line.amount)} and marked."
    )


@example
def a_new_price() -> str:
    def version(first: str, then: str, **more: Any) -> Catalog:
        return terms(
            f"""
            meters: {{use: {{event: usage.reported, unit: unit}}}}
            plans: {{flex: {{prices: {{use: [{{id: p, model: graduated,
                                         tiers: [{{up_to: 10, unit_price: {first}}}, {{unit_price: {then}}}]}}]}}}}}}
            """,
            **more,
        )

    where = house(version("1", "0.5"), version("2", "1", version=2, effective="11-10 00:00"))
    found = amounts(where.lines(used("11-02", 12), used("11-12", 12)))
    return (
        f"1.00 up to 10, then 0.50; from 10 November on 2.00 up to 10, then 1.00. 12 units before and 12 after cost "
        f"{found}."
    )


@example
def re_rating() -> str:
    text = """
        meters: {{use: {{event: usage.reported, unit: page}}}}
        plans: {{flex: {{prices: {{use: [{{id: p, model: per_unit, unit_price: "{price}"}}]}}}}}}
    """
    before, after = (
        terms(text.format(price="0.05")),
        terms(text.format(price="0.04"), version=2, effective="11-01 00:00"),
    )
    job = used("11-02", 100)
    was, now = house(before), house(before, after)
    charges = bill(was, was.lines(job))
    again = bill(now, now.lines(job), booked=charges, reason="wrong price")
    lines = " and ".join(f"{money(charge.rounded)} ({charge.role})" for charge in again)
    return (
        f"100 pages of 2 November are booked at 0.05, {money(charges[0].rounded)}. A version with 0.04 takes effect on "
        f"1 November, "
        f"applied in December: lines of {lines} are booked."
    )


@example
def tiny_lines() -> str:
    where = priced('{id: p, model: per_unit, unit_price: "0.004"}')
    three = bill(where, where.lines(*usage(1, 1, 1)))
    many = bill(where, where.lines(*(used(f"11-02 {n // 60:02}:{n % 60:02}", 1) for n in range(1000))))
    exact = total(charge.line.amount for charge in three)
    return (
        f"Three lines of 0.004 EUR are booked as {figures(charge.rounded for charge in three)}: together "
        f"{money(total(charge.rounded for charge in three))}, as is {plain(exact)} rounded. {len(many)} of them sum to "
        f"{money(total(charge.rounded for charge in many))}."
    )


@example
def tax() -> str:
    def booked(name: str, *quantities: str) -> list[tuple[Decimal, Decimal]]:
        where = priced("{id: p, model: per_unit, unit_price: 1}", sites=SITES.format(tax=name))
        return [(charge.rounded, charge.tax_amount) for charge in bill(where, where.lines(*usage(*quantities)))]

    lines = booked("vat19", "6.50", "1.00")
    taxes = [amount for _, amount in lines]
    ((gross, inside),) = booked("gross19", "11.90")
    return (
        f"At 19 %, lines of 6.50 and 1.00 bear {figures(taxes)}: {money(total(taxes))} in all, as on "
        f"{money(total(net for net, _ in lines))}. A line of {money(gross)} with the tax in it bears {money(inside)}."
    )
