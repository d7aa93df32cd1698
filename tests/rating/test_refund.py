from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meter.model.catalog import Meter
from meter.model.charge import Draw, Line, LineKey, LineTax
from meter.model.event import UsageEvent
from meter.model.money import minor_unit_places
from meter.model.period import Period
from meter.rating.fold import fold
from meter.rating.refund import Billed, Refunded, Sold, refund, sold, stands_behind
from meter.rating.state import AccountState
from tests.rating.world import Space, d, event, per_unit, plan, space, span, t
from tests.rating.world import given as credited

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
VAT = LineTax(name="vat", rate=Decimal("0.19"), inclusive=False)
COFFEE = {"sku": "c", "name": "Coffee", "quantity": 2, "amount": "5.00", "tax": "0.95"}
BOOK = {"sku": "b", "name": "Book", "quantity": 1, "amount": "10.00", "tax": "0.70"}


class Step(NamedTuple):
    instance: str
    unit: str
    amount: Decimal
    covered: Decimal


def covered(instance: str, amount: str, unit: str = "cup") -> Step:
    return Step(instance, unit, d(amount), d(amount))


def happened(id: str, kind: str, day: int, data: Mapping[str, Any]) -> UsageEvent:
    time = datetime(2026, 11, day, 12, tzinfo=UTC)
    return UsageEvent(source="berlin/till", id=id, type=kind, site="berlin", time=time, data=data)


def sale(*items: Mapping[str, Any], total: str = "0", currency: str = "EUR", **more: Any) -> UsageEvent:
    data = {"order": "o", "currency": currency, "lines": list(items), "total": total, "settlement": "paid", **more}
    return happened("s", "pos.sale", 10, data)


def back(amount: str | None = None, *, id: str = "r", day: int = 11, lines: Any = None, **more: Any) -> UsageEvent:
    sale = {"source": "berlin/till", "order": "o"}
    data: dict[str, Any] = {"refund": id, "sale": sale, "currency": "EUR", "status": "completed", **more}
    if amount is not None:
        data["amount"] = amount
    if lines is not None:
        data["lines"] = lines
    return happened(id, "pos.refund", day, data)


def billed(
    event: UsageEvent, amount: str, *, element: int = 0, part: str = "", meter: str = "cafe", **more: Any
) -> Line:
    terms: dict[str, Any] = {
        "quantity": d(amount),
        "billable": d(amount),
        "covered": d(0),
        "unit": "EUR",
        "plan": "flex",
        "price": "passed",
        "currency": "EUR",
        "dimensions": {},
        "tax": VAT,
    }
    return Line(
        key=LineKey(event.time, event.source, event.id, meter, element, part),
        account="acme",
        member="ada",
        site="berlin",
        meter=meter,
        kind="usage",
        event_type=event.type,
        events=(event.key,),
        period=NOVEMBER,
        amount=d(amount),
        **(terms | more),
    )


def paid(event: UsageEvent, currency: str = "EUR", tax: str | None = None) -> Sold:
    """The sale as the till recorded it: one line."""
    items = event.data["lines"]
    net = str(sum((d(item["amount"]) for item in items), d(0)))
    taxes = sum((d(item.get("tax", "0")) for item in items), d(0))
    line = billed(event, net, currency=currency, price=None, plan=None, tax=msgspec.structs.replace(VAT, amount=taxes))
    return sold(event, [Billed(line)], member=None, currency=currency)


def on_account(event: UsageEvent, *lines: Billed) -> Sold:
    event = replace(event, data={**event.data, "settlement": "account"})
    items = event.data["lines"]
    found = lines or [Billed(billed(event, item["amount"], element=n), (), item) for n, item in enumerate(items)]
    return sold(event, found, member="ada", currency="EUR")


def give(where: Sold, *refunds: UsageEvent, **more: Any) -> list[Any]:
    found: list[Refunded] = []
    for one in refunds:
        found.append(refund(one, where, account="acme", period=NOVEMBER, **more))
        where = found[-1].sold
    return found


def figures(found: Refunded) -> list[Any]:
    return [(line.amount, line.tax.amount if line.tax else None) for line in found.lines]


def notes(where: Sold, event: UsageEvent) -> Any:
    return give(where, event)[0].notes


