"""How each model of price is explained, with caps, discounts, taxes and shares of revenue."""

from __future__ import annotations

from meter.model.catalog import Flat, Graduated, Package, Percentage, PerUnit, RevenueShare, Tier, Volume, Window
from meter.model.directory import Discount, GivenGrant
from tests.rating.explain.scene import NOVEMBER, booked, core, use_at
from tests.rating.world import d, per_unit, plan, priced, space, span, subscription, taxed, use


def test_packages_are_counted() -> None:
    price = priced(Package(size=d(10), price=d(15), free=d(5)))
    assert core(booked(use_at(price), use("11-02", 8), use("11-03", 12))) == [
        "  quantity = 12",
        "Price: price of plan flex; in this period 8 unit so far, then 20",
        "  1 package of 10 unit x 15 = 15",
        "  30 - 15 = 15 EUR",
        "Amount: 15 EUR, booked as 15",
    ]
    assert core(booked(use_at(price), use("11-02", 8))) == [
        "  quantity = 8",
        "Price: price of plan flex; in this period 0 unit so far, then 8",
        "  5 unit free = 0",
        "  1 package of 10 unit x 15 = 15",
        "  15 - 0 = 15 EUR",
        "Amount: 15 EUR, booked as 15",
    ]


def test_a_volume_price_takes_back_what_the_other_tier_had_asked() -> None:
    price = priced(Volume(tiers=(Tier(up_to=d(15), unit_price=d(10)), Tier(up_to=None, unit_price=d(5)))))
    assert core(booked(use_at(price), use("11-02", 15), use("11-03", 1))) == [
        "  quantity = 1",
        "Price: price of plan flex; in this period 15 unit so far, then 16",
        "  -15 unit x 10 = -150 (above 0 up to 15)",
        "  16 unit x 5 = 80 (above 15)",
        "  80 - 150 = -70 EUR",
        "Amount: -70 EUR, booked as -70",
    ]


def test_a_percentage_says_what_is_free_and_what_it_is_raised_to() -> None:
    model = Percentage(path=("value",), rate=d("0.013"), fixed=d(2), minimum=d(4), free_events=3, free_amount=d(250))
    events = [use(f"11-0{n}", 1, value=value) for n, value in [(2, 50), (3, 100), (4, 250)]]
    assert core(booked(use_at(priced(model)), *events)) == [
        "  quantity = 1",
        "Price: price of plan flex; in this period 2 events of 150 EUR so far, this one is of 250",
        "  100 EUR free = 0",
        "  150 EUR x 0.013 = 1.95",
        "  fixed = 2",
        "  raised to the minimum = 0.05",
        "  together 4 EUR",
        "Amount: 4 EUR, booked as 4",
    ]


def test_a_flat_price_is_asked_for_each_event() -> None:
    assert core(booked(use_at(priced(Flat(amount=d(5)))), use("11-02", 8), use("11-03", 1))) == [
        "  quantity = 1",
        "Price: price of plan flex; in this period 1 event so far",
        "  1 event x 5 = 5",
        "Amount: 5 EUR, booked as 5",
    ]


def test_a_price_of_each_member_and_of_some_hours_says_so() -> None:
    window = Window(days=frozenset({0, 1}), from_minute=1080, to_minute=1320)
    price = priced(PerUnit(unit_price=d(2)), when=window, per="member")
    assert core(booked(use_at(price), use("11-02 18:30", 3))) == [
        "  quantity = 3",
        "Price: price of plan flex; in this period 0 unit so far by the member, then 3",
        "  applies Mon, Tue 18:00-22:00; it was Mon 2026-11-02 19:30",
        "  3 unit x 2 = 6",
        "  6 - 0 = 6 EUR",
        "Amount: 6 EUR, booked as 6",
    ]


def test_caps_say_what_it_would_have_been() -> None:
    price = priced(PerUnit(unit_price=d(1)), day_cap=d(8), period_cap=d(10))
    scene = booked(use_at(price), use("11-02 08:00", 9), use("11-03", 9))
    assert core(scene, 0) == [
        "  quantity = 9",
        "Price: price of plan flex; in this period 0 unit so far, then 9",
        "  9 unit x 1 = 9",
        "  9 - 0 = 9 EUR",
        "Cap: 2026-11-02 would be 9, capped at 8: 8 EUR instead of 9",
        "Amount: 8 EUR, booked as 8",
    ]
    assert core(scene, 1)[-3:] == [
        "Cap: 2026-11-03 would be 9, capped at 8: 8 EUR instead of 9",
        "Cap: the period would be 16, capped at 10: 2 EUR instead of 8",
        "Amount: 2 EUR, booked as 2",
    ]


