"""How credit is explained: drawn, rolled over, bought, expired, given back."""

from __future__ import annotations

from meter.model.catalog import CreditRate, Rollover
from meter.model.directory import GivenGrant, Purchase
from tests.rating.explain.scene import booked, core, credit, door, hours, presence
from tests.rating.world import USE, d, per_unit, plan, plan_grant, space, span, subscription, use


def test_credit_in_credits_is_told_with_its_rate() -> None:
    where = space(
        plan(use=per_unit("0.05"), grants=[credit("credit", 1, "use")]),
        terms={"credit_rates": {"use": (CreditRate(rate=d("0.03")),)}},
    )
    assert core(booked(where, use("11-02", 100))) == [
        "  quantity = 100",
        "Credit: sub/credits/2026-11 had 1 of 1 credit, gives 1 for 33.333333 unit at 0.03 each, has 0 left",
        "Price: each of plan flex; in this period 0 unit so far, then 66.666667",
        "  66.666667 unit x 0.05 = 3.33333335",
        "  3.33333335 - 0 = 3.33333335 EUR",
        "Amount: 3.33333335 EUR, booked as 3.33",
    ]


def test_what_rolled_over_is_told_as_such() -> None:
    grant = plan_grant("free", USE, "100", rollover=Rollover(most=d(50)))
    held = subscription(span=span("2026-09-30T22:00:00Z"))
    where = space(plan(use=per_unit("1"), grants=[grant]), subscriptions=[held])
    assert core(booked(where, use("10-10", 10), use("11-05", 60))) == [
        "  quantity = 60",
        "Credit: sub/free/2026-10/rolled (rolled over) had 50 of 50 unit, covers 50, has 0 left",
        "Credit: sub/free/2026-11 had 100 of 100 unit, covers 10, has 90 left",
        "Amount: 0 EUR, booked as 0",
    ]


def test_money_grants_pay_after_the_price() -> None:
    gift = GivenGrant(id="welcome", account="acme", unit="EUR", amount=d(5), meters=("use",))
    assert core(booked(space(plan(use=per_unit("2")), grants=[gift]), use("11-02", 4))) == [
        "  quantity = 4",
        "Price: each of plan flex; in this period 0 unit so far, then 4",
        "  4 unit x 2 = 8",
        "  8 - 0 = 8 EUR",
        "Money: welcome had 5 of 5 EUR, pays 5, has 0 left",
        "Amount: 3 EUR, booked as 3",
    ]


def test_credit_given_back_is_told() -> None:
    where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10")]))
    assert core(booked(where, use("11-02", 8), use("11-03", -3))) == [
        "  quantity = -3",
        "Credit: sub/free/2026-11 had 2 of 10 unit, is given back 3, has 5 left",
        "Amount: 0 EUR, booked as 0",
    ]


def test_credit_in_hours_is_told_in_hours() -> None:
    where = hours(grants=[plan_grant("free", presence(), "2")])
    assert core(booked(where, door("11-02 08:00", "in"), door("11-02 10:20", "out")))[2:] == [
        "Credit: sub/free/2026-11 had 2 of 2 hour, covers 2, has 0 left",
        "Price: each of plan flex; in this period 0 hour so far, then 0.5",
        "  0.5 hour x 2 = 1",
        "  1 - 0 = 1 EUR",
        "Amount: 1 EUR, booked as 1",
    ]


def test_credit_is_bought_and_then_drawn() -> None:
    bought = Purchase(price=d(80))
    pack = GivenGrant(id="pack", account="acme", unit="unit", amount=d(100), span=span("11-04 23:00"), bought=bought)
    scene = booked(space(plan(use=per_unit("1")), grants=[pack]), use("11-06", 2), until="12-05")
    assert core(scene, 0) == [
        "Purchase: 100 unit, to be drawn from 2026-11-05 on",
        "Amount: 80 EUR, booked as 80",
    ]
    assert core(scene, 1) == [
        "  quantity = 2",
        "Credit: pack (bought) had 100 of 100 unit, covers 2, has 98 left",
        "Amount: 0 EUR, booked as 0",
    ]


def test_credit_that_was_bought_says_what_of_it_expired() -> None:
    bought = Purchase(price=d(80))
    pack = GivenGrant(
        id="pack", account="acme", unit="unit", amount=d(100), span=span("11-04 23:00", "11-20 23:00"), bought=bought
    )
    scene = booked(space(plan(use=per_unit("1")), grants=[pack]), use("11-06", 2), until="12-05")
    assert scene.text()[0] == "Charge #2 (original): 98 unit bought in advance expired unused"
    assert core(scene) == [
        "Expiry: 100 unit bought for 80 EUR could be drawn until 2026-11-21",
        "  100 - 2 drawn = 98 unit left; no money moves for them",
        "Amount: 0 EUR, booked as 0",
    ]
    due = scene.json(-1)["due"]
    assert (due["what"], due["each"], due["bought"], due["amount"]) == ("expiry", "80", "100", "0")