class TestPaidAtTheTill:
    def test_refund_of_5_95_gross_of_a_sale_of_10_and_1_90_tax(self) -> None:
        (found,) = give(paid(sale({"quantity": 1, "amount": "10.00", "tax": "1.90"}, total="11.90")), back("5.95"))
        assert figures(found) == [(d("-5.00"), d("-0.95"))]
        (line,) = found.lines
        assert (line.total, line.tip, line.settlement, line.kind) == (d("-5.95"), None, "paid", "refund")

    @pytest.mark.parametrize("event", [back("241.66"), back(lines=[{"sku": "p", "quantity": 29, "amount": "193.33"}])])
    def test_refund_of_29_of_30_parts_of_200_at_25_percent(self, event: UsageEvent) -> None:
        parts = sale({"sku": "p", "quantity": 30, "amount": "200.00", "tax": "50.00"}, total="250.00")
        (found,) = give(paid(parts), event)
        assert figures(found) == [(d("-193.33"), d("-48.33"))]
        assert found.lines[0].total == d("-241.66")

    def test_parts_give_the_rest_with_the_last_of_them(self) -> None:
        where = paid(sale(COFFEE, BOOK, total="18.15", tip="1.50"))
        found = give(where, back("5.00", id="1"), back("6.15", id="2"), back("7.00", id="3"))
        lines = [line for one in found for line in one.lines]
        assert [line.total for line in lines] == [d("-5.00"), d("-6.15"), d("-7.00")]
        assert lines[0].tip == d("-0.41")
        assert sum(line.amount for line in lines) == -15
        assert sum(line.tax.amount for line in lines if line.tax and line.tax.amount) == d("-1.65")
        assert sum(line.tip for line in lines if line.tip) == d("-1.50")
        assert sum(line.quantity for line in lines) == -15
        for line in lines:
            assert line.tax is not None
            assert line.amount + (line.tax.amount or 0) + (line.tip or 0) == line.total

    def test_never_more_than_is_left(self) -> None:
        where = paid(sale(COFFEE, total="5.95"))
        first, second, third = give(where, back("4.00", id="1"), back("4.00", id="2"), back("4.00", id="3"))
        assert [line.total for one in (first, second, third) for line in one.lines] == [d("-4.00"), d("-1.95")]
        assert (first.notes, second.notes, third.notes) == (
            (),
            ("only 1.95 is left of the sale",),
            ("nothing is left to refund",),
        )

    def test_a_gap_of_the_till_goes_with_it(self) -> None:
        rounded_down = paid(sale({"quantity": 1, "amount": "10.00", "tax": "0.03"}, total="10.00"))
        half, rest = give(rounded_down, back("5.00", id="1"), back("5.00", id="2"))
        assert (figures(half), half.lines[0].total) == ([(d("-5.00"), d("-0.02"))], -5)
        assert (figures(rest), rest.lines[0].total) == ([(d("-5.00"), d("-0.01"))], -5)

    def test_without_a_total_the_sum_of_net_tax_and_tip_is_what_can_be_given_back(self) -> None:
        where = paid(sale(COFFEE, total="0", tip="1.00"))
        (found,) = give(where, back("100"))
        assert (found.lines[0].total, found.lines[0].tip) == (d("-6.95"), d("-1.00"))

    def test_has_the_sales_currency(self) -> None:
        yen = paid(sale({"quantity": 1, "amount": "100", "tax": "10"}, total="110", currency="JPY"), "JPY")
        (found,) = give(yen, back("55", currency="JPY"))
        assert (figures(found), found.lines[0].currency) == ([(-50, -5)], "JPY")

    def test_of_a_line_gives_its_tax_and_no_tip(self) -> None:
        where = paid(sale(COFFEE, BOOK, total="18.15", tip="1.50"))
        (found,) = give(where, back(lines=[{"sku": "b", "quantity": 1, "amount": "4.00"}]))
        assert figures(found) == [(d("-4.00"), d("-0.28"))]
        assert (found.lines[0].total, found.lines[0].tip) == (d("-4.28"), 0)

    def test_of_lines_and_of_the_rest_is_the_whole_sale(self) -> None:
        where = paid(sale(COFFEE, BOOK, total="18.15", tip="1.50"))
        parts = [
            back(id="1", lines=[{"sku": "c", "quantity": 1, "amount": "1.33"}]),
            back("3.33", id="2"),
            back(id="3", lines=[{"name": "Book", "quantity": 1, "amount": "99"}]),
            back("99", id="4"),
        ]
        lines = [line for one in give(where, *parts) for line in one.lines]
        assert sum(line.total or 0 for line in lines) == d("-18.15")
        assert sum(line.amount for line in lines) == -15

    def test_of_a_sale_without_a_tax_has_none(self) -> None:
        event = sale({"amount": "4.00"}, total="4.00")
        where = sold(event, [Billed(billed(event, "4.00", tax=None))], member=None, currency="EUR")
        assert [(line.amount, line.tax) for line in give(where, back("1.00"))[0].lines] == [(-1, None)]

    def test_of_all_lines_leaves_the_tip_and_without_one_is_the_whole_sale_its_gap_too(self) -> None:
        lines = [{"sku": "c", "amount": "5.00"}]
        tipped = paid(sale(COFFEE, total="6.95", tip="1.00"))
        (found,) = give(tipped, back(lines=lines))
        assert (found.lines[0].total, found.lines[0].tip, found.sold.left) == (d("-5.95"), 0, 1)
        (found,) = give(paid(sale(COFFEE, total="6.00")), back(lines=lines))
        assert (found.lines[0].total, found.sold.left) == (-6, 0)

    def test_of_lines_adds_up(self) -> None:
        where = paid(sale(COFFEE, BOOK, total="16.65"))
        parts = [back(id=str(n), lines=[{"sku": "c", "amount": amount}]) for n, amount in enumerate(("2.00", "1.00"))]
        assert [one.lines[0].total for one in give(where, *parts)] == [d("-2.38"), d("-1.19")]
        assert give(where, *parts)[1].sold.items[0].given == Fraction(3, 5)

    def test_of_a_sale_that_charged_nothing_but_its_gap(self) -> None:
        where = paid(sale({"amount": "0"}, total="9.00"))
        half, rest = give(where, back("4.00", id="1"), back("5.00", id="2"))
        assert [(one.lines[0].total, *figures(one)[0]) for one in (half, rest)] == [(-4, 0, 0), (-5, 0, 0)]

    def test_of_a_tax_as_high_as_the_price(self) -> None:
        (found,) = give(paid(sale({"amount": "2.00", "tax": "2.00"}, total="4.00")), back("2.00"))
        assert figures(found) == [(-1, -1)]


