"""How each kind of charge is explained to a member: whole texts, with the charges' ids as #0, #1 ... in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from meter.model.catalog import (
    Condition,
    CreditRate,
    Fee,
    Flat,
    Graduated,
    Increment,
    Meter,
    Package,
    Pairing,
    Percentage,
    PerUnit,
    Price,
    RevenueShare,
    Rollover,
    Site,
    Tier,
    Volume,
    Window,
)
from meter.model.charge import Charge, changed
from meter.model.directory import Claim, Discount, GivenGrant, Purchase
from meter.model.event import Revision, UsageEvent
from meter.model.period import Periods, Terms
from meter.rating.explain import Explanation, explain, resolution_of, short_text
from meter.rating.explain.words import local_text
from tests.rating.arithmetic import adds_up
from tests.rating.world import (
    CAFE,
    PAGES,
    USE,
    Ledger,
    Space,
    catalog,
    d,
    entered,
    event,
    graduated,
    passed,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    span,
    subscription,
    t,
    taxed,
    use,
    void,
)


@dataclass(frozen=True)
class Scene:
    """What is booked of what has happened, and its explanations."""

    where: Space
    ledger: Ledger
    events: tuple[UsageEvent, ...]
    revisions: tuple[Revision, ...]
    until: str | None

    def explained(self, charge: Charge) -> Explanation:
        folded = self.where.fold(*self.events, revisions=self.revisions, until=self.until, trace=True)
        key = charge.line.key
        line = next((line for line in folded.lines if line.key == key), None)
        wanted = dict.fromkeys([*charge.line.events, *(line.events if line is not None else ())])
        events = [one for name in wanted for one in self.events if one.key == name]
        return explain(
            charge,
            [each for each in self.ledger.charges if each.line.key == key],
            events,
            recomputed=line,
            evidence=folded.evidence_of(key),
            resolution=resolution_of(events, charge.line, self.where.directory),
            facts=self.where.facts,
        )

    def text(self, n: int = -1) -> list[str]:
        """The text of the n-th charge."""
        said = self.explained(self.ledger.charges[n]).text()
        for number, charge in enumerate(self.ledger.charges):
            said = said.replace(charge.id, f"#{number}")
        return said.splitlines()

    def json(self, n: int = -1) -> dict[str, Any]:
        """The JSON of the n-th charge, as it leaves."""
        found: dict[str, Any] = json.loads(json.dumps(self.explained(self.ledger.charges[n]).as_json(), default=str))
        return found


def booked(
    where: Space, *events: UsageEvent, revisions: Iterable[Revision] = (), until: str | None = None, **earlier: Any
) -> Scene:
    """Book everything at once, or first what was known `before`."""
    ledger = Ledger.empty()
    if earlier:
        ledger.make_good(where.lines(*earlier["before"]))
    ledger.make_good(where.lines(*events, revisions=revisions, until=until))
    return Scene(where, ledger, events, tuple(revisions), until)


BADGE = "badge:04A2991B"
TIERS = priced(graduated(("50", "0.25"), (None, "0.20")), tax="vat")
PRINT = plan(pages=TIERS, grants=[plan_grant("pages", PAGES, "100")])
OFFICE = space(PRINT, terms={"taxes": taxed("0.19")}, claims=[Claim(identity=BADGE, member="ada", span=span("01-01"))])
BURST = [printed("11-02 09:00", 120, by=BADGE), printed("11-03 09:00", 60, by=BADGE)]


def core(scene: Scene, n: int = -1) -> list[str]:
    """What lies between who it was for and the verdict; everything that is told adds up."""
    assert adds_up(scene.json(n))
    lines = scene.text(n)
    start = next(at for at, line in enumerate(lines) if line.startswith("Meter: "))
    assert lines[-1] == "Computed again from the stored facts: the same."
    return lines[start + 1 : -1]


BERLIN = Site(id="berlin", name="Berlin", timezone="Europe/Berlin", closes="22:00")
NOVEMBER = "2026-10-31T23:00:00Z"


def is_(value: str) -> tuple[Condition, ...]:
    return (Condition(path=("direction",), operator="=", value=value),)


def presence(**pairing: Any) -> Meter:
    increment = Increment(first_s=900, step_s=900)
    terms: dict[str, Any] = {"max_s": 50_400, "missing_end": "close_at", "increment": increment}
    found = Pairing(start=is_("in"), end=is_("out"), **(terms | pairing))
    return Meter(id="presence", event="door.access", aggregate="duration", unit="hour", pairing=found)


def hours(meter: Meter | None = None, **more: Any) -> Space:
    terms = {"meters": {"presence": meter or presence()}, "sites": {"berlin": BERLIN}}
    return space(plan(presence=per_unit("2"), **more), terms=terms)


def door(at: str, direction: str) -> UsageEvent:
    return event(f"{direction} {at}", "door.access", at, {"direction": direction})


def reads(aggregate: str, **more: Any) -> Meter:
    terms: dict[str, Any] = {"event": "meter.read", "value": ("n",), "unit": "seat", **more}
    return Meter(id="level", aggregate=aggregate, **terms)


def reading(at: str, n: Any) -> UsageEvent:
    return event(f"read {at}", "meter.read", at, {"n": n})


def level(meter: Meter, price: Price | None = None) -> Space:
    return space(plan(level=price or per_unit("10")), terms={"meters": {"level": meter}})


def use_at(price: Price) -> Space:
    return space(plan(use=price))


def credit(unit: str, amount: int, meter: str) -> Any:
    return replace(plan_grant("credits", USE, "1"), unit=unit, amount=d(amount), meters=(meter,))


def sale(settlement: str, lines: list[dict[str, Any]], **more: Any) -> UsageEvent:
    data = {"order": "o-1", "currency": "EUR", "settlement": settlement, "lines": lines, **more}
    return event("sale", "pos.sale", "11-02", data)


def refund(at: str, **more: Any) -> UsageEvent:
    of = {"source": "berlin/device", "order": "o-1"}
    data = {"refund": "r-1", "status": "completed", "currency": "EUR", "sale": of, **more}
    return event("r", "pos.refund", at, data, by=None)


VISITS = Meter(id="visits", event="door.access", aggregate="count", unit="visit", debounce_s=30)
ACTS = space(plan(visits=per_unit("2")), terms={"meters": {"visits": VISITS}})


def pulse(second: int) -> UsageEvent:
    return event(f"p{second:02}", "door.access", t("11-02") + timedelta(seconds=second), {})


ROOM = [{"amount": "20.00", "name": "Room"}]
COFFEE = [{"amount": "10.00", "tax": "1.90", "tax_name": "vat"}]


def test_the_text_tells_the_whole_way_from_the_event_to_the_cent() -> None:
    assert booked(OFFICE, *BURST).text(1) == [
        "Charge #1 (original): 60 page; price price: 13.5 EUR",
        "Event: print.job job-11-03 09:00-badge:04A2991B from berlin/device at 2026-11-03T09:00:00Z",
        "Member: badge:04A2991B is ada since 2026-01-01T12:00:00Z, of account acme",
        "Meter: pages, 60 page, color = false",
        "  impressions = 60",
        "Price: price of plan flex; in this period 20 page so far, then 80",
        "  30 page x 0.25 = 7.5 (above 0 up to 50)",
        "  30 page x 0.2 = 6 (above 50)",
        "  18.5 - 5 = 13.5 EUR",
        "Amount: 13.5 EUR, booked as 13.5, plus 2.57 vat (19 %)",
        "Computed again from the stored facts: the same.",
    ]


def test_a_session_is_told_by_the_clock_of_its_site_with_its_rounding() -> None:
    scene = booked(hours(), door("11-02 08:00", "in"), door("11-02 10:20", "out"))
    assert scene.text() == [
        "Charge #0 (original): 2.5 hour; price each: 5 EUR",
        "Event: door.access in 11-02 08:00 from berlin/device at 2026-11-02T08:00:00Z",
        "Event: door.access out 11-02 10:20 from berlin/device at 2026-11-02T10:20:00Z",
        "Member: ada, of account acme",
        "Meter: presence, 2.5 hour",
        "  from 2026-11-02 09:00 to 2026-11-02 11:20 (Europe/Berlin): 2 h 20 min",
        "  in steps of 15 min: 2 h 30 min",
        "Price: each of plan flex; in this period 0 hour so far, then 2.5",
        "  2.5 hour x 2 = 5",
        "  5 - 0 = 5 EUR",
        "Amount: 5 EUR, booked as 5",
        "Computed again from the stored facts: the same.",
    ]


def test_a_session_without_an_end_says_what_ended_it() -> None:
    closed = booked(hours(), door("11-02 13:00", "in"), until="11-03")
    longest = booked(hours(presence(missing_end="cap")), door("11-02 13:00", "in"), until="11-04")
    followed = booked(hours(), door("11-02 08:00", "in"), door("11-02 09:00", "in"), door("11-02 17:00", "out"))
    rounded = presence(missing_end="last_seen", minimum_s=20, increment=Increment(first_s=30, step_s=360))
    seen = booked(hours(rounded), door("11-02 08:00", "in"), door("11-02 08:10", "through"), until="11-03")
    assert core(closed)[:3] == [
        "  from 2026-11-02 14:00 to 2026-11-02 22:00 (Europe/Berlin): 8 h",
        "  estimated, as no end came: it ends when the site closes (close_at)",
        "  in steps of 15 min: 8 h",
    ]
    assert core(longest)[:2] == [
        "  from 2026-11-02 14:00 to 2026-11-03 04:00 (Europe/Berlin): 14 h",
        "  estimated, as no end came: it lasts 14 h at most (cap)",
    ]
    assert core(followed, 0)[:2] == [
        "  from 2026-11-02 09:00 to 2026-11-02 10:00 (Europe/Berlin): 1 h",
        "  estimated, as no end came: it ends when the next one starts (close_at)",
    ]
    assert core(seen)[:3] == [
        "  from 2026-11-02 09:00 to 2026-11-02 09:10 (Europe/Berlin): 10 min",
        "  estimated, as no end came: it ends when it was last seen (last_seen)",
        "  at least 20 s, the first 30 s, then steps of 6 min: 12 min 30 s",
    ]


def test_a_counter_says_what_its_run_had_reached() -> None:
    meter = reads("counter", unit="kWh", scale=d("0.001"))
    scene = booked(level(meter, per_unit("0.3")), reading("11-02", 100_000), reading("11-03", 150_500))
    assert core(scene) == [
        "  n = 150500; the highest before it in its run was 100000: 50500 more, x 0.001 = 50.5 kWh",
        "Price: each of plan flex; in this period 0 kWh so far, then 50.5",
        "  50.5 kWh x 0.3 = 15.15",
        "  15.15 - 0 = 15.15 EUR",
        "Amount: 15.15 EUR, booked as 15.15",
    ]


def test_what_follows_a_value_says_what_it_was_before() -> None:
    assert core(booked(level(reads("max")), reading("11-02", 20), reading("11-03", 30))) == [
        "  n = 30; the highest so far in the period was 20: 10 more",
        "Price: each of plan flex; in this period 20 seat so far, then 30",
        "  10 seat x 10 = 100",
        "  300 - 200 = 100 EUR",
        "Amount: 100 EUR, booked as 100",
    ]
    assert core(booked(level(reads("latest")), reading("11-02", 20), reading("11-03", 15))) == [
        "  n = 15; the one before it in the period was 20: 5 less",
        "Price: each of plan flex; in this period 20 seat so far, then 15",
        "  -5 seat x 10 = -50",
        "  150 - 200 = -50 EUR",
        "Amount: -50 EUR, booked as -50",
    ]


def test_what_counts_once_says_what_it_is_the_first_of() -> None:
    assert core(booked(space(plan(days=per_unit("25"))), entered("11-02 23:30")))[:1] == [
        "  the member's first event of 2026-11-03 (Europe/Berlin), which counts one",
    ]
    assert core(booked(level(reads("unique")), reading("11-02", "window")))[:1] == [
        "  the member's first event of the period with n = window, which counts one",
    ]
    assert core(booked(level(reads("count")), reading("11-02", 1)))[:1] == [
        "  one for the event",
    ]


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


def test_the_clock_shows_seconds_only_where_there_are_some() -> None:
    instants = ("2026-11-02T09:00:00Z", "2026-11-02T09:00:07Z", "2026-11-02T09:00:00.000005Z")
    shown = [local_text(t(instant), "UTC") for instant in instants]
    assert shown == ["2026-11-02 09:00", "2026-11-02 09:00:07", "2026-11-02 09:00:00.000005"]


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


def test_a_chain_of_corrections_ends_with_what_stands() -> None:
    scene = booked(OFFICE, *BURST, before=BURST[1:])
    assert scene.text(0) == [
        "Charge #0 (original): 60 page, 60 from sub/pages/2026-11, leaves 0; covered by credit",
        "Event: print.job job-11-03 09:00-badge:04A2991B from berlin/device at 2026-11-03T09:00:00Z",
        "Member: badge:04A2991B is ada since 2026-01-01T12:00:00Z, of account acme",
        "Meter: pages, 60 page, color = false",
        "The line as the facts give it now: 60 page, 13.5 EUR",
        "  impressions = 60",
        "Price: price of plan flex; in this period 20 page so far, then 80",
        "  30 page x 0.25 = 7.5 (above 0 up to 50)",
        "  30 page x 0.2 = 6 (above 50)",
        "  18.5 - 5 = 13.5 EUR",
        "Amount: 0 EUR, booked as 0, plus 0 vat (19 %)",
        "Chain:",
        "  #0 original 0 EUR, booked 2026-12-01T00:00:00Z",
        "  #2 reversal 0 EUR, booked 2026-12-01T00:00:01Z (late)",
        "  #3 replacement 13.5 EUR, booked 2026-12-01T00:00:01Z (late)",
        "Computed again from the stored facts: the same.",
    ]


def test_a_line_that_was_taken_back_says_that_nothing_is_due() -> None:
    scene = booked(OFFICE, BURST[0], revisions=[void(BURST[0])], before=BURST[:1])
    assert scene.text(0)[-5:] == [
        "Amount: 5 EUR, booked as 5, plus 0.95 vat (19 %)",
        "Chain:",
        "  #0 original 5 EUR, booked 2026-12-01T00:00:00Z",
        "  #1 reversal -5 EUR, booked 2026-12-01T00:00:01Z (late)",
        "Computed again from the stored facts: nothing is due, as booked.",
    ]


def test_the_json_says_the_same_and_is_json() -> None:
    body = booked(OFFICE, *BURST).json(0)
    assert adds_up(body)
    assert body["grants"] == [
        {
            "grant": "sub/pages/2026-11",
            "origin": "plan",
            "unit": "page",
            "granted": "100",
            "before": "100",
            "amount": "100",
            "after": "0",
            "covered": "100",
            "rate": None,
        }
    ]
    assert body["price"] == {
        "id": "price",
        "model": "graduated",
        "note": None,
        "per": "account",
        "window": None,
        "before": {"quantity": "0", "amount": "0"},
        "after": {"quantity": "20", "amount": "5"},
        "events": None,
        "steps": [
            {
                "label": "tier",
                "above": "0",
                "up_to": "50",
                "units": "20",
                "unit_price": "0.25",
                "flat": "0",
                "size": None,
                "amount": "5",
            }
        ],
        "amount": "5",
    }
    assert (body["quantity"], body["covered"], body["billable"], body["amount"]) == ("120", "100", "20", "5")
    assert body["tax"] == {"name": "vat", "rate": "0.19", "inclusive": False, "amount": "0.95", "alone": "0.95"}
    assert body["recomputed"] == {"agrees": True, "amount": "5", "quantity": "120"}
    assert body["resolution"]["claim"] == {"member": "ada", "from": "2026-01-01T12:00:00Z", "to": None}
    assert body["events"][0]["data"]["impressions"] == 120
    assert body["measured"] == {
        "aggregate": "sum",
        "path": "impressions",
        "element": None,
        "value": "120",
        "before": None,
        "scale": "1",
        "adds": "120",
    }


def test_the_json_of_a_session_has_its_instants_with_the_offset_of_the_site() -> None:
    body = booked(hours(), door("11-02 13:00", "in"), until="11-03").json()
    assert body["measured"] == {
        "aggregate": "duration",
        "start": "2026-11-02T14:00:00+01:00",
        "end": "2026-11-02T22:00:00+01:00",
        "zone": "Europe/Berlin",
        "seconds": "28800",
        "billed_seconds": "28800",
        "minimum_seconds": 0,
        "increment_seconds": [900, 900],
        "missing_end": "close_at",
        "ended_by": "closing",
    }
    assert body["estimated"] is True


def test_an_estimate_that_an_end_has_replaced_shows_the_session_as_it_is_now() -> None:
    ledger, where = Ledger.empty(), hours()
    events = (door("11-02 13:00", "in"), door("11-02 22:30", "out"))
    ledger.make_good(where.lines(events[0], until="11-03"))
    ledger.make_good(where.lines(*events, until="11-04"))
    first = Scene(where, ledger, events, (), "11-04").explained(ledger.charges[0])
    assert first.agrees
    assert first.as_json()["arithmetic_of"] == "recomputed"
    assert [event["id"] for event in first.as_json()["events"]] == [event.id for event in events]
    assert "  from 2026-11-02 14:00 to 2026-11-02 23:30 (Europe/Berlin): 9 h 30 min" in first.text()


def test_what_an_invoice_of_another_period_bears_is_an_adjustment() -> None:
    scene = booked(OFFICE, *BURST)
    late = Periods(Terms("EUR", "Europe/Berlin")).at(t("12-02"))
    charge = replace(scene.ledger.charges[0], invoice_period=late)
    found = scene.explained(charge)
    assert "Adjustment: belongs to 2026-11, which was closed; billed in 2026-12" in found.text()
    assert found.as_json()["kind"] == "adjustment"
    assert found.agrees


def test_it_says_so_where_the_facts_would_book_something_else_now() -> None:
    scene = booked(OFFICE, *BURST)
    dearer = space(
        catalogs=[catalog(plan(pages=per_unit("1")))],
        subscriptions=OFFICE.directory.subscriptions["account", "acme"],
        claims=OFFICE.directory.claims[BADGE],
    )
    found = replace(scene, where=dearer).explained(scene.ledger.charges[1])
    assert not found.agrees
    assert "DIFFERS: 60 EUR; what stands booked is 13.5 EUR." in found.text()
    assert found.as_json()["recomputed"]["agrees"] is False


def test_a_line_that_nothing_books_any_more_differs_until_it_is_reversed() -> None:
    ledger = booked(OFFICE, BURST[0]).ledger
    charge = ledger.charges[0]
    before = explain(charge, ledger.charges, [BURST[0]], recomputed=None)
    assert "DIFFERS: nothing; what stands booked is 5 EUR." in before.text()
    ledger.make_good([])
    assert explain(charge, ledger.charges, [BURST[0]], recomputed=None).agrees


def test_a_line_of_nothing_is_none() -> None:
    """The fold may give a line of quantity 0 and amount 0; it is never booked."""
    scene = booked(OFFICE, BURST[0])
    charge = scene.ledger.charges[0]
    nothing = changed(charge.line, quantity=d(0), covered=d(0), billable=d(0), amount=d(0), draws=())
    assert explain(charge, [charge], [BURST[0]], recomputed=nothing).recomputed is None


def test_a_guest_of_the_walk_in_account_is_told() -> None:
    where = space(plan(), account="walk-in")
    scene = booked(where, replace(sale("paid", COFFEE, total="11.90"), subject=None))
    assert "Account: walk-in, the site's account for guests without a known identity" in scene.text()


def test_the_short_text_of_each_kind_of_charge() -> None:
    where = space(plan(use=per_unit("0.5"), grants=[plan_grant("free", USE, "10")]))
    ledger = booked(where, use("11-02", 8), use("11-03", 4)).ledger
    ledger.make_good([])
    ledger.make_good(space(plan(), subscriptions=[]).lines(use("11-04", 1)))
    assert [short_text(charge) for charge in ledger.charges] == [
        "8 unit, 8 from sub/free/2026-11, leaves 0; covered by credit",
        "4 unit, 2 from sub/free/2026-11, leaves 2; price each: 1 EUR",
        f"takes back 8 unit, 0 EUR ({ledger.charges[0].id})",
        f"takes back 4 unit, 1 EUR ({ledger.charges[1].id})",
        "1 unit; no price applies yet",
    ]


def test_the_short_text_of_what_falls_due_and_of_sales() -> None:
    flex = replace(plan(cafe=passed(period_minimum=d(99))), fee=Fee(amount=d(30)))
    pack = GivenGrant(
        id="pack", account="acme", unit="unit", amount=d(5), span=span("11-04"), bought=Purchase(price=d(9))
    )
    held = [subscription(span=span(NOVEMBER), deposit=d(50))]
    where = space(flex, subscriptions=held, grants=[pack], closed=[NOVEMBER])
    events = [sale("account", [{"amount": "5"}], tip="1", total="6"), refund("11-05", amount="6")]
    ledger = booked(where, *events, until="11-30 22:59").ledger
    assert [short_text(charge) for charge in ledger.charges] == [
        "deposit: 50 EUR",
        "1 month of plan flex: 30 EUR",
        "5 EUR; price passed: 5 EUR",
        "tip: 1 EUR",
        "5 unit bought in advance: 9 EUR",
        "gives back 5 EUR",
        "gives back tip 1 EUR",
    ]
    ledger = booked(where, until="11-30 23:00").ledger
    assert "missing to the minimum of price passed: 99 EUR" in [short_text(charge) for charge in ledger.charges]
    paid = booked(space(plan()), sale("paid", COFFEE, tip="1", total="12.90"), refund("11-05", amount="12.90"))
    assert [short_text(charge) for charge in paid.ledger.charges] == [
        "paid at the till: 10 EUR net, plus 1.9 vat, tip 1",
        "gives back 10 EUR net",
    ]


def test_what_was_told_again_is_told_with_what_counted() -> None:
    scene = booked(ACTS, *map(pulse, range(0, 160, 20)))
    assert len(scene.ledger.charges) == 1
    told = ", ".join(f"p{second} from berlin/device" for second in (20, 40, 60, 80, 100))
    assert core(scene)[:2] == ["  one for the event", f"  the same act, told again within 30 s: {told} and 2 more"]
    assert scene.json()["same_act"] is None
    assert scene.json()["measured"] == {
        "aggregate": "count",
        "first": None,
        "debounce_seconds": 30,
        "told_again": [{"source": "berlin/device", "id": f"p{second}"} for second in range(20, 160, 20)],
    }


def test_an_act_that_was_told_once_says_no_more_than_that() -> None:
    scene = booked(ACTS, pulse(0), pulse(30))
    assert core(scene)[0] == "  one for the event"
    assert core(scene)[1].startswith("Price: ")
    assert scene.json()["measured"]["told_again"] == []


def test_each_meter_has_acts_of_its_own() -> None:
    longer = replace(VISITS, id="longer", debounce_s=60)
    terms = {"meters": {"visits": VISITS, "longer": longer}}
    scene = booked(space(plan(visits=per_unit("2"), longer=per_unit("2")), terms=terms), pulse(0), pulse(20), pulse(55))
    told = {(charge.line.meter, charge.line.key.id): n for n, charge in enumerate(scene.ledger.charges)}
    assert sorted(told) == [("longer", "p00"), ("visits", "p00"), ("visits", "p55")]
    again = [core(scene, told[name])[1] for name in sorted(told)]
    assert again[0] == "  the same act, told again within 1 min: p20 from berlin/device, p55 from berlin/device"
    assert again[1] == "  the same act, told again within 30 s: p20 from berlin/device"
    assert again[2].startswith("Price: ")


def test_a_line_taken_back_says_of_which_act_its_event_tells() -> None:
    first, second, third = pulse(0), pulse(20), pulse(40)
    scene = booked(ACTS, first, second, third, before=[third])
    assert [charge.role for charge in scene.ledger.charges] == ["original", "original", "reversal"]
    same = "  within 30 s of p20 from berlin/device: the same act, which p00 from berlin/device began"
    assert same in scene.text()
    assert scene.json()["same_act"] == {
        "debounce_seconds": 30,
        "before": {"source": "berlin/device", "id": "p20"},
        "first": {"source": "berlin/device", "id": "p00"},
    }
    scene = booked(ACTS, first, second, before=[second])
    assert "  within 30 s of p00 from berlin/device: the same act" in scene.text()


def test_an_end_that_is_an_estimate_says_so() -> None:
    left = event("left", "door.access", "11-02 10:20", {"direction": "out", "estimated": True})
    scene = booked(hours(), door("11-02 08:00", "in"), left)
    assert core(scene)[:3] == [
        "  from 2026-11-02 09:00 to 2026-11-02 11:20 (Europe/Berlin): 2 h 20 min",
        "  estimated, as its end says of itself",
        "  in steps of 15 min: 2 h 30 min",
    ]
    found = scene.json()
    assert found["estimated"]
    assert (found["measured"]["ended_by"], found["measured"]["missing_end"]) == ("estimated_end", None)
    assert [event["id"] for event in found["events"]] == ["in 11-02 08:00", "left"]