def test_discounts_say_what_they_took() -> None:
    discounts = (Discount(id="tenth", rate=d("0.1")), Discount(id="starter", amount=d(5)))
    where = space(plan(use=per_unit("2")), subscriptions=[subscription(discounts=discounts)])
    assert core(booked(where, use("11-02", 2), use("11-03", 4)))[-3:] == [
        "Discount: tenth, 10 % off 8: 7.2 EUR",
        "Discount: starter, 5 a period, 3.6 of it used before: 5.8 EUR instead of 7.2",
        "Amount: 5.8 EUR, booked as 5.8",
    ]


def test_shares_say_what_they_are_taken_of_and_what_they_would_be_alone() -> None:
    landlord = RevenueShare(party="landlord", share=d("0.004"), role="agent")
    terms = {"revenue_shares": (landlord,), "taxes": taxed("0.25", inclusive=True)}
    gift = GivenGrant(id="gift", account="acme", unit="EUR", amount=d("0.25"))
    scene = booked(
        space(plan(use=per_unit("1.25", tax="vat")), terms=terms, grants=[gift]), use("11-02", 1), use("11-03", 1)
    )
    assert core(scene, 0)[-2:] == [
        "Amount: 1 EUR, booked as 1, including 0.2 vat (25 %)",
        "Share: 0.4 % of 1 EUR net belong to landlord (agent), booked as 0",
    ]
    assert core(scene)[-2:] == [
        "Amount: 1.25 EUR, booked as 1.25, including 0.25 vat (25 %)",
        "Share: 0.4 % of 1 EUR net belong to landlord (agent), booked as 0.01; alone it would be 0",
    ]
    assert scene.json(-1)["shares"] == [
        {"party": "landlord", "share": "0.004", "role": "agent", "revenue": "1", "amount": "0.01", "alone": "0"}
    ]


def test_a_first_flat_is_due_without_usage() -> None:
    tiers = (Tier(up_to=d(5), unit_price=d(1), flat=d(10)), Tier(up_to=None, unit_price=d(2)))
    held = subscription(span=span(NOVEMBER))
    where = space(plan(use=priced(Graduated(tiers=tiers, flat_at_zero=True))), subscriptions=[held])
    scene = booked(where, use("11-02", 2), until="11-05")
    assert core(scene, 0) == [
        "First tier: its flat is due without usage of subscription sub, from 2026-11-01 on",
        "Price: price of plan flex; in this period 0 unit so far, then 0",
        "  0 unit x 1 + 10 flat = 10 (above 0 up to 5)",
        "  10 - 0 = 10 EUR",
        "Amount: 10 EUR, booked as 10",
    ]
    assert core(scene, 1)[1:4] == [
        "Price: price of plan flex; in this period 0 unit so far, then 2",
        "  2 unit x 1 = 2 (above 0 up to 5)",
        "  12 - 10 = 2 EUR",
    ]


def test_an_odd_cent_has_its_reason() -> None:
    where = space(plan(use=per_unit("0.004", tax="vat")), terms={"taxes": taxed("10")})
    assert core(booked(where, use("11-02", 1), use("11-03", 1)))[-2:] == [
        "Amount: 0.004 EUR, booked as 0.01, plus 0.1 vat (1000 %)",
        "  alone it would be 0; with it the rounded sum of use at berlin in 2026-11 is exact",
    ]


def test_inclusive_tax_is_within_the_amount() -> None:
    where = space(plan(use=per_unit("1.19", tax="vat")), terms={"taxes": taxed("0.19", inclusive=True)})
    assert core(booked(where, use("11-02", 1)))[-1:] == [
        "Amount: 1.19 EUR, booked as 1.19, including 0.19 vat (19 %)",
    ]


def test_why_nothing_priced_it_is_told() -> None:
    assert core(booked(space(plan(), subscriptions=[]), use("11-02", 5))) == [
        "  quantity = 5",
        "Not priced: the account has no plan at this time",
        "Amount: 0 EUR, booked as 0",
    ]