class TestOnAccount:
    def drawn(self) -> Sold:
        """20 cups at 1.00: 15 by credit, 5 charged."""
        item = {"sku": "cup", "quantity": 20, "amount": "20.00", "tax": "3.80"}
        event = sale(item, total="23.80")
        line = billed(event, "5.00", quantity=d(20), covered=d(15), billable=d(5), unit="cup")
        return on_account(event, Billed(line, [covered("pack", "15")], item))

    def test_sale_on_account_20_with_credit_15_and_money_5_refund_10(self) -> None:
        (found,) = give(self.drawn(), back("11.90"))
        (line,) = found.lines
        assert line.amount == -5
        assert line.draws == (Draw(grant="pack", unit="cup", amount=d(-5)),)
        assert found.returns == (("pack", d(5)),)
        assert [line.quantity, line.covered, line.billable] == [-10, -5, -5]
        assert (line.tax, line.settlement, line.kind, line.total, line.tip) == (VAT, "account", "refund", None, None)

    def test_money_first_and_then_draws_last_drawn_first(self) -> None:
        item = {"quantity": 10, "amount": "20.00"}
        event = sale(item, total="20.00")
        line = billed(event, "3.00", quantity=d(10), covered=d(6), billable=d(4), unit="cup")
        # The 4 that credit left cost 8.00, of which a grant in euros paid 5.00: a cup is worth 2.00.
        draws = [covered("old", "2"), covered("new", "4"), Step("gift", "EUR", d(5), d(5))]
        parts = [back(amount, id=amount) for amount in ("2.00", "2.00", "5.00", "9.00", "2.00")]
        steps = give(on_account(event, Billed(line, draws, item)), *parts)
        assert [(step.lines[0].amount, step.returns) for step in steps] == [
            (-2, ()),
            (-1, (("gift", 1),)),
            (0, (("gift", 4), ("new", d("0.5")))),
            (0, (("new", d("3.5")), ("old", 1))),
            (0, (("old", 1),)),
        ]

    def test_a_draw_is_worth_the_price_of_the_line_whatever_the_till_asked(self) -> None:
        item = {"quantity": 10, "amount": "30.00"}
        event = sale(item, total="30.00")
        line = billed(event, "3.00", quantity=d(10), covered=d(6), billable=d(4), unit="cup")
        draws = [covered("old", "2"), covered("new", "4"), Step("gift", "EUR", d(5), d(5))]
        parts = [back(amount, id=amount) for amount in ("3.00", "9.00", "18.00")]
        steps = give(on_account(event, Billed(line, draws, item)), *parts)
        assert [(step.lines[0].amount, step.returns) for step in steps] == [
            (-2, ()),
            (-1, (("gift", 5),)),
            (0, (("new", 4), ("old", 2))),
        ]
        assert [step.lines[0].covered for step in steps] == [0, 0, -6]

    def test_a_draw_is_worth_the_price_of_the_line_however_little_that_is(self) -> None:
        item = {"quantity": 6, "amount": "6.00"}
        event = sale(item, total="6.00")
        line = billed(event, "0.50", quantity=d(6), covered=d(2), billable=d(4), unit="cup")
        half, rest = give(
            on_account(event, Billed(line, [covered("pack", "2")], item)), back("3.00"), back("3.00", id="2")
        )
        assert (half.lines[0].amount, half.returns) == (d("-0.375"), ())
        assert (rest.lines[0].amount, rest.returns) == (d("-0.125"), (("pack", d(2)),))

    def test_credits_come_back_in_credits(self) -> None:
        item = {"quantity": 3, "amount": "9.00"}
        event = sale(item, total="9.00")
        line = billed(event, "0", quantity=d(3), covered=d(3), billable=d(0), unit="cup")
        where = on_account(event, Billed(line, [Step("pack", "credit", d("0.75"), d(3))], item))
        first, rest = give(where, back("3.00", id="1"), back("6.00", id="2"))
        assert (first.returns, rest.returns) == ((("pack", d("0.25")),), (("pack", d("0.5")),))
        assert [line.covered for line in first.lines + rest.lines] == [-1, -2]

    def test_each_line_gets_its_share_and_the_tip_too(self) -> None:
        event = sale(COFFEE, BOOK, total="18.15", tip="1.50")
        items = event.data["lines"]
        lines = [Billed(billed(event, item["amount"], element=n), (), item) for n, item in enumerate(items)]
        tip = Billed(billed(event, "1.50", part="tip", tax=None))
        found = give(on_account(event, *lines, tip), back("6.05", id="1"), back("12.10", id="2"))
        assert [(line.key.element, line.key.part) for line in found[0].lines] == [
            (0, "refund"),
            (1, "refund"),
            (0, "tip/refund"),
        ]
        assert [line.key.of_tip for line in found[0].lines] == [False, False, True]
        assert [line.amount for line in found[0].lines] == [d("-1.666666666667"), d("-3.333333333333"), d("-0.5")]
        assert [a.amount + b.amount for a, b in zip(found[0].lines, found[1].lines, strict=True)] == [
            -5,
            -10,
            d("-1.5"),
        ]

    def test_of_thirds_gives_a_third_of_the_tip_each(self) -> None:
        event = sale(COFFEE, BOOK, total="18.15", tip="1.50")
        tip = Billed(billed(event, "1.50", part="tip", tax=None))
        found = give(on_account(event, tip), *(back("6.05", id=str(n)) for n in range(3)))
        assert [line.amount for one in found for line in one.lines] == [d("-0.5")] * 3

    def test_of_what_is_unpriced_is_unpriced_too(self) -> None:
        item = {"quantity": 3, "amount": "9.00"}
        event = sale(item, total="9.00")
        line = billed(event, "0", quantity=d(3), covered=d(1), billable=d(2), unit="cup", unpriced=True)
        (found,) = give(on_account(event, Billed(line, [covered("pack", "1")], item)), back("9.00"))
        assert [(line.unpriced, line.covered) for line in found.lines] == [(True, -1)]

    def test_prices_that_fell_give_back_what_the_line_cost(self) -> None:
        event = sale(COFFEE, total="5.95")
        where = on_account(
            event, Billed(billed(event, "-70", quantity=d(1), billable=d(1)), (), event.data["lines"][0])
        )
        half, rest = give(where, back("2.975", id="1"), back("2.975", id="2"))
        assert [line.amount for line in half.lines + rest.lines] == [35, 35]
        assert [line.quantity for line in half.lines + rest.lines] == [d("-0.5"), d("-0.5")]

    def test_with_inclusive_tax_the_gross_amount_comes_back(self) -> None:
        event = sale(COFFEE, total="5.95")
        gross = billed(event, "5.95", tax=msgspec.structs.replace(VAT, inclusive=True))
        (found,) = give(on_account(event, Billed(gross, (), event.data["lines"][0])), back("2.38"))
        assert [(line.amount, line.tax) for line in found.lines] == [
            (d("-2.38"), msgspec.structs.replace(VAT, inclusive=True))
        ]

    def test_a_line_of_the_sale_as_a_whole_follows_the_net_amounts(self) -> None:
        event = sale(COFFEE, BOOK, {"quantity": 1, "amount": "-2.00", "name": "Voucher"}, total="14.65")
        visit = Billed(billed(event, "3.00", meter="visits", quantity=d(1), billable=d(1), unit="visit"))
        where = on_account(event, visit)
        (found,) = give(where, back(lines=[{"sku": "b", "quantity": 1, "amount": "10.00"}]))
        assert [line.amount for line in found.lines] == [-2]

    def test_credit_for_what_expired_goes_to_the_instance_that_the_fold_names(self) -> None:
        (found,) = give(self.drawn(), back("23.80"), instance_for=lambda name: f"{name}/returned/r")
        assert found.returns == (("pack/returned/r", 15),)
        assert found.lines[0].draws[0].grant == "pack/returned/r"

    def test_a_draw_gives_back_what_is_left_of_it(self) -> None:
        where = self.drawn()
        (line,) = where.lines
        where = where.with_line(line.with_draw(line.draws[0].returned(d(11), d(11))))
        half, rest = give(where, back("11.90", id="1"), back("11.90", id="2"))
        assert (half.returns, half.lines[0].amount) == ((("pack", 4),), -5)
        assert half.lines[0].covered == -4
        assert (rest.returns, rest.lines) == ((), ())
        assert Sold.from_json(json.loads(json.dumps(rest.sold.to_json()))) == rest.sold

    def test_what_gets_nothing_back_has_no_line(self) -> None:
        event = sale(COFFEE, BOOK, total="16.65")
        items = event.data["lines"]
        free = Billed(billed(event, "0", quantity=d(2), billable=d(2), unit="cup", meter="cups"), (), items[0])
        charged = Billed(billed(event, "10.00", element=1), (), items[1])
        (found,) = give(on_account(event, free, charged), back("16.65"))
        assert [line.meter for line in found.lines] == ["cafe"]


