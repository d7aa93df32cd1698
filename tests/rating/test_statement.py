"""A statement is its charges, summed: nothing is lost, nothing counted twice, whatever their order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.model.charge import Charge, LineTax
from meter.model.money import ZERO
from meter.model.period import Period
from meter.rating.corrections import reversed_line
from meter.rating.statement import Statement, StatementLine, charge_net
from tests.booked import MARCH, NOON, a_charge, a_fee, a_line
from tests.rating.summed import statement_of

FEBRUARY = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
VAT = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)
IN_PRICE = LineTax(name="vat7", rate=Decimal("0.07"), inclusive=True)


def charge(
    rounded: str, *, n: int = 0, tax: str = "0", part: str = "", role: Any = "original", **fields: Any
) -> Charge:
    line = a_line(n, **fields)
    line = with_(line, key=line.key._replace(part=part), amount=Decimal(rounded))
    return a_charge(line, rounded=Decimal(rounded), tax_amount=Decimal(tax), role=role)


def fee(rounded: str, n: int = 0) -> Charge:
    return a_fee(n, rounded=Decimal(rounded))


def only(statement: Statement, section: Any) -> StatementLine:
    [line] = statement.section(section)
    return line


def test_each_kind_has_its_section() -> None:
    statement = statement_of(
        [
            fee("995.00"),
            charge("0.50"),
            charge("1.00", n=1, kind="minimum"),
            charge("2.00", n=2, part="tip", meter="cafe", unit="EUR"),
            charge("-3.00", n=3, part="refund", kind="refund", meter="cafe", unit="EUR"),
            charge("0.10", n=4, kind="adjustment"),
            charge("0.20", n=5, period=FEBRUARY),
            charge("4.00", n=6, settlement="paid"),
        ]
    )
    assert [(line.section, str(line.rounded)) for line in statement.lines] == [
        ("fees", "995.00"),
        ("usage", "0.50"),
        ("minimums", "1.00"),
        ("tips", "2.00"),
        ("refunds", "-3.00"),
        ("adjustments", "0.20"),
        ("adjustments", "0.10"),
        ("till", "4.00"),
    ]
    assert [line.period for line in statement.section("adjustments")] == [FEBRUARY, MARCH]


def test_usage_is_summed_by_meter_and_what_was_taken_back_is_gone() -> None:
    taken_back = charge("25.00", n=9, meter="day-passes", unit="day")
    statement = statement_of(
        [
            charge("0.50", covered=Decimal(4), billable=Decimal(6)),
            charge("0.70", n=1, site="hamburg", member="bob", estimated=True),
            taken_back,
            replace(taken_back, line=reversed_line(taken_back.line), rounded=Decimal(-25), role="reversal"),
        ]
    )
    line = only(statement, "usage")
    assert line.meter == "print-pages"
    assert [line.quantity, line.covered, line.billable] == [20, 4, 16]
    assert (line.rounded, line.lines, line.estimated) == (Decimal("1.20"), 2, 1)
    assert (line.amount, line.time, line.plan, line.price) == (Decimal("1.20"), None, None, None)


def test_what_was_replaced_counts_once_and_as_what_it_is_now() -> None:
    guess = charge("5.00", estimated=True)
    back = replace(guess, line=reversed_line(guess.line), rounded=Decimal(-5), role="reversal")
    line = only(statement_of([guess, back, charge("4.00", role="replacement"), charge("1.00", n=1)]), "usage")
    assert (line.lines, line.estimated, line.rounded) == (2, 0, Decimal("5.00"))
    guesses = [charge("5.00", n=n, estimated=True) for n in range(3)]
    assert only(statement_of(guesses), "usage").estimated == 3


def test_usage_under_several_plans_and_prices_is_one_line() -> None:
    line = only(statement_of([charge("1.00"), charge("2.00", n=1, plan="other", price=None)]), "usage")
    assert (line.lines, line.rounded) == (2, Decimal("3.00"))


def test_fees_stand_each_for_itself() -> None:
    statement = statement_of([fee("-92.87", n=1), fee("199.00")])
    assert [(line.rounded, line.price) for line in statement.section("fees")] == [
        (Decimal("199.00"), "flex-10"),
        (Decimal("-92.87"), "flex-10"),
    ]


def test_fees_stand_in_the_order_of_their_times_and_then_of_their_names() -> None:
    def due(plan: str, n: int) -> Charge:
        found = fee("1.00", n)
        return replace(found, line=with_(found.line, plan=plan))

    statement = statement_of([due("c", 0), due("a", 1), due("b", 0)])
    assert [(line.plan, line.time) for line in statement.section("fees")] == [
        ("b", NOON),
        ("c", NOON),
        ("a", NOON + timedelta(seconds=1)),
    ]


def test_fees_that_are_alike_stand_each_for_itself_too() -> None:
    first = fee("1.00")
    second = replace(first, line=with_(first.line, key=first.line.key._replace(id="zzz")), rounded=Decimal(2))
    for order in ([first, second], [second, first]):
        assert [line.rounded for line in statement_of(order).section("fees")] == [1, 2]


def test_taxes_stand_by_currency_name_and_rate_and_none_that_comes_to_nothing() -> None:
    def tax(name: str, rate: str | None, *, inclusive: bool = False) -> LineTax:
        return LineTax(name=name, rate=None if rate is None else Decimal(rate), inclusive=inclusive)

    taxes = [
        tax("b", "0.07"),
        tax("a", "0.19"),
        tax("a", "0.07", inclusive=True),
        tax("a", "0.07"),
        tax("a", None),
        tax("a", "0"),
    ]
    booked = [taxed("1.00", "0.10", one, n=n) for n, one in enumerate(taxes)]
    booked.append(taxed("1.00", "0.10", tax("z", "0.19"), n=7, currency="CHF"))
    booked += [taxed("9.00", "1.71", tax("gone", "0.19"), n=8), taxed("-9.00", "-1.71", tax("gone", "0.19"), n=9)]
    booked += [taxed("9.00", "0", tax("free", "0"), n=10), taxed("0", "0.01", tax("odd", "0.19"), n=11)]
    expected = [
        ("CHF", "z", "0.19", False),
        ("EUR", "a", None, False),
        ("EUR", "a", "0", False),
        ("EUR", "a", "0.07", False),
        ("EUR", "a", "0.07", True),
        ("EUR", "a", "0.19", False),
        ("EUR", "b", "0.07", False),
        ("EUR", "free", "0", False),
        ("EUR", "odd", "0.19", False),
    ]
    for order in (booked, booked[::-1]):
        found = statement_of(order).taxes
        assert [(t.currency, t.name, None if t.rate is None else str(t.rate), t.inclusive) for t in found] == expected


def test_tips_are_a_part_of_what_is_due() -> None:
    statement = statement_of([charge("0.50"), charge("2.00", n=2, part="tip"), charge("1.00", n=3, part="tip")])
    assert (statement.totals_in("EUR").tips, statement.totals_in("EUR").net) == (Decimal("3.00"), Decimal("3.50"))


def test_a_till_that_recorded_no_total_owes_the_sum_of_its_figures() -> None:
    settled = with_(VAT, amount=Decimal("0.19"))
    first = taxed("1.00", "0.19", settled, settlement="paid", tip=Decimal("0.50"))
    second = charge("2.00", n=1, settlement="paid", tip=Decimal("0.25"))
    [till] = statement_of([first, second]).till_totals
    assert (till.net, till.tips, till.total) == (Decimal("3.00"), Decimal("0.75"), Decimal("3.94"))


def test_tax_in_the_price_is_not_put_on_top() -> None:
    statement = statement_of([taxed("10.70", "0.70", IN_PRICE)])
    assert only(statement, "usage").net == Decimal("10.00")
    [totals] = statement.totals
    assert (totals.net, totals.tax, totals.gross) == (Decimal("10.00"), Decimal("0.70"), Decimal("10.70"))
    [tax] = statement.taxes
    assert (tax.net, tax.amount, tax.inclusive) == (Decimal("10.00"), Decimal("0.70"), True)


def taxed(rounded: str, amount: str, tax: LineTax, **fields: Any) -> Charge:
    found = charge(rounded, tax=amount, **fields)
    return replace(found, line=with_(found.line, tax=tax))


def test_what_was_paid_is_apart_from_what_is_due() -> None:
    settled = with_(VAT, amount=Decimal("0.19"))
    paid = taxed("1.00", "0.19", settled, settlement="paid", tip=Decimal("0.50"), total=Decimal("1.70"), currency="CHF")
    statement = statement_of([taxed("2.00", "0.38", VAT, n=1), paid, charge("4.00", n=2, settlement="paid")])
    assert [(totals.currency, totals.gross) for totals in statement.totals] == [("EUR", Decimal("2.38"))]
    assert [(till.currency, till.net, till.tax, till.tips, till.total) for till in statement.till_totals] == [
        ("CHF", Decimal("1.00"), Decimal("0.19"), Decimal("0.50"), Decimal("1.70")),
        ("EUR", Decimal("4.00"), ZERO, ZERO, Decimal("4.00")),
    ]
    assert [tax.amount for tax in statement.taxes] == [Decimal("0.38")]
    assert [tax.amount for tax in statement.till_taxes] == [Decimal("0.19")]
    assert statement.totals_in("CHF").gross == ZERO


cents = st.decimals(min_value=-100_000, max_value=100_000, places=2)


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    """Any booked charge of March's invoice."""
    paid = draw(st.booleans())
    tax = draw(st.sampled_from([None, VAT, IN_PRICE, with_(VAT, rate=None)]))
    role = draw(st.sampled_from(["original", "reversal", "replacement"]))
    found = charge(
        str(draw(cents)),
        n=draw(st.integers(0, 3)),
        tax="0" if tax is None else str(draw(cents)),
        part=draw(st.sampled_from(["", "tip", "refund"])),
        role=role,
        meter=draw(st.sampled_from(["cafe", "print-pages"])),
        kind=draw(st.sampled_from(["usage", "fee", "minimum", "refund", "adjustment"])),
        period=draw(st.sampled_from([MARCH, FEBRUARY])),
        unit=draw(st.sampled_from(["EUR", "page"])),
        currency=draw(st.sampled_from(["EUR", "CHF"])),
        unpriced=draw(st.booleans()),
        plan=draw(st.sampled_from([None, "flex"])),
        price=draw(st.sampled_from([None, "mono"])),
        settlement="paid" if paid else "account",
        tip=draw(st.none() | cents) if paid else None,
        total=draw(st.none() | cents) if paid else None,
    )
    return replace(found, line=with_(found.line, tax=tax))


