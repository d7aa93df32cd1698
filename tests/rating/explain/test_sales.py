"""How sales, tips and refunds are explained."""

from __future__ import annotations

from dataclasses import replace

from meter.model.catalog import Meter
from tests.rating.explain.scene import COFFEE, ROOM, booked, core, credit, refund, sale
from tests.rating.world import CAFE, passed, per_unit, plan, space, t, taxed


def test_a_paid_sale_and_its_refund_have_the_figures_of_the_till() -> None:
    scene = booked(space(plan()), sale("paid", COFFEE, total="11.91", tip="0"), refund("11-05", amount="5.95"))
    assert core(scene, 0) == [
        "Till: 10 net + 1.9 tax EUR; 11.91 in all, 0.01 of it rounding",
        "Amount: 10 EUR, booked as 10, plus 1.9 vat",
    ]
    assert core(scene, 1) == [
        "Refund: 5.95 of 11.91 EUR of the sale sale from berlin/device, 5.96 left",
        "  as the till took it: 5 net, 0.95 tax",
        "Amount: -5 EUR, booked as -5, plus -0.95 vat",
    ]


def test_a_sale_on_account_and_its_tip_are_told() -> None:
    where = space(plan(cafe=passed("0.1")), terms={"taxes": taxed("0.19")})
    scene = booked(where, sale("account", COFFEE, tip="1.00", total="12.90"))
    assert core(scene, 0) == [
        "  lines.amount of element 1 = 10",
        "Price: passed of plan flex; in this period 0 EUR so far, then 10",
        "  10 EUR = 10",
        "  10 EUR x 0.1 markup = 1",
        "  11 - 0 = 11 EUR",
        "Amount: 11 EUR, booked as 11, plus 2.09 vat (19 %)",
    ]
    assert core(scene, 1) == [
        "Tip: 1 EUR, passed on without tax",
        "Amount: 1 EUR, booked as 1",
    ]


def test_a_refund_returns_money_and_then_draws() -> None:
    where = space(plan(cafe=passed(), grants=[credit("EUR", 15, "cafe")]))
    assert booked(where, sale("account", ROOM, total="20.00"), refund("11-05", amount="10")).text(1) == [
        "Charge #1 (original): gives back 5 EUR and 5 EUR to sub/credits/2026-11",
        "Event: pos.refund r from berlin/device at 2026-11-05T12:00:00Z",
        "Event: pos.sale sale from berlin/device at 2026-11-02T12:00:00Z",
        "Member: ada, of account acme",
        "Meter: cafe, -10 EUR",
        "Refund: 10 of 20 EUR of the sale sale from berlin/device, 10 left",
        "  50 % of its line: the 5 EUR charged first, then the credit, the last drawn first",
        "Money: sub/credits/2026-11 had 0 of 15 EUR, is given back 5, has 5 left",
        "Amount: -5 EUR, booked as -5",
        "Computed again from the stored facts: the same.",
    ]
    assert core(booked(where, sale("account", ROOM, total="20.00"), refund("12-05", amount="10")), 1) == [
        "Refund: 10 of 20 EUR of the sale sale from berlin/device, 10 left",
        "  50 % of its line: the 5 EUR charged first, then the credit, the last drawn first",
        "Money: sub/credits/2026-11/returned/berlin%2Fdevice/r (returned) had 0 of 5 EUR, is given back 5, has 5 left",
        "Amount: -5 EUR, booked as -5",
    ]


def test_a_refund_says_what_of_the_credit_had_come_back_before() -> None:
    where = space(plan(cafe=passed(), grants=[credit("EUR", 15, "cafe")]))
    corrected = replace(sale("account", [{"amount": "-9"}], order="o-2", total="-9"), id="down", time=t("11-03"))
    scene = booked(where, sale("account", ROOM, total="20.00"), corrected, refund("11-05", amount="20"))
    assert core(scene, 2) == [
        "Refund: 20 of 20 EUR of the sale sale from berlin/device, 0 left",
        "  100 % of its line: the 5 EUR charged first, then the credit, the last drawn first",
        "  of the 15 EUR that it drew from sub/credits/2026-11, 4 had come back before",
        "Money: sub/credits/2026-11 had 4 of 15 EUR, is given back 11, has 15 left",
        "Amount: -5 EUR, booked as -5",
    ]
    (drawn,) = scene.json(2)["refund"]["drawn"]
    assert drawn == {"grant": "sub/credits/2026-11", "unit": "EUR", "amount": "15", "back": "4"}


def test_a_refund_says_what_share_of_each_line_comes_back() -> None:
    visits = Meter(id="visits", event="pos.sale", aggregate="count", unit="visit")
    where = space(plan(cafe=passed(), visits=per_unit("6")), terms={"meters": {"cafe": CAFE, "visits": visits}})
    sold = sale("account", [{"sku": "c", "amount": "5"}, {"sku": "b", "amount": "10"}], tip="3", total="18")
    first = refund("11-05", lines=[{"sku": "b", "amount": "4"}])
    second = replace(refund("11-06", refund="r-2", amount="7"), id="zz", thing="r-2")
    scene = booked(where, sold, first, second)
    told = [
        (charge.line.meter, charge.line.key.element, charge.line.key.of_tip, core(scene, n)[1])
        for n, charge in enumerate(scene.ledger.charges)
        if charge.line.kind == "refund"
    ]
    then = "charged first, then the credit, the last drawn first"
    assert told == [
        ("cafe", 1, False, f"  40 % of its line: the 10 EUR {then}"),
        ("visits", 0, False, f"  26.6667 % of its line: the 6 EUR {then}"),
        ("cafe", 0, False, f"  50 % of its line: the 5 EUR {then}"),
        ("cafe", 0, True, f"  50 % of its line: the 3 EUR {then}"),
        ("cafe", 1, False, f"  30 % of its line, 40 % before: the 10 EUR {then}"),
        ("visits", 0, False, f"  36.6667 % of its line, 26.6667 % before: the 6 EUR {then}"),
    ]


def test_a_till_says_its_tip_and_its_gap_where_there_are_any() -> None:
    tipped = booked(space(plan()), sale("paid", COFFEE, total="12.50", tip="0.50"), refund("11-05", amount="6.25"))
    assert core(tipped, 0)[0] == "Till: 10 net + 1.9 tax + 0.5 tip EUR; 12.5 in all, 0.1 of it rounding"
    assert core(tipped, 1)[1] == "  as the till took it: 5 net, 0.95 tax, 0.25 tip"
    assert (
        core(booked(space(plan()), sale("paid", COFFEE, total="11.90")))[0] == "Till: 10 net + 1.9 tax EUR; 11.9 in all"
    )
    assert core(booked(space(plan()), sale("paid", [{"amount": "3"}])))[0] == "Till: 3 net EUR"