class TestARecord:
    """What is kept of a sale, and how much of it has come back."""

    def kept(self, without: str, *items: Mapping[str, Any], **more: Any) -> Sold:
        told = sale(*items, **more)
        data = {name: value for name, value in told.data.items() if name != without}
        return sold(replace(told, data=data), [], member=None, currency="CHF")

    def test_has_what_the_sale_says_and_what_stands_in_for_it(self) -> None:
        assert (self.kept("tip", COFFEE).currency, self.kept("currency", COFFEE).currency) == ("EUR", "CHF")
        assert (self.kept("tip", COFFEE).settlement, self.kept("settlement", COFFEE).settlement) == ("paid", "account")
        assert (self.kept("total", COFFEE).left, self.kept("total", COFFEE, tip="1").left) == (d("5.95"), d("6.95"))
        assert self.kept("lines", COFFEE, total="9").items == ()
        assert len(self.kept("tip", COFFEE, 7, "x").items) == 1  # type: ignore[arg-type]
        assert [item.sku for item in self.kept("tip", {"sku": True}, {"sku": 7}, {"sku": [7]}).items] == [
            None,
            "7",
            None,
        ]

    def test_of_free_things_counts_them_and_of_nothing_the_tip(self) -> None:
        free = {"sku": "f", "amount": "0"}, {"sku": "g", "amount": "0"}
        (found,) = give(self.kept("x", *free, total="4"), back(lines=[{"sku": "f", "amount": "0"}]))
        assert found.sold.share == Fraction(1, 2)
        (found,) = give(self.kept("x", total="4", tip="4"), back("1.00"))
        assert found.sold.share == Fraction(1, 4)

    def test_of_a_discount_that_comes_back_is_no_less(self) -> None:
        voucher = {"name": "Voucher", "amount": "-2.00"}
        (found,) = give(self.kept("x", COFFEE, voucher, total="3.95"), back(lines=[voucher]))
        assert ([item.given for item in found.sold.items], found.sold.share) == ([0, 1], 0)


