from __future__ import annotations

import dataclasses
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from meter.model.catalog import Site
from meter.model.charge import Charge, Line, LineTax
from meter.model.errors import Broken
from meter.rating.book import GroupTotals, book, charge_groups
from meter.rating.corrections import Difference, bills_the_same, differences, reversed_line
from tests.rating.world import USE, Ledger, Space, d, per_unit, plan, plan_grant, printed, space, t, taxed, use


def where(price: str = "1", rate: str = "0.19", *, inclusive: bool = False, **terms: Any) -> Space:
    sites = {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", tax="vat")}
    taxes = taxed(rate, inclusive=inclusive)
    return space(plan(use=per_unit(price), pages=per_unit(price)), terms={"sites": sites, "taxes": taxes, **terms})


def booked(*lines: Line) -> list[Charge]:
    return Ledger.empty().make_good(lines)


class TestDifferences:
    def test_nothing_where_the_same_stands(self) -> None:
        ledger = Ledger.empty()
        lines = where().lines(use("11-02", 1), use("11-03", 2))
        ledger.make_good(lines)
        assert differences(standing=ledger.standing(), lines=lines) == []
        rewritten = [replace(line, amount=d("1.000") * line.amount) for line in lines]
        assert differences(standing=ledger.standing(), lines=rewritten) == []

    def test_a_line_that_is_new_that_changed_and_that_is_gone_in_order(self) -> None:
        ledger = Ledger.empty()
        ledger.make_good(where().lines(use("11-02", 1), use("11-04", 4)))
        found = differences(
            standing=ledger.standing(), lines=where().lines(use("11-03", 3), use("11-04", 5), use("11-05", 0))
        )
        told = [(f.key.id, f.standing and int(f.standing.line.amount), f.line and int(f.line.amount)) for f in found]
        assert told == [("use-11-02-ada", 1, None), ("use-11-03-ada", None, 3), ("use-11-04-ada", 4, 5)]

    def test_true_and_1_are_different_dimensions(self) -> None:
        (line,) = where().lines(printed("11-02", 1, color=True))
        other = replace(line, dimensions={"color": 1})
        assert other == line  # to Python
        assert not bills_the_same(line, other)

    def test_two_lines_of_one_key_are_refused(self) -> None:
        lines = where().lines(use("11-02", 1))
        with pytest.raises(Broken, match="two lines") as fault:
            differences(standing={}, lines=[*lines, *lines])
        assert fault.value.code == "line_twice"

    def test_a_line_of_nothing_is_none(self) -> None:
        first, second = where().lines(use("11-02", 1), use("11-03", 1))
        nothing = replace(first, quantity=d(0), amount=d(0))
        assert [found.line for found in differences(standing={}, lines=[nothing, second])] == [second]
        tax = LineTax(name="vat", rate=None, inclusive=False, amount=d(1))
        for till in (replace(nothing, tip=d("0.5")), replace(nothing, total=d(1)), replace(nothing, tax=tax)):
            assert [found.line for found in differences(standing={}, lines=[till])] == [till]


class TestCorrections:
    def test_are_a_reversal_and_a_replacement_that_name_what_they_correct(self) -> None:
        ledger = Ledger.empty()
        (original,) = ledger.make_good(where().lines(use("11-02", 5)))
        assert (original.role, original.revision, original.corrects, original.reason) == ("original", 0, None, None)
        reversal, replacement = ledger.make_good(where().lines(use("11-02", 9)), reason="late")
        assert (reversal.role, reversal.revision, reversal.corrects) == ("reversal", 1, original.id)
        assert (replacement.role, replacement.revision, replacement.corrects) == ("replacement", 2, original.id)
        assert [reversal.line.amount, replacement.line.amount] == [-5, 9]
        assert (reversal.reason, replacement.reason) == ("late", "late")
        assert len({original.id, reversal.id, replacement.id}) == 3

    def test_are_a_reversal_alone_where_nothing_remains_and_the_chain_goes_on_from_it(self) -> None:
        ledger = Ledger.empty()
        lines = where().lines(use("11-02", 5))
        ledger.make_good(lines)
        (reversal,) = ledger.make_good([])
        (again,) = ledger.make_good(lines)
        assert (again.role, again.revision, again.corrects) == ("replacement", 2, reversal.id)
        assert ledger.make_good(lines) == []

    def test_go_on_behind_what_stands_though_nothing_else_tells_its_revision(self) -> None:
        (line,) = where().lines(use("11-02", 5))
        (original,) = booked(line)
        change = Difference(key=line.key, standing=dataclasses.replace(original, revision=4), line=None)
        (reversal,) = book(
            [change],
            operator="northside",
            totals=GroupTotals(),
            revisions={},
            booked_at=t("12-01"),
            invoice_period=line.period,
        )
        assert (reversal.role, reversal.revision) == ("reversal", 5)

    def test_have_the_same_ids_wherever_they_are_booked(self) -> None:
        lines = where().lines(use("11-02", 5), use("11-03", 5))
        assert [charge.id for charge in booked(*lines)] == [charge.id for charge in booked(*lines)]
        assert booked(lines[1])[0].id == booked(*lines)[1].id

    def test_a_reversal_negates_every_figure(self) -> None:
        plans = plan(use=per_unit("2"), grants=[plan_grant("free", USE, "3")])
        (line,) = space(plans).lines(use("11-02", 5))
        line = replace(line, tip=d(1), total=d(9))
        back = reversed_line(line)
        assert [back.quantity, back.covered, back.billable, back.amount, back.tip, back.total] == [
            -5,
            -3,
            -2,
            -4,
            -1,
            -9,
        ]
        assert [(draw.grant, int(draw.amount)) for draw in back.draws] == [("sub/free/2026-11", -3)]
        assert reversed_line(back) == line


class TestRounding:
    def test_is_the_running_difference_of_the_group(self) -> None:
        charges = booked(*where("0.004").lines(*(use(f"11-{day:02}", 1) for day in range(2, 7))))
        assert [charge.rounded for charge in charges] == [0, d("0.01"), 0, d("0.01"), 0]

    def test_sums_the_same_in_any_order_of_booking(self) -> None:
        lines = where("0.333").lines(use("11-02", 1), use("11-03", 1), use("11-04", 2))
        for order in permutations(lines):
            ledger = Ledger.empty()
            for line in order:
                ledger.make_good([*(charge.line for charge in ledger.standing().values()), line])
            assert sum(charge.rounded for charge in ledger.charges) == d("1.33")

    def test_a_correction_follows_its_group(self) -> None:
        ledger = Ledger.empty()
        ledger.make_good(where("0.005").lines(use("11-02", 1), use("11-03", 1)))
        ledger.make_good(where("0.005").lines(use("11-03", 1)))
        assert [(charge.line.amount, charge.rounded) for charge in ledger.charges] == [
            (d("0.005"), d("0.01")),
            (d("0.005"), d("0.00")),
            (d("-0.005"), d("0.00")),
        ]

    def test_half_a_cent_goes_away_from_0(self) -> None:
        assert [c.rounded for c in booked(*where("0.005").lines(use("11-02", 1)))] == [d("0.01")]
        assert [c.rounded for c in booked(*where("0.005").lines(use("11-02", -1)))] == [d("-0.01")]

    def test_groups_are_kept_apart(self) -> None:
        lines = where("0.004").lines(use("11-02", 1), printed("11-03", 1), use("12-02", 1))
        assert [charge.rounded for charge in booked(*lines)] == [0, 0, 0]
        elsewhere = replace(lines[0], site="hamburg", key=lines[0].key._replace(id="x"))
        assert [charge.rounded for charge in booked(lines[0], elsewhere)] == [0, 0]

    def test_has_the_places_of_the_currency(self) -> None:
        (line,) = where("1.2345").lines(use("11-02", 1))
        assert booked(replace(line, currency="JPY"))[0].rounded == 1
        assert booked(replace(line, currency="KWD"))[0].rounded == d("1.235")


class TestTaxes:
    def test_are_on_the_rounded_lines_as_a_running_difference(self) -> None:
        charges = booked(*where("0.10").lines(*(use(f"11-{day:02}", 1) for day in range(2, 5))))
        # 19 % of 0.10, 0.20 and 0.30 is 0.019, 0.038 and 0.057.
        assert [charge.tax_amount for charge in charges] == [d("0.02"), d("0.02"), d("0.02")]

    def test_run_over_meters_and_sites_of_one_rate(self) -> None:
        charges = booked(*where("0.02").lines(use("11-02", 1), printed("11-03", 1)))
        assert [charge.tax_amount for charge in charges] == [d("0.00"), d("0.01")]

    def test_inclusive_ones_are_within_the_amount(self) -> None:
        charges = booked(*where("1.19", inclusive=True).lines(use("11-02", 1), use("11-03", 1)))
        assert [(charge.rounded, charge.tax_amount) for charge in charges] == [(d("1.19"), d("0.19"))] * 2

    def test_inclusive_ones_of_exactly_half_a_cent_go_away_from_0(self) -> None:
        # 4 / 104 of 0.13 is 0.005, although 4 / 104 itself never ends.
        for quantity in range(1, 40, 2):
            (charge,) = booked(*where("0.13", rate="0.04", inclusive=True).lines(use("11-02", quantity)))
            assert charge.tax_amount == (quantity + 1) // 2 * d("0.01")

    def test_that_the_till_took_are_booked_as_they_are_and_no_part_of_a_group(self) -> None:
        first, second = where("0.10").lines(use("11-02", 2), use("11-03", 1))
        assert first.tax is not None
        settled = replace(first, settlement="paid", tax=replace(first.tax, amount=d("0.03")))
        ledger = Ledger.empty()
        assert [charge.tax_amount for charge in ledger.make_good([settled, second])] == [d("0.03"), d("0.02")]
        (group,) = (charge_groups(second)[1],)
        assert ledger.totals.rounded == {group: d("0.10")}
        loaded = GroupTotals()
        loaded.add_sum(charge_groups(settled)[0], settled=True, exact=d("0.20"), rounded=d("0.20"))
        loaded.add_sum(charge_groups(second)[0], settled=False, exact=d("0.10"), rounded=d("0.10"))
        assert loaded == ledger.totals
        untaxed = GroupTotals()
        untaxed.add_sum(charge_groups(replace(first, tax=None))[0], settled=False, exact=d("0.20"), rounded=d("0.20"))
        assert untaxed.rounded == {}

    def test_follow_their_group_when_reversed(self) -> None:
        ledger = Ledger.empty()
        ledger.make_good(where("0.10").lines(use("11-02", 1), use("11-03", 1)))
        ledger.make_good([])
        assert sum(charge.tax_amount for charge in ledger.charges) == 0
        assert sum(charge.rounded for charge in ledger.charges) == 0


def test_the_invoice_period_is_given_or_told_for_each_line() -> None:
    (line,) = where().lines(use("11-02", 1))
    change = [Difference(key=line.key, standing=None, line=line)]
    for given in (line.period, lambda line: line.period):
        (charge,) = book(
            change,
            operator="northside",
            totals=GroupTotals(),
            revisions={},
            booked_at=t("12-01"),
            invoice_period=given,
        )
        assert charge.invoice_period == line.period
        assert charge.booked_at == t("12-01")
