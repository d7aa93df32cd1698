from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.model.catalog import Meter, Site
from meter.model.charge import LineTax
from meter.model.directory import Claim
from meter.model.event import UsageEvent
from tests.rating.world import (
    CAFE,
    DAYS,
    METERS,
    Ledger,
    Space,
    d,
    event,
    given,
    passed,
    per_unit,
    plan,
    space,
    subscription,
    taxed,
)

COFFEE = {"sku": "c", "quantity": 2, "amount": "5.00", "tax": "0.95", "tax_name": "vat"}
BOOK = {"sku": "b", "quantity": 1, "amount": "10.00", "tax": "0.70", "tax_name": "low"}
TAXES = taxed("0.19") | taxed("0.07", name="low")
SITES = {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", tax="vat", walk_in="walk-in")}


def sale(*lines: dict[str, Any], settlement: str = "paid", by: str | None = "ada", **more: Any) -> UsageEvent:
    data = {"order": "o", "currency": "EUR", "lines": list(lines), "total": "0", "settlement": settlement, **more}
    return event("s", "pos.sale", "11-02", data, by=by)


def shop(*extra: Meter, **more: Any) -> Space:
    meters = {meter.id: meter for meter in (*METERS, *extra)}
    return space(plan(cafe=passed()), terms={"meters": meters, "taxes": TAXES, "sites": SITES}, **more)


def rated(where: Space, *events: UsageEvent) -> tuple[Any, ...]:
    return where.lines(*events)


class TestPaidAtTheTill:
    def test_is_booked_as_the_till_recorded_it(self) -> None:
        (line,) = rated(shop(), sale(COFFEE, BOOK, tip="1.50", total="18.15"))
        assert (line.settlement, line.meter, line.unit, line.kind) == ("paid", "cafe", "EUR", "usage")
        assert (line.plan, line.price, line.draws, line.unpriced) == (None, None, (), False)
        assert [line.quantity, line.amount, line.tip, line.total] == [15, 15, d("1.50"), d("18.15")]
        assert line.tax == LineTax(name="low, vat", rate=None, inclusive=False, amount=d("1.65"))

    def test_says_its_quantity_in_the_unit_of_its_meter(self) -> None:
        hours = Meter(id="booth", event="pos.sale", aggregate="sum", value=("lines", "quantity"), unit="hour")
        (line,) = rated(shop(hours), sale({"quantity": "1.5", "amount": "6"}))
        assert (line.meter, line.quantity, line.billable, line.unit) == ("booth", d("1.5"), d("1.5"), "hour")
        (line,) = rated(shop(hours), sale({"quantity": "0.3333333333333333", "amount": "6"}))
        assert line.quantity == d("0.333333333333")

    def test_keeps_the_rate_where_there_is_one_tax(self) -> None:
        (line,) = rated(shop(), sale(COFFEE))
        assert line.tax == LineTax(name="vat", rate=d("0.19"), inclusive=False, amount=d("0.95"))
        assert shop().lines(sale({"quantity": 1, "amount": "3"}))[0].tax is None
        (line,) = rated(shop(), sale({"quantity": 1, "amount": "3", "tax": "0.5"}))
        assert line.tax == LineTax(name="sale", rate=None, inclusive=False, amount=d("0.5"))

    def test_has_the_sales_currency_whatever_the_account_pays_in(self) -> None:
        (line,) = rated(shop(), sale(COFFEE, currency="USD"))
        assert (line.currency, line.unpriced, line.amount) == ("USD", False, 5)

    @pytest.mark.parametrize("named", [None, 978])
    def test_has_the_accounts_currency_where_the_sale_names_none(self, named: Any) -> None:
        (line,) = rated(shop(), sale(COFFEE, currency=named))
        assert (line.currency, line.amount) == ("EUR", 5)
        _, tip = rated(shop(), sale(COFFEE, currency=named, settlement="account", tip="1"))
        assert (tip.unit, tip.unpriced) == ("EUR", False)

    @pytest.mark.parametrize(("lines", "amount"), [(7, 0), ("coffee", 0), (None, 0), ([7, COFFEE, "x"], 5)])
    def test_counts_what_of_its_lines_is_one(self, lines: Any, amount: int) -> None:
        told = sale(total="5")
        (line,) = rated(space(plan(), terms={"meters": {}}), replace(told, data={**told.data, "lines": lines}))
        assert (line.meter, line.amount) == ("pos", amount)

    def test_draws_nothing_and_does_not_count_to_q(self) -> None:
        where = shop(replace(DAYS, id="visits", event="pos.sale", where=()), grants=[given("gift", CAFE, "100")])
        state = where.fold(sale(COFFEE)).state
        assert (state.tallies, state.used, state.drawn, state.memory.days) == ({}, {}, {}, {})

    def test_is_booked_without_a_plan_and_whatever_the_plan_lists(self) -> None:
        for where in (space(plan()), space(plan(), subscriptions=[])):
            (line,) = rated(where, sale(COFFEE))
            assert (line.amount, line.unpriced) == (5, False)

    def test_stands_under_the_first_meter_by_name_that_counts_it(self) -> None:
        cups = Meter(id="a-cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))
        never = replace(cups, id="a-a", value=("lines", "nothing"))
        (line,) = rated(shop(cups, never), sale(COFFEE, BOOK))
        assert (line.meter, line.unit, line.quantity, line.amount) == ("a-cups", "cup", 3, 15)

    def test_else_under_pos_with_quantity_1(self) -> None:
        (line,) = rated(space(plan(), terms={"meters": {}}), sale(COFFEE))
        assert (line.meter, line.unit, line.quantity, line.amount) == ("pos", "sale", 1, 5)
        (free,) = rated(shop(), sale({"quantity": 1, "amount": "0"}, tip="2"))
        assert (free.meter, free.amount, free.tip) == ("pos", 0, 2)

    def test_keeps_the_dimensions_on_which_its_lines_agree(self) -> None:
        meter = replace(CAFE, group_by=(("sku",), ("till",)))
        where = space(plan(), terms={"meters": {"cafe": meter}})
        assert where.lines(sale(COFFEE, BOOK, till="bar"))[0].dimensions == {"till": "bar"}
        assert where.lines(sale(COFFEE, COFFEE))[0].dimensions == {"sku": "c"}
        assert where.lines(sale(COFFEE, COFFEE, BOOK))[0].dimensions == {}
        assert where.lines(sale(COFFEE, {"quantity": 1, "amount": "1.00"}))[0].dimensions == {}
        free = {"sku": "f", "quantity": 1, "amount": "0"}
        assert where.lines(sale(COFFEE, free))[0].dimensions == {"sku": "c"}

    def test_of_an_unknown_guest_is_the_walk_in_accounts_until_the_identity_is_claimed(self) -> None:
        unknown = sale(COFFEE, by="card:9")
        guests, acme = shop(account="walk-in"), shop()
        (line,) = rated(guests, unknown)
        assert (line.account, line.member, line.amount) == ("walk-in", None, 5)
        assert acme.lines(unknown) == ()
        claims = [Claim(identity="card:9", member="ada")]
        ledger = Ledger.empty()
        ledger.make_good([line])
        (gone,) = ledger.make_good(shop(account="walk-in", claims=claims).lines(unknown), reason="claimed")
        assert (gone.role, gone.reason) == ("reversal", "claimed")
        assert [gone.line.amount, gone.tax_amount] == [-5, d("-0.95")]
        (moved,) = rated(shop(claims=claims), unknown)
        assert (moved.account, moved.member, moved.amount) == ("acme", "ada", 5)

    def test_lists_a_line_that_it_cannot_read(self) -> None:
        folded = shop().fold(sale(COFFEE, {"quantity": 1, "amount": "?"}))
        assert folded.lines[0].amount == 5
        assert [(unread.element, unread.reason) for unread in folded.unread] == [
            (1, "lines.amount is missing or not a number")
        ]


class TestOnAccount:
    def lines(self, *items: dict[str, Any], **more: Any) -> tuple[Any, ...]:
        return shop().lines(sale(*items, settlement="account", **more))

    def test_is_priced_like_any_usage_line_by_line(self) -> None:
        found = self.lines(COFFEE, BOOK)
        assert [(line.key.element, line.amount, line.price, line.settlement) for line in found] == [
            (0, 5, "passed", "account"),
            (1, 10, "passed", "account"),
        ]

    def test_its_lines_bring_their_own_tax(self) -> None:
        unknown_name = {"amount": "8", "tax": "1", "tax_name": "state"}
        nameless = {"amount": "3.00", "tax": "0.20", "tax_name": ["vat"]}
        untaxed = {"amount": "3.00", "tax": "0", "tax_name": "none"}
        silent = {"amount": "3.00"}
        found = self.lines(BOOK, unknown_name, nameless, untaxed, silent)
        assert [(line.tax.name, line.tax.rate, line.tax.inclusive) for line in found] == [
            ("low", d("0.07"), False),
            ("state", d("0.125"), False),
            ("sale", d("0.066667"), False),
            ("none", 0, False),
            ("vat", d("0.19"), False),  # the site's
        ]
        assert all(line.tax.amount is None for line in found)

    def test_its_net_amounts_are_taxed_on_top_and_our_own_prices_as_the_catalog_says(self) -> None:
        cups = Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))
        terms = {
            "meters": {"cafe": CAFE, "cups": cups},
            "taxes": taxed("0.19", inclusive=True),
            "sites": SITES,
        }
        where = space(plan(cafe=passed(), cups=per_unit("3")), terms=terms)
        named, silent = COFFEE, {"quantity": 1, "amount": "3.00"}
        for item in (named, silent):
            cafe, cup = rated(where, sale(item, settlement="account"))
            assert (cafe.tax.inclusive, cup.tax.inclusive) == (False, True)

    def test_what_is_free_has_the_tax_of_the_site(self) -> None:
        cups = Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))
        where = space(plan(cups=per_unit("3")), terms={"meters": {"cups": cups}, "taxes": TAXES, "sites": SITES})
        (line,) = rated(where, sale({"quantity": 1, "amount": "0", "tax": "0.10"}, settlement="account"))
        assert (line.amount, line.tax.name) == (3, "vat")

    def test_its_tip_is_an_untaxed_line(self) -> None:
        coffee, tip = self.lines(COFFEE, tip="1.50")
        assert (tip.key.part, tip.key.element, tip.meter, tip.tax, tip.price) == ("tip", 0, "cafe", None, None)
        assert (tip.amount, tip.quantity, tip.unit) == (d("1.50"), d("1.50"), "EUR")
        assert coffee.tip is None

    def test_its_tip_is_due_without_a_meter_and_without_a_plan(self) -> None:
        tipped = sale(settlement="account", tip="2")
        gone = [subscription("gone")]
        spaces = (
            space(plan(), terms={"meters": {}}),
            space(plan(), subscriptions=[]),
            space(plan(), subscriptions=gone),
        )
        for where, under in zip(spaces, ("flex", None, None), strict=True):
            (tip,) = rated(where, tipped)
            assert (tip.meter, tip.amount, tip.unpriced, tip.plan) == ("pos", 2, False, under)

    def test_its_tip_in_another_currency_is_unpriced(self) -> None:
        _, tip = self.lines(COFFEE, tip="1.50", currency="USD")
        assert (tip.amount, tip.unpriced, tip.unit, tip.currency) == (0, True, "USD", "EUR")

    def test_credit_covers_what_is_counted_in_a_unit(self) -> None:
        cups = Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity"))
        where = space(plan(cups=per_unit("3")), grants=[given("ten", cups, "1")], terms={"meters": {"cups": cups}})
        (line,) = rated(where, sale(COFFEE, settlement="account"))
        assert [line.covered, line.billable, line.amount] == [1, 1, 3]