class TestWhatCounts:
    where = paid(sale(COFFEE, BOOK, total="16.65"))

    @pytest.mark.parametrize("status", ["pending", "failed", None, 7])
    def test_only_a_completed_one(self, status: Any) -> None:
        (found,) = give(self.where, back("5", status=status))
        assert found == Refunded(lines=(), returns=(), sold=self.where)

    def test_only_one_in_the_sales_currency(self) -> None:
        (found,) = give(self.where, back("5", currency="USD"))
        assert (found.lines, found.sold) == ((), self.where)
        assert found.notes == ("the refund is in USD, its sale in EUR",)

    @pytest.mark.parametrize("amount", ["0", "-3", "x", [], True])
    def test_no_amount_that_is_not_above_0(self, amount: Any) -> None:
        assert notes(self.where, back(amount)) == ("amount is no number above 0",)

    def test_the_amount_decides_where_there_are_lines_too(self) -> None:
        (found,) = give(self.where, back("16.65", lines=[{"sku": "b", "quantity": 1, "amount": "10.00"}]))
        assert found.lines[0].total == d("-16.65")

    def test_lines_match_by_sku_and_else_by_name(self) -> None:
        by_name = {"sku": "unknown", "name": "Book", "quantity": 1, "amount": "10.00"}
        assert give(self.where, back(lines=[by_name]))[0].lines[0].amount == -10
        numbered = paid(sale(COFFEE | {"sku": 7}, BOOK | {"name": "Coffee"}, total="16.65"))
        (found,) = give(numbered, back(lines=[{"sku": "7", "name": "Coffee", "quantity": 2, "amount": "5.00"}]))
        assert [item.given for item in found.sold.items] == [1, 0]

    def test_a_line_that_matches_none_is_spread_over_all_and_listed(self) -> None:
        (found,) = give(self.where, back(lines=[{"sku": "z", "quantity": 1, "amount": "3.00"}]))
        assert found.notes == ("no line of the sale is 'z': spread over all of them",)
        assert figures(found) == [(-3, d("-0.33"))]
        (rest,) = give(found.sold, back("99", id="2"))
        assert figures(rest) == [(-12, d("-1.32"))]
        (again,) = give(found.sold, back(id="2", lines=[{"sku": "z", "amount": "3.00"}]))
        assert [item.given for item in again.sold.items] == [Fraction(2, 5)] * 2

    def test_equal_lines_are_given_back_one_after_the_other(self) -> None:
        twice = paid(sale(COFFEE, COFFEE, total="11.90"))
        (found,) = give(twice, back(lines=[{"sku": "c", "quantity": 3, "amount": "7.50"}]))
        assert [item.given for item in found.sold.items] == [1, 0.5]
        assert figures(found) == [(d("-7.50"), d("-1.43"))]

    def test_more_of_a_line_than_is_left_is_listed(self) -> None:
        (found,) = give(self.where, back(lines=[{"sku": "c", "quantity": 2, "amount": "8.00"}]))
        assert (found.lines[0].amount, found.notes) == (-5, ("more of 'c' than is left of it",))
        again = give(found.sold, back(id="2", lines=[{"sku": "c", "quantity": 2, "amount": "1.00"}]))[0]
        assert (again.lines, again.notes) == ((), ("more of 'c' than is left of it",))

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ([{"sku": "c"}, {"sku": "c", "amount": "x"}], ["lines.amount is missing or not a number"] * 2),
            ([{"sku": "c", "amount": "5.00"}], []),
            ([{"name": "Book", "amount": "99"}], ["more of 'Book' than is left of it"]),
            ([{"sku": "c", "amount": "-1"}], ["the amount of 'c' has another sign than the sale's"]),
            ([{"amount": "1.00"}], ["no line of the sale is '': spread over all of them"]),
            ([{"amount": "0"}], ["lines.amount is no number above 0"]),
        ],
    )
    def test_what_is_wrong_with_its_lines_is_listed(self, lines: Any, said: list[str]) -> None:
        assert list(notes(self.where, back(lines=lines))) == said

    def test_a_zero_of_what_was_sold_is_no_other_sign(self) -> None:
        (found,) = give(self.where, back(lines=[{"sku": "c", "amount": "0"}]))
        assert (found.notes, found.lines) == ((), ())

    def test_exactly_what_is_left_is_not_too_much(self) -> None:
        first, rest = give(self.where, back("16.00", id="1"), back("0.65", id="2"))
        assert (first.notes, rest.notes, rest.sold.left) == ((), (), 0)

    def test_nothing_is_spread_over_a_sale_that_has_come_back(self) -> None:
        whole, more = back("16.65", id="1"), back(id="2", lines=[{"sku": "z", "amount": "1.00"}])
        assert give(self.where, whole, more)[1].notes == ("nothing is left to refund",)
        most, little = back("16.00", id="1"), back(id="2", lines=[{"sku": "z", "amount": "0.10"}])
        assert len(give(self.where, most, little)[1].lines) == 1

    def test_lines_without_a_number_match_by_name_and_without_a_name_by_none(self) -> None:
        tea, nameless = {"name": "Tea", "amount": "3.00"}, {"amount": "2.00"}
        where = paid(sale(tea | {"name": "Milk"}, tea, nameless, total="8.00"))
        (found,) = give(where, back(lines=[{"name": "Tea", "amount": "3.00"}]))
        assert [item.given for item in found.sold.items] == [0, 1, 0]
        (found,) = give(where, back(lines=[{"amount": "4.00"}]))
        assert [item.given for item in found.sold.items] == [Fraction(1, 2)] * 3

    def test_a_part_of_equal_lines_is_of_the_first_that_has_something_left(self) -> None:
        twice = paid(sale(COFFEE, COFFEE, total="11.90"))
        parts = [back(id=str(n), lines=[{"sku": "c", "amount": "4.00"}]) for n in range(2)]
        first, second = give(twice, *parts)
        assert [item.given for item in first.sold.items] == [Fraction(4, 5), 0]
        assert [item.given for item in second.sold.items] == [1, Fraction(3, 5)]
        assert (first.notes, second.notes) == ((), ())

    def test_equal_free_lines_come_back_one_after_the_other(self) -> None:
        free = {"sku": "f", "quantity": 1, "amount": "0"}
        where = paid(sale(free, free, BOOK, total="10.70"))
        parts = [
            back(id=str(n), lines=[{"sku": "f", **more, "amount": "0"}]) for n, more in enumerate(({"quantity": 1}, {}))
        ]
        first, second = give(where, *parts)
        assert [[item.given for item in one.sold.items] for one in (first, second)] == [[1, 0, 0], [1, 1, 0]]

    def test_a_free_line_without_a_quantity_comes_back_whole(self) -> None:
        where = paid(sale({"sku": "f", "amount": "0"}, BOOK, total="10.70"))
        (found,) = give(where, back(lines=[{"sku": "f", "quantity": 1, "amount": "0"}]))
        assert [item.given for item in found.sold.items] == [1, 0]

    def test_shares_are_no_longer_than_40_digits_however_many_refunds_there_are(self) -> None:
        where = paid(sale(COFFEE | {"amount": "97.00"}, BOOK | {"amount": "89.00"}, total="188"))
        for n in range(30):
            lines = [{"sku": "cb"[n % 2], "amount": "0.01"}]
            where = give(where, back("0.13", id=f"a{n}"), back(id=f"b{n}", lines=lines))[-1].sold
        longest = max(item.given.denominator for item in where.items)
        assert 10**30 < longest <= 10**40
        assert give(where, back("999"))[0].sold.left == 0

    def test_a_free_line_comes_back_by_its_quantity(self) -> None:
        free = {"sku": "f", "quantity": 4, "amount": "0"}
        event = sale(free, BOOK, total="10.70")
        line = billed(event, "0", quantity=d(4), covered=d(4), billable=d(0), unit="cup")
        where = on_account(event, Billed(line, [covered("pack", "4")], event.data["lines"][0]))
        (found,) = give(where, back(lines=[{"sku": "f", "quantity": 1, "amount": "0"}]))
        assert found.returns == (("pack", 1),)

    @pytest.mark.parametrize(
        "lines", [[], {}, "x", 7, [7], [{}], [{"amount": "x"}], [{"sku": "c", "amount": "-5"}], [{"amount": "-1"}]]
    )
    def test_lines_that_say_nothing_give_nothing(self, lines: Any) -> None:
        (found,) = give(self.where, back(lines=lines))
        assert (found.lines, found.sold) == ((), self.where)


