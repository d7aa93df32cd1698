"""Examples of section 8: sales at the till and on account, and what refunds give back."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from meter.model.directory import GivenGrant
from meter.model.event import UsageEvent
from tests.rating.shown.words import (
    amounts,
    bill,
    by_meter,
    example,
    house,
    left,
    money,
    on,
)
from tests.rating.world import d, event

CAFE = """
    meters: {cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}}
    plans: {flex: {prices: {cafe: [{id: cafe, model: pass_through}]}}}
"""


def item(amount: str, tax: str | None = None, **more: Any) -> Mapping[str, Any]:
    return {"quantity": 1, "amount": amount, **({} if tax is None else {"tax": tax}), **more}


def sale(settlement: str, *lines: Mapping[str, Any], total: str, at: str = "11-02", **more: Any) -> UsageEvent:
    data = {"order": "o", "currency": "EUR", "lines": lines, "total": total, "settlement": settlement, **more}
    return event("sale", "pos.sale", on(at), data)


def back(amount: str, *, at: str = "11-10", id: str = "refund") -> UsageEvent:
    order = {"source": "berlin/device", "order": "o"}
    data = {"refund": id, "sale": order, "currency": "EUR", "amount": amount, "status": "completed"}
    return event(id, "pos.refund", on(at), data)


@example
def coffee_and_cake() -> str:
    where = house(CAFE)
    lines, tip = (item("3.50"), item("4.00")), "0.50"
    on_account = where.lines(sale("account", *lines, total="8.00", tip=tip))
    (paid,) = where.lines(sale("paid", item("3.50", "1.43"), item("4.00"), total="9.43", tip=tip))
    tax = paid.tax.amount if paid.tax is not None and paid.tax.amount is not None else d(0)
    return (
        f"A coffee of 3.50 and a cake of 4.00 on account with a tip of 0.50, passed through: lines of "
        f"{amounts(on_account)}. The "
        f"same, paid with 1.43 tax: one line of {money(paid.amount)} beside {money(tax)} tax and "
        f"{money(paid.tip or d(0))} tip."
    )


@example
def part_of_a_paid_sale() -> str:
    where = house(CAFE)
    lines = where.lines(sale("paid", item("10.00", "1.90"), total="11.90"), back("5.95"))
    _, refund = bill(where, lines)
    return f"5.95 of a sale of 10.00 and 1.90 tax, paid: {money(refund.rounded)}, and {money(refund.tax_amount)} tax."


@example
def many_parts() -> str:
    where = house(CAFE)
    parts = {"sku": "cup", "quantity": 30}
    sold = sale("paid", item("200.00", "50.00", **parts), total="250.00")
    first, last = returned("29", ["193.33"]), returned("last", ["6.67"], at="11-11")

    def given(*refunds: UsageEvent) -> str:
        charge = bill(where, where.lines(sold, *refunds))[-1]
        return f"{money(-charge.rounded)} and {money(-charge.tax_amount)}"

    return (
        f"30 cups for 200.00 and 50.00 tax, paid; 29 are given back, 193.33 net: lines of {given(first)} tax. The last "
        f"one: "
        f"{given(first, last)}."
    )


def returned(id: str, nets: list[str], at: str = "11-10") -> UsageEvent:
    data = {
        **back("0").data,
        "refund": id,
        "lines": [{"sku": "cup", "quantity": 1, "amount": net} for net in nets],
        "amount": None,
    }
    return event(id, "pos.refund", on(at), data)


@example
def money_first() -> str:
    where = house(
        """
        meters: {cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}}
        plans: {flex: {prices: {cafe: [{id: cafe, model: pass_through}]}}}
        """,
        grants=[GivenGrant(id="goodwill", account="acme", unit="EUR", amount=d(15))],
    )
    sold, refund = sale("account", item("20.00"), total="20.00"), back("10.00")
    first, second = by_meter(where.lines(sold, refund), "cafe")
    kept = left(where, "11-30", sold, refund)["goodwill"].remaining
    return (
        f"A sale on account of 20.00, of which a grant paid 15.00 and the account {money(first.amount)}. A refund of "
        f"10.00 gives "
        f"back {money(-second.amount)} in money and {money(-second.draws[0].amount)} to the grant, which has "
        f"{money(kept)} again."
    )


@example
def a_correction_and_a_refund() -> str:
    pot = GivenGrant(id="bar", account="acme", unit="EUR", amount=d("30.00"))
    corrected = event(
        "less", "pos.sale", on("11-03"), {**sale("account", item("-8.00"), total="-8.00").data, "order": "o2"}
    )
    first, less, refund = house(CAFE, grants=[pot]).lines(
        sale("account", item("20.00"), total="20.00"), corrected, back("20.00")
    )
    drawn = [line.draws[0].amount for line in (first, less, refund)]
    return (
        f"30.00 for the bar pay a sale of {money(drawn[0])}. Another sale corrects it by -8.00, which gives "
        f"{money(-drawn[1])} back; a refund of all of the first then gives back {money(-drawn[2])}."
    )


@example
def never_more() -> str:
    where = house(CAFE)
    lines = where.lines(
        sale("account", item("20.00"), total="20.00"), back("15.00"), back("15.00", at="11-11", id="again")
    )
    return f"Two refunds of 15.00 of a sale of 20.00 on account: lines of {amounts(lines)}."


@example
def before_its_sale() -> str:
    where = house(CAFE)
    sold, refund = sale("account", item("20.00"), total="20.00", at="11-10"), back("20.00", at="11-09")
    lines = where.lines(sold, refund)
    alone = where.lines(refund)
    days = {f"{line.key.time.astimezone(on('11-01').tzinfo).day} November" for line in lines}
    return (
        f"A refund of 9 November, whose sale the till dates 10 November: {len(alone)} lines until the sale is known, "
        f"then lines of "
        f"{amounts(lines)}, both on {days.pop()}."
    )


@example
def returned_too_late() -> str:
    where = house("""
        meters: {cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}}
        plans: {flex: {prices: {cafe: [{id: cafe, model: pass_through}]}, grants: [{id: bar, unit: EUR, amount: 30}]}}
    """)
    sold, refund = sale("account", item("20.00"), total="20.00"), back("20.00", at="12-05")
    lines = [line for line in where.lines(sold, refund) if line.kind == "refund"]
    coffee = event("next", "pos.sale", on("12-06"), {**sold.data, "order": "p"})
    state = where.fold(sold, refund, coffee).state
    ((_, returned),) = state.returned.items()
    zone = on("11-01").tzinfo
    return (
        f"30.00 a month for the bar pay a sale of 20.00 in November, which is given back on 5 December: the grant of "
        f"November is "
        f"over, so {money(-lines[0].draws[0].amount)} become credit of their own until "
        f"{returned.expires.astimezone(zone).day} "
        f"{returned.expires.astimezone(zone):%B}."
    )


@example
def a_share() -> str:
    entry = 'revenue_share: [{match: {meter: cafe}, party: landlord, share: "0.12"}]\n'
    where = house(dedent(CAFE) + entry)
    lines = where.lines(sale("paid", item("100.00", "19.00"), total="119.00"), back("29.75"))
    sold, refund = bill(where, lines)
    (given,), (taken,) = sold.shared, refund.shared
    return (
        f"12 % of the bar belong to the landlord. A sale of 100.00 and 19.00 tax: {money(given.amount)} of it. "
        f"29.75 are refunded, {money(-refund.rounded)} of them net: {money(taken.amount)}."
    )
