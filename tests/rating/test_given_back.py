"""Negative lines and refunds give back the same draws, and each draw once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import CreditRate, Meter, PlanGrant
from meter.model.charge import Draw, Line
from meter.model.event import UsageEvent
from meter.model.money import ZERO
from meter.rating.fold import fold
from meter.rating.state import AccountState
from tests.rating.world import (
    CAFE,
    METERS,
    USE,
    Space,
    d,
    event,
    passed,
    per_unit,
    plan,
    plan_grant,
    space,
    span,
    subscription,
    t,
    use,
)
from tests.rating.world import given as credited

CUPS = Meter(id="cups", event="pos.sale", aggregate="sum", unit="unit", value=("lines", "quantity"))


def sale(order: int, day: int, *cups: str | int, each: str = "1") -> UsageEvent:
    """A sale on account of so many cups, a line for each figure; below 0: it corrects others."""
    lines = [{"sku": f"c{n}", "quantity": d(count), "amount": str(d(count) * d(each))} for n, count in enumerate(cups)]
    total = sum((d(count) for count in cups), ZERO) * d(each)
    data = {"order": f"o{order}", "currency": "EUR", "settlement": "account", "total": str(total), "lines": lines}
    return event(f"sale{order}", "pos.sale", f"11-{day:02}", data)


def refund(order: int, day: int, amount: str, *, month: int = 11) -> UsageEvent:
    data = {"refund": f"{order}-{day}", "sale": {"source": "berlin/device", "order": f"o{order}"}, "currency": "EUR"}
    id = f"refund{order}-{day}"
    return event(id, "pos.refund", f"{month}-{day:02}", {**data, "status": "completed", "amount": amount}, by=None)


def bar(*grants: Any, meter: Meter = CUPS, **more: Any) -> Space:
    """Cups and other usage, both covered by what is given."""
    terms = {"meters": {one.id: one for one in (*METERS, meter) if one != CAFE or meter == CAFE}, **more}
    prices: Any = {meter.id: passed() if meter == CAFE else per_unit("1"), "use": per_unit("1", id="use")}
    return space(plan(**prices), grants=list(grants), terms=terms)


def drawn(lines: Sequence[Line]) -> list[Any]:
    """What each line draws, in all; nothing of lines that draw nothing."""
    return [(line.key.id, sum((draw.amount for draw in line.draws), ZERO)) for line in lines if line.draws]


class TestOnce:
    """A pack of 100 units: 10 for a sale, 30 for something else, so that the pack could take more back than it may."""

    pack = credited("pack", CUPS, "100")
    other = use("11-02", 30)

    def test_what_a_negative_line_gave_back_its_sales_refund_does_not(self) -> None:
        lines = bar(self.pack).lines(self.other, sale(1, 3, 10), sale(2, 4, -4), refund(1, 5, "10"))
        assert drawn(lines)[1:] == [("sale1", 10), ("sale2", -4), ("refund1-5", -6)]
        assert [lines[-1].quantity, lines[-1].covered, lines[-1].amount] == [-10, -6, 0]

    def test_what_a_refund_gave_back_no_negative_line_does(self) -> None:
        lines = bar(self.pack).lines(self.other, sale(1, 3, 10), refund(1, 4, "7"), sale(2, 5, -4))
        assert drawn(lines)[1:] == [("sale1", 10), ("refund1-4", -7), ("sale2", -3)]
        # Nothing is left to give back, so the fourth goes below 0.
        assert [lines[-1].covered, lines[-1].billable, lines[-1].amount] == [-3, -1, -1]

    def test_parts_of_a_refund_go_on_until_nothing_is_left(self) -> None:
        parts = [refund(1, day, "4") for day in (5, 6, 7)]
        lines = bar(self.pack).lines(self.other, sale(1, 3, 10), sale(2, 4, -3), *parts)
        assert drawn(lines)[2:] == [("sale2", -3), ("refund1-5", -4), ("refund1-6", -3)]
        assert [line.key.id for line in lines][-1] == "refund1-6"

    def test_a_negative_line_takes_what_refunds_left_and_then_what_was_drawn_before(self) -> None:
        events = [sale(1, 3, 10), sale(2, 4, 5), sale(3, 5, 2), refund(2, 6, "4"), sale(4, 7, -6)]
        lines = bar(self.pack).lines(self.other, *events)
        # 2 of the third sale, 1 of the second, 3 of the first.
        assert drawn(lines)[4:] == [("refund2-6", -4), ("sale4", -6)]
        assert drawn(bar(self.pack).lines(self.other, *events, refund(1, 8, "10")))[6:] == [("refund1-8", -7)]

    def test_each_element_of_a_sale_and_each_draw_of_it_by_itself(self) -> None:
        lines = bar(self.pack).lines(self.other, sale(1, 3, 4, 6), sale(2, 4, -7), refund(1, 5, "10"))
        assert [(line.key.element, sum(int(draw.amount) for draw in line.draws)) for line in lines[1:]] == [
            (0, 4),
            (1, 6),
            (0, -7),
            (0, -3),
        ]
        packs = [credited("a", CUPS, "4"), credited("b", CUPS, "100")]
        lines = bar(*packs).lines(sale(1, 3, 10), sale(2, 4, -7), refund(1, 5, "10"))
        assert [[(draw.grant, int(draw.amount)) for draw in line.draws] for line in lines] == [
            [("a", 4), ("b", 6)],
            [("b", -6), ("a", -1)],
            [("a", -3)],
        ]

    def test_each_meter_of_a_sale_by_itself(self) -> None:
        mugs = replace(CUPS, id="mugs")
        packs = [credited("a", CUPS, "100", meters=("cups",)), credited("b", mugs, "100", meters=("mugs",))]
        terms = {"meters": {"cups": CUPS, "mugs": mugs}}
        where = space(plan(cups=per_unit("1"), mugs=per_unit("2")), grants=packs, terms=terms)
        lines = where.lines(sale(1, 3, 10), sale(2, 4, -4), refund(1, 5, "10"))
        assert [(draw.grant, int(draw.amount)) for line in lines for draw in line.draws] == [
            ("a", 10),
            ("b", 10),
            ("a", -4),
            ("b", -4),
            ("a", -6),
            ("b", -6),
        ]

    def test_what_has_come_back_whole_is_passed_over(self) -> None:
        packs = [credited("a", CUPS, "5"), credited("b", CUPS, "100")]
        lines = bar(*packs).lines(sale(1, 2, 5), sale(2, 3, 10), refund(2, 4, "10"), sale(3, 5, -4))
        assert [(draw.grant, int(draw.amount)) for draw in lines[-1].draws] == [("a", -4)]

    def test_draws_of_one_instance_are_one_whether_refunds_speak_of_their_sales_or_not(self) -> None:
        lines = bar(self.pack).lines(sale(1, 3, 3), sale(2, 4, 4), sale(3, 5, -6), refund(2, 6, "1"))
        assert [(draw.grant, int(draw.amount)) for draw in lines[2].draws] == [("pack", -6)]
        assert lines[2].covered == -6

    def test_a_correction_within_the_sale_counts(self) -> None:
        lines = bar(self.pack).lines(self.other, sale(1, 3, 10, -4), refund(1, 5, "6"))
        assert drawn(lines)[1:] == [("sale1", 10), ("sale1", -4), ("refund1-5", -6)]

    def test_a_sale_of_an_earlier_period_is_out_of_a_negative_lines_reach(self) -> None:
        where = bar(self.pack)
        later = [use("12-02", 5), refund(1, 3, "4", month=12)]
        corrected = event("down", "pos.sale", "12-04", sale(2, 4, -6).data)
        lines = where.lines(self.other, sale(1, 3, 10), sale(3, 4, -3), *later, corrected)
        assert drawn(lines)[2:] == [("sale3", -3), ("use-12-02-ada", 5), ("refund1-3", -4)]
        assert lines[-1].amount == -6

    def test_what_came_back_before_the_credit_was_over_does_not_become_credit_again(self) -> None:
        pack = credited("pack", CUPS, "100", span=span("11-01", "11-10"))
        lines = bar(pack).lines(self.other, sale(1, 3, 10), sale(2, 4, -4), refund(1, 12, "10"))
        assert lines[-1].draws == (Draw(grant="pack/returned/berlin%2Fdevice/refund1-12", unit="unit", amount=d(-6)),)

    def test_credits_come_back_at_the_rate_that_they_were_drawn_at(self) -> None:
        pack = credited("pack", Meter(id="any", event="", aggregate="count", unit="credit"), "50")
        where = bar(pack, credit_rates={"cups": (CreditRate(rate=d("0.3")),), "use": (CreditRate(rate=d(1)),)})
        lines = where.lines(self.other, sale(1, 3, 10), sale(2, 4, "-2.5"), refund(1, 5, "5"), refund(1, 6, "5"))
        assert drawn(lines)[1:] == [("sale1", 3), ("sale2", d("-0.75")), ("refund1-5", -1.5), ("refund1-6", -0.75)]
        assert [line.covered for line in lines[1:]] == [10, d("-2.5"), -5, d("-2.5")]

    def test_money_draws_come_back_once_too(self) -> None:
        where = bar(credited("purse", CAFE, "100"), meter=CAFE)
        lines = where.lines(sale(0, 2, 30), sale(1, 3, 10), sale(2, 4, -4), refund(1, 5, "10"))
        assert drawn(lines)[1:] == [("sale1", 10), ("sale2", -4), ("refund1-5", -6)]
        lines = where.lines(sale(0, 2, 30), sale(1, 3, 10), refund(1, 5, "10"), sale(2, 6, -4), refund(0, 7, "30"))
        assert drawn(lines)[2:] == [("refund1-5", -10), ("sale2", -4), ("refund0-7", -26)]

    def test_money_that_a_refund_gave_back_counts_as_not_paid(self) -> None:
        where = bar(credited("purse", CAFE, "10"), meter=CAFE)
        lines = where.lines(sale(1, 2, 10), sale(2, 3, 5), refund(2, 4, "5"), sale(3, 5, -10))
        assert [line.amount for line in lines] == [0, 5, -5, 0]
        assert drawn(lines) == [("sale1", 10), ("sale3", -10)]

    def test_money_that_was_paid_in_an_earlier_period_does_not(self) -> None:
        where = bar(credited("purse", CAFE, "10", span=span("12-01")), meter=CAFE)
        december = [
            event(f"december{n}", "pos.sale", f"12-0{n}", sale(n, 1, cups).data) for n, cups in ((2, 10), (3, 5))
        ]
        corrected = event("corrected", "pos.sale", "12-06", sale(6, 1, -8).data)
        lines = where.lines(sale(1, 2, 5), *december, refund(1, 4, "5", month=12), corrected)
        assert [line.amount for line in lines] == [5, 0, 5, -5, -5]
        assert drawn(lines) == [("december2", 10), ("corrected", -3)]

    def test_credit_too_little_to_be_seen_covers_and_uncovers(self) -> None:
        pack = credited("pack", Meter(id="any", event="", aggregate="count", unit="credit"), "1")
        where = bar(pack, credit_rates={"cups": (CreditRate(rate=d("1e-13")),)})
        lines = where.lines(sale(1, 3, 2), sale(2, 4, -1), refund(1, 5, "2"))
        assert [line.covered for line in lines] == [2, -1]
        assert not any(line.amount for line in lines)


def test_what_came_back_too_late_has_the_scope_and_holder_of_its_origin_and_its_place_among_the_rest() -> None:
    own = plan_grant("own", CUPS, "2", holder="member")
    where = space(
        plan(cups=per_unit("1"), use=per_unit("1"), grants=[own]),
        terms={"meters": {"cups": CUPS, "use": USE}},
        grants=[credited("gift", CUPS, "10", meters=("cups",))],
    )
    again = [
        event(f"december{n}", "pos.sale", f"12-0{n}", sale(n, 1, 3).data, by=by) for n, by in ((6, "bob"), (7, "ada"))
    ]
    lines = where.lines(sale(1, 3, 2), refund(1, 5, "2", month=12), *again, use("12-08", 1))
    back = "sub/own/2026-11/ada/returned/berlin%2Fdevice/refund1-5"
    assert [[(draw.grant, int(draw.amount)) for draw in line.draws] for line in lines] == [
        [("sub/own/2026-11/ada", 2)],
        [(back, -2)],
        [("sub/own/2026-12/bob", 2), ("gift", 1)],
        [("sub/own/2026-12/ada", 2), (back, 1)],
        [],
    ]


def test_what_was_paid_before_money_came_back_is_lowered_before_that_goes_back_again() -> None:
    money = PlanGrant(id="money", unit="EUR", amount=d(10), meters=("cafe",))
    where = space(
        plan(cafe=passed(), grants=[money]),
        plan("bare", cafe=passed()),
        subscriptions=[
            subscription(span=span(None, "11-30 23:00")),
            subscription("bare", id="after", span=span("11-30 23:00")),
        ],
    )
    december = [
        event(f"december{day}", "pos.sale", f"12-0{day}", sale(day, 1, cups).data)
        for day, cups in ((2, 5), (6, 6), (7, -8))
    ]
    lines = where.lines(sale(1, 3, 10), december[0], refund(1, 5, "10", month=12), *december[1:])
    assert [line.amount for line in lines] == [0, 5, 0, 0, -5]
    assert drawn(lines) == [("sale1", 10), ("refund1-5", -10), ("december6", 6), ("december7", -3)]


def test_hours_come_back_as_running_differences() -> None:
    rooms = Meter(id="rooms", event="pos.sale", aggregate="sum", unit="hour", value=("lines", "quantity"))
    thirds = [refund(1, day, "0.30") for day in (4, 5, 6)]
    folded = bar(credited("pack", rooms, "2"), meter=rooms).fold(sale(1, 3, 1, each="0.90"), *thirds, trace=True)
    lines, evidence = folded.lines, folded.evidence or {}
    assert [evidence[line.key].per for line in lines] == [3600] * 4
    assert [int(step.balance) for line in lines for step in evidence[line.key].draws] == [7200, 3600, 4800, 6000]
    third, rest = d("0.333333333333"), d("0.333333333334")
    assert [(draw.grant, draw.unit, draw.amount) for line in lines for draw in line.draws] == [
        ("pack", "hour", d(1)),
        ("pack", "hour", -third),
        ("pack", "hour", -rest),
        ("pack", "hour", -third),
    ]
    assert [line.covered for line in lines] == [1, -third, -rest, -third]


def test_what_came_back_too_late_comes_back_too_late_again() -> None:
    pack = credited("pack", CUPS, "10", span=span(None, "11-10"))
    december = event("december", "pos.sale", "12-06", sale(2, 1, 4).data)
    soon, late = refund(2, 10, "2", month=12), replace(refund(2, 11, "2"), time=t("2026-12-31T23:00:00Z"))
    folded = bar(pack).fold(sale(1, 3, 10), refund(1, 5, "10", month=12), december, soon, late, trace=True)
    lines, evidence = folded.lines, folded.evidence or {}
    told = [(int(step.balance), int(step.granted)) for line in lines for step in evidence[line.key].draws]
    assert told == [(10, 10), (0, 10), (10, 10), (6, 10), (0, 2)]
    back = "pack/returned/berlin%2Fdevice/refund1-5"
    assert [(draw.grant, int(draw.amount)) for line in lines for draw in line.draws] == [
        ("pack", 10),
        (back, -10),
        (back, 4),
        (back, -2),
        (f"{back}/returned/berlin%2Fdevice/refund2-11", -2),
    ]


def test_what_comes_back_at_the_end_of_the_credit_has_come_too_late() -> None:
    for end, grant in (("11-05 12:01", "pack"), ("11-05 12:00", "pack/returned/berlin%2Fdevice/refund1-5")):
        where = bar(credited("pack", CUPS, "10", span=span(None, end)))
        assert [draw.grant for draw in where.lines(sale(1, 3, 10), refund(1, 5, "10"))[-1].draws] == [grant]


def test_only_what_was_paid_on_account_for_a_meter_and_came_back_counts_as_not_paid() -> None:
    where = bar(credited("purse", CAFE, "10", span=span("11-08")), meter=CAFE)
    at_the_till = event("till", "pos.sale", "11-03", {**sale(2, 3, 7).data, "settlement": "paid"})
    tipped = event("tipped", "pos.sale", "11-04", {**sale(3, 4, 4).data, "tip": "3", "total": "7"})
    back = [refund(2, 5, "7"), refund(3, 6, "7")]
    lines = where.lines(sale(1, 2, 5), at_the_till, tipped, *back, sale(4, 9, 10), sale(5, 10, -7))
    assert [(line.key.id, int(line.amount)) for line in lines] == [
        ("sale1", 5),
        ("till", 7),
        ("tipped", 4),
        ("tipped", 3),
        ("refund2-5", -7),
        ("refund3-6", -4),
        ("refund3-6", -3),
        ("sale4", 0),
        ("sale5", -5),
    ]
    assert drawn(lines) == [("sale4", 10), ("sale5", -2)]


def test_a_refund_of_a_line_is_of_that_line() -> None:
    told = refund(1, 5, "0")
    told = replace(
        told, data={**{k: v for k, v in told.data.items() if k != "amount"}, "lines": [{"sku": "c1", "amount": "6"}]}
    )
    folded = bar().fold(sale(1, 3, 4, 6), told)
    assert [(line.key.element, int(line.amount)) for line in folded.lines] == [(0, 4), (1, 6), (1, -6)]
    assert folded.unread == ()


def test_what_comes_back_is_told_with_the_balance_around_it() -> None:
    def told(pack: Any, day: int, *, month: int = 11) -> list[Any]:
        folded = bar(pack).fold(sale(1, 3, 4, 2), refund(1, day, "7", month=month), trace=True)
        assert folded.evidence is not None
        found = [folded.evidence[line.key] for line in folded.lines if line.kind == "refund"]
        assert [evidence.note for evidence in found] == ["only 6 is left of the sale"] * 2
        assert [evidence.per for evidence in found] == [1, 1]
        return [(int(s.amount), int(s.balance), int(s.granted)) for evidence in found for s in evidence.draws]

    assert told(credited("pack", CUPS, "10"), 5) == [(-4, 4, 10), (-2, 8, 10)]
    assert told(credited("pack", CUPS, "10", span=span(None, "11-10")), 5, month=12) == [(-4, 0, 6), (-2, 4, 6)]


def test_money_that_came_back_too_late_pays_and_covers_nothing() -> None:
    purses = credited("purse", CAFE, "10", span=span(None, "11-10")), credited("gift", CAFE, "100")
    where = bar(*purses, meter=CAFE)
    again = event("december", "pos.sale", "12-06", sale(6, 1, 14).data)
    lines = where.lines(sale(1, 3, 10), refund(1, 5, "10", month=12), again)
    assert [figure for line in lines for figure in (line.covered, line.amount)] == [0] * 6
    back = "purse/returned/berlin%2Fdevice/refund1-5"
    assert [(draw.grant, int(draw.amount)) for line in lines for draw in line.draws] == [
        ("purse", 10),
        (back, -10),
        (back, 10),
        ("gift", 4),
    ]


@st.composite
def histories(draw: st.DrawFn) -> list[UsageEvent]:
    """Sales of cups, corrections of sales, and refunds of some, all on different days, in order."""
    figures = st.sampled_from(["1", "2", "7", "2.5", "-1", "-3", "-12"])
    days = sorted(draw(st.lists(st.integers(3, 28), min_size=2, max_size=12, unique=True)))
    found: list[UsageEvent] = []
    sold: list[int] = []
    for number, day in enumerate(days):
        if draw(st.booleans()) and sold:
            amount = draw(st.sampled_from(["1", "0.5", "3", "100"]))
            found.append(refund(draw(st.sampled_from(sold)), day, amount))
        else:
            sold.append(number)
            found.append(sale(number, day, *draw(st.lists(figures, min_size=1, max_size=3))))
    return found


packs = st.sampled_from(["5", "20", "400"])


@given(histories(), packs)
def test_what_others_drew_nobody_gives_back(events: list[UsageEvent], pack: str) -> None:
    others = use("11-02", 5)
    lines = bar(credited("pack", CUPS, pack)).lines(others, *events)
    used = ZERO
    for line in lines:
        used += sum((draw.amount for draw in line.draws), ZERO)
        assert used >= 5
        assert used <= d(pack)


@given(histories(), packs)
def test_a_line_hangs_on_nothing_that_comes_after_it(events: list[UsageEvent], pack: str) -> None:
    where = bar(credited("small", CUPS, "3", priority=1), credited("pack", CUPS, pack))
    whole = where.lines(*events)
    for number, one in enumerate(events):
        so_far = where.lines(*events[:number])
        assert so_far == tuple(line for line in whole if line.key[:3] < one.position)


@given(histories(), packs)
def test_a_checkpoint_in_between_changes_nothing(events: list[UsageEvent], pack: str) -> None:
    where = bar(credited("pack", CUPS, pack))
    placed = where.placed(events)
    whole = fold(where.facts, AccountState(), placed, stride=1)
    for number, rung in enumerate(whole.rungs, 1):
        kept = AccountState.from_json(json.loads(json.dumps(rung.to_json())))
        rest = fold(where.facts, kept, placed[number:])
        assert rest.lines == tuple(line for line in whole.lines if line.key[:3] > placed[number - 1].event.position)
        assert rest.state.to_json() == whole.state.to_json()