class TestItsPlace:
    def test_is_its_own_and_its_lines_name_both_events(self) -> None:
        where = paid(sale(COFFEE, total="5.95"))
        event = back("1")
        (line,) = give(where, event)[0].lines
        assert not stands_behind(event, where)
        assert line.key == LineKey(event.time, event.source, event.id, "cafe", 0, "refund")
        assert (line.event_type, line.events) == ("pos.refund", (event.key, where.key))

    def test_is_right_behind_its_sale_where_that_is_later(self) -> None:
        where = paid(sale(COFFEE, total="5.95"))
        event = back("1", id="r/1", day=9)
        (line,) = give(where, event)[0].lines
        assert stands_behind(event, where)
        assert line.key == LineKey(*where.position, "cafe", 0, "refund/berlin%2Ftill/r%2F1")
        assert (line.event_type, line.events) == ("pos.sale", (event.key, where.key))


CUPS = Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))


def cups(at: str, quantity: int, *, id: str = "s") -> UsageEvent:
    lines = [{"quantity": quantity, "amount": f"{quantity}.00"}]
    data = {"order": id, "currency": "EUR", "lines": lines, "total": f"{quantity}.00", "settlement": "account"}
    return event(id, "pos.sale", at, data)


def cups_back(at: str, amount: str, *, id: str = "r", of: str = "s", **more: Any) -> UsageEvent:
    sale = {"source": "berlin/device", "order": of}
    data = {"refund": id, "sale": sale, "currency": "EUR", "status": "completed", "amount": amount}
    return event(id, "pos.refund", at, data | more, by=None)


