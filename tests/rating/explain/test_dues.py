"""How what falls due without an event is explained: fees, deposits, minimums."""

from __future__ import annotations

from dataclasses import replace

from meter.model.catalog import Fee, PerUnit
from meter.model.directory import Discount
from tests.rating.explain.scene import NOVEMBER, booked, core
from tests.rating.world import d, plan, priced, space, span, subscription, taxed, use


def test_fees_and_deposits_come_and_go_with_their_days() -> None:
    held = subscription(span=span(NOVEMBER, "11-15 23:00"), seats=2, deposit=d(300))
    scene = booked(space(replace(plan(), fee=Fee(amount=d(200))), subscriptions=[held]), until="12-05")
    assert scene.text(1) == [
        "Charge #1 (original): 2 month of plan flex: 400 EUR",
        "Meter: membership, 2 month",
        "Fee: plan flex of subscription sub for 2026-11, due 2026-11-01",
        "  200 x 2 seats = 400 EUR",
        "Amount: 400 EUR, booked as 400",
        "Earned: evenly from 2026-11-01 until 2026-12-01",
        "Computed again from the stored facts: the same.",
    ]
    assert core(scene, 2) == [
        "Fee: unused days of plan flex of subscription sub from 2026-11-16 on, given back",
        "  200 x 2 seats x -15 of 30 days = -200 EUR",
        "Amount: -200 EUR, booked as -200",
        "Earned: evenly from 2026-11-16 until 2026-12-01",
    ]
    assert core(scene, 0) == [
        "Deposit: taken 2026-11-01, when the subscription begins",
        "Amount: 300 EUR, booked as 300",
    ]
    assert core(scene, 3) == [
        "Deposit: given back 2026-11-16, when the subscription ends",
        "Amount: -300 EUR, booked as -300",
    ]


def test_a_minimum_says_what_was_missing() -> None:
    price = priced(PerUnit(unit_price=d(1)), period_minimum=d(10), tax="vat")
    held = subscription(span=span("11-05 23:00"))
    where = space(plan(use=price), terms={"taxes": taxed("0.2")}, closed=[NOVEMBER], subscriptions=[held])
    assert core(booked(where, use("11-07", 8), until="12-05")) == [
        "Minimum: of price price of plan flex, due when the period was closed",
        "  10 x 25 of 30 days = 8.333333333333 EUR",
        "  8.333333333333 - 8 reached in the period = 0.333333333333 EUR",
        "Amount: 0.333333333333 EUR, booked as 0.33, plus 0.07 vat (20 %)",
    ]


def test_a_discounted_minimum_says_what_was_missing_before_discounts() -> None:
    price, tenth = priced(PerUnit(unit_price=d(1)), period_minimum=d(10)), Discount(id="tenth", rate=d("0.1"))
    held = subscription(span=span(NOVEMBER), discounts=(tenth,))
    scene = booked(space(plan(use=price), closed=[NOVEMBER], subscriptions=[held]), use("11-07", 8), until="12-05")
    assert core(scene) == [
        "Minimum: of price price of plan flex, due when the period was closed",
        "  10 = 10 EUR",
        "  10 - 8 reached in the period = 2 EUR",
        "Discount: tenth, 10 % off 2: 1.8 EUR",
        "Amount: 1.8 EUR, booked as 1.8",
    ]
    due = scene.json()["due"]
    assert (due["amount"], due["reached"], due["subscription"]) == ("10", "8", "sub")