def on_account(booked: list[Charge], currency: str) -> list[Charge]:
    return [c for c in booked if c.line.settlement == "account" and c.line.currency == currency]


@given(booked=st.lists(charges(), max_size=12))
def test_to_the_cent_it_is_the_sum_of_what_was_booked(booked: list[Charge]) -> None:
    statement = statement_of(booked)
    for currency in ("EUR", "CHF"):
        own, totals = on_account(booked, currency), statement.totals_in(currency)
        on_top = [c.tax_amount for c in own if c.line.tax is None or not c.line.tax.inclusive]
        assert totals.gross == sum((c.rounded for c in own), ZERO) + sum(on_top, ZERO)
        assert totals.tax == sum((c.tax_amount for c in own), ZERO)
        assert totals.net == sum((charge_net(c) for c in own), ZERO)
        assert totals.gross == totals.net + totals.tax
        assert totals.tax == sum((t.amount for t in statement.taxes if t.currency == currency), ZERO)
        till = [c for c in booked if c.line.settlement == "paid" and c.line.currency == currency]
        paid = [t for t in statement.till_totals if t.currency == currency]
        assert sum((t.net for t in paid), ZERO) == sum((charge_net(c) for c in till), ZERO)
        assert sum((t.tax for t in paid), ZERO) == sum((c.tax_amount for c in till), ZERO)
        assert sum((t.tips for t in paid), ZERO) == sum((c.line.tip or ZERO for c in till), ZERO)
    for figure in ("quantity", "covered", "billable", "amount"):
        assert sum((getattr(line, figure) for line in statement.lines), ZERO) == sum(
            (getattr(c.line, figure) for c in booked), ZERO
        )
    assert sum((line.rounded for line in statement.lines), ZERO) == sum((c.rounded for c in booked), ZERO)


@given(booked=st.lists(charges(), max_size=8), data=st.data())
def test_the_order_does_not_matter(booked: list[Charge], data: st.DataObject) -> None:
    assert statement_of(data.draw(st.permutations(booked))) == statement_of(booked)