class TestInTheFold:
    def bar(self, pack: str = "15", end: str | None = None) -> Space:
        credit = credited("pack", CUPS, pack, span=span(end=end))
        return space(plan(cups=per_unit("1")), grants=[credit], terms={"meters": {"cups": CUPS}})

    def test_sale_on_account_20_with_credit_15_and_money_5_refund_10(self) -> None:
        folded = self.bar().fold(cups("11-02", 20), cups_back("11-03", "10.00"))
        assert [line.kind for line in folded.lines] == ["usage", "refund"]
        assert [(line.amount, line.covered) for line in folded.lines] == [(d(5), d(15)), (d(-5), d(-5))]
        assert folded.state.used == {"pack": 10}
        (q,) = folded.state.tallies.values()
        assert q.quantity == 5

    def test_it_belongs_to_the_period_of_its_place(self) -> None:
        later = self.bar().lines(cups("11-02", 20), cups_back("12-03", "10.00"))[-1]
        assert later.period.start == t("2026-11-30T23:00:00Z")
        early = self.bar().lines(cups("11-02", 20), cups_back("10-03", "10.00"))[-1]
        assert (early.kind, early.period.start) == ("refund", t("2026-10-31T23:00:00Z"))

    def test_credit_of_what_has_expired_lasts_until_the_end_of_the_refunds_period(self) -> None:
        where = self.bar(end="11-10")
        events = [
            cups("11-02", 20),
            cups_back("12-03", "20.00"),
            cups("12-04", 5, id="t"),
            cups("2027-01-04T12:00:00Z", 5, id="u"),
        ]
        folded = where.fold(*events)
        returned = "pack/returned/berlin%2Fdevice/r"
        assert [draw.grant for line in folded.lines for draw in line.draws] == ["pack", returned, returned]
        assert [line.covered for line in folded.lines] == [15, -15, 5, 0]

    def test_what_a_refund_gave_back_no_negative_sale_gives_back_again(self) -> None:
        folded = self.bar().fold(cups("11-02", 20), cups_back("11-03", "20.00"), cups("11-04", -10, id="t"))
        assert folded.state.used.get("pack", 0) == 0
        folded = self.bar().fold(cups("11-02", 20), cups("11-03", -20, id="t"), cups_back("11-04", "20.00"))
        assert folded.state.used.get("pack", 0) == 0

    def test_a_fold_goes_on_from_any_place_to_the_same_lines(self) -> None:
        where = self.bar(end="11-10")
        events = where.placed(
            [
                cups_back("11-01", "3.00", id="e1"),
                cups_back("11-01 13:00", "4.00", id="e2"),
                cups("11-02", 20),
                cups_back("11-03", "5.00", id="r1"),
                cups("11-04", 3, id="t"),
                cups_back("11-12", "1.00", id="r2"),
                cups_back("12-12", "99.00", id="r3"),
                cups("12-13", 3, id="u"),
            ]
        )
        whole = fold(where.facts, AccountState(), events, stride=1)
        assert sum(line.amount for line in whole.lines if line.kind == "refund") == -5
        for n, rung in enumerate(whole.rungs, 1):
            state = AccountState.from_json(json.loads(json.dumps(rung.to_json())))
            after = events[n - 1].event.position
            rest = tuple(line for line in whole.lines if line.key[:3] > after)
            assert fold(where.facts, state, events[n:]).lines == rest


def through_json(found: Sold) -> Sold:
    return Sold.from_json(json.loads(json.dumps(found.to_json())))


def test_a_record_survives_its_json() -> None:
    event = sale(COFFEE, BOOK, {"amount": "0.5", "tax": "?"}, total="17.15", tip="1", currency="EUR")
    dimensions = {"sku": "c", "size": Decimal("0.10"), "hot": True, "at": [1, {"b": None}]}
    line = billed(event, "5.00", dimensions=dimensions, tax=msgspec.structs.replace(VAT, rate=None, amount=d("0.95")))
    record = on_account(event, Billed(line, [covered("a/b", "1.5")], event.data["lines"][0]), Billed(line))
    for found in (record, give(record, back("0.07"), back(lines=[BOOK]))[1].sold):
        assert through_json(found) == found


CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD"])


def _split_at(total: int, cuts: Sequence[int]) -> list[int]:
    marks = [0, *sorted({cut % total for cut in cuts} - {0}), total]
    return [after - before for before, after in pairwise(marks)]


@st.composite
def baskets(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    currency = draw(CURRENCIES)
    cents = Decimal(1).scaleb(-minor_unit_places(currency))
    money: Callable[..., Any] = lambda least, most: st.integers(least, most).map(lambda n: str(n * cents))  # noqa: E731
    items = [
        {"sku": str(n), "quantity": 1, "amount": draw(money(1, 3000)), "tax": draw(money(0, 600))}
        for n in range(draw(st.integers(1, 4)))
    ]
    tip = draw(money(0, 500))
    total = sum((d(item["amount"]) + d(item["tax"]) for item in items), d(tip))
    gap = draw(st.integers(-3, 3)) * cents
    return currency, items, {"tip": tip, "total": str(total + gap if total + gap > 0 else total)}


@given(basket=baskets(), cuts=st.lists(st.integers(1, 10**6), max_size=6), everything=st.booleans())
@example(
    basket=("EUR", [{"amount": "1.00", "tax": "1.00"}], {"tip": "1.00", "total": "3.00"}), cuts=[1], everything=True
)
def test_any_partition_gives_back_what_one_refund_of_its_sum_does(
    basket: tuple[str, list[dict[str, Any]], dict[str, Any]], cuts: list[int], *, everything: bool
) -> None:
    currency, items, rest = basket
    event = sale(*items, currency=currency, **rest)
    till = paid(event, currency)
    cents = Decimal(1).scaleb(-minor_unit_places(currency))
    amounts = [n * cents for n in _split_at(int(till.total / cents), cuts)]
    amounts = amounts if everything else amounts[:-1]
    parts = [back(str(amount), id=str(n), currency=currency) for n, amount in enumerate(amounts)]
    lines = [line for one in give(till, *parts) for line in one.lines]
    for line in lines:
        assert line.tax is not None
        tax, tip, total = line.tax.amount or d(0), line.tip or d(0), line.total or d(0)
        assert total < 0
        assert max(tax, tip) <= 0
        gap = total - line.amount - tax - tip
        assert abs(gap) <= abs(till.total - till.net - till.tax - till.tip) + cents
    assert sum((line.total or d(0) for line in lines), d(0)) == -sum(amounts, d(0))
    if everything:
        assert sum((line.amount for line in lines), d(0)) == -till.net
        assert sum((line.tax.amount or d(0) for line in lines if line.tax), d(0)) == -till.tax
        assert sum((line.tip or d(0) for line in lines), d(0)) == -till.tip
    elif amounts:
        (whole,) = give(till, back(str(sum(amounts)), currency=currency))
        assert sum((line.amount for line in lines), d(0)) == whole.lines[0].amount
        assert sum((line.quantity for line in lines), d(0)) == whole.lines[0].quantity
        assert whole.sold == give(till, *parts)[-1].sold


REFUNDS = st.one_of(
    st.integers(1, 4000).map(lambda n: {"amount": str(n)}),
    st.lists(
        st.fixed_dictionaries(
            {"sku": st.sampled_from("01239"), "quantity": st.just(1), "amount": st.integers(1, 900).map(str)}
        ),
        min_size=1,
        max_size=3,
    ).map(lambda lines: {"lines": lines}),
)


@given(
    basket=baskets(),
    refunds=st.lists(REFUNDS, max_size=6),
    credit=st.lists(st.tuples(st.sampled_from(["cup", "credit", "EUR"]), st.integers(1, 50)), max_size=4),
    charged=st.integers(-5, 90),
)
def test_whatever_is_refunded_nothing_exceeds_what_was_billed_and_all_of_it_comes_back(
    basket: tuple[str, list[dict[str, Any]], dict[str, Any]],
    refunds: list[dict[str, Any]],
    credit: list[tuple[str, int]],
    charged: int,
) -> None:
    currency, items, rest = basket
    event = sale(*items, currency=currency, **rest)
    draws = [Step(f"g{n}", unit, d(amount), d(amount)) for n, (unit, amount) in enumerate(credit)]
    taken = sum((draw.amount for draw in draws if draw.unit != "EUR"), d(0))
    line = billed(event, str(charged), quantity=taken + 3, covered=taken, billable=d(3), unit="cup", currency=currency)
    item = event.data["lines"][0]
    tip = billed(event, rest["tip"], part="tip", tax=None, currency=currency)
    where = on_account(event, Billed(line, draws, item), Billed(tip))
    parts = [back(id=str(n), currency=currency, **one) for n, one in enumerate(refunds)]
    steps = give(where, *parts)
    state = steps[-1].sold if steps else where
    given_back: dict[str, Decimal] = {}
    for step in steps:
        assert through_json(step.sold) == step.sold
        for name, amount in step.returns:
            assert amount > 0
            given_back[name] = given_back.get(name, d(0)) + amount
        for one in step.lines:
            assert one.amount * charged <= 0 or one.key.of_tip
            assert one.quantity <= 0
    for draw in draws:
        assert given_back.get(draw.instance, d(0)) <= draw.amount
    # A refund of all that may be left, line by line and then the rest, gives back all of it.
    all_lines = [{"sku": one["sku"], "quantity": 1, "amount": "9999"} for one in items]
    steps += give(state, back(id="y", currency=currency, lines=all_lines))
    steps += give(steps[-1].sold, back("999999", id="z", currency=currency))
    booked = [one for step in steps for one in step.lines if not one.key.of_tip]
    assert sum((one.amount for one in booked), d(0)) == -charged
    if charged or draws:
        assert sum((one.quantity for one in booked), d(0)) == -line.quantity
    for draw in draws:
        returned = sum((amount for step in steps for name, amount in step.returns if name == draw.instance), d(0))
        assert returned == draw.amount
    tips = [one for step in steps for one in step.lines if one.key.of_tip]
    assert sum((one.amount for one in tips), d(0)) >= -d(rest["tip"])
