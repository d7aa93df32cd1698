"""Bought credit that runs out: what is left then is a line of its own, which moves no money."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.charge import EXPIRY_PART, Line
from meter.model.directory import Account, GivenGrant, Link, Purchase
from meter.model.event import UsageEvent
from meter.model.period import Replaced, Terms
from meter.rating.fold import fold
from meter.rating.grants import balances
from meter.rating.state import AccountState
from tests.rating.world import (
    USE,
    Ledger,
    Space,
    catalog,
    d,
    event,
    per_unit,
    plan,
    space,
    span,
    subscription,
    t,
    taxed,
    use,
)


def pack(amount: str = "10", start: str | None = "11-02", end: str | None = "11-09", **more: Any) -> GivenGrant:
    terms: dict[str, Any] = {"unit": "unit", "bought": Purchase(price=d(120), tax="vat")} | more
    return GivenGrant(id="pack", account="acme", amount=d(amount), span=span(start, end), **terms)


def shop(*grants: GivenGrant, **more: Any) -> Space:
    terms = {"taxes": taxed("0.19"), **more.pop("terms", {})}
    return space(plan(use=per_unit("1")), terms=terms, grants=grants or (pack(),), **more)


def expired(where: Space, *events: UsageEvent, until: str | datetime = "12-20") -> list[Line]:
    return [line for line in where.lines(*events, until=until) if line.key.of_expiry]


def left(where: Space, *events: UsageEvent, until: str | datetime = "12-20") -> list[str]:
    """What is left at each expiry."""
    return [str(line.quantity) for line in expired(where, *events, until=until)]


def test_what_is_left_is_a_line_of_the_meter_credit_that_moves_nothing() -> None:
    where = shop(pack(member="ada"))
    (line,) = expired(where, use("11-03", 2))
    assert line.key == (t("11-09"), "", "pack/expired", "credit", 0, EXPIRY_PART)
    assert (line.kind, line.meter, line.unit, line.member, line.site) == ("fee", "credit", "unit", "ada", "berlin")
    assert [line.quantity, line.billable, line.covered, line.amount] == [8, 8, 0, 0]
    assert (line.draws, line.tax, line.plan, line.price, line.unpriced) == ((), None, None, None, False)
    assert (line.shares, line.earned_until, line.currency) == ((), None, "EUR")
    charges = Ledger.empty().make_good(where.lines(use("11-03", 2), until="12-20"))
    assert [[charge.rounded, charge.tax_amount] for charge in charges if charge.line.key.of_expiry] == [[0, 0]]


def test_the_sale_itself_is_told_from_it_by_its_key() -> None:
    lines = shop().lines(until="12-20")
    assert [(line.meter, line.key.part, line.quantity, line.amount) for line in lines] == [
        ("credit", "", d(10), d(120)),
        ("credit", EXPIRY_PART, d(10), d(0)),
    ]


def test_nothing_left_is_no_line() -> None:
    assert left(shop(), use("11-03", 10)) == []
    assert left(shop(), use("11-03", 25)) == []


@pytest.mark.parametrize(
    "grant",
    [
        pack(bought=None),
        pack(end=None),
        pack(start=None),
    ],
    ids=["given for nothing", "without an end", "since always, and so never sold"],
)
def test_only_what_was_sold_and_ends_expires(grant: GivenGrant) -> None:
    assert expired(shop(grant), use("11-03", 1)) == []


def test_it_waits_for_the_clock_which_the_fold_asks_for() -> None:
    where = shop(pack(end="12-09"))
    folded = where.fold(use("11-03", 1), until="11-30 22:00")
    # First the next period; in that, the end of the pack.
    assert folded.wakes == t("11-30 23:00")
    assert where.fold(use("11-03", 1), until="12-02").wakes == t("12-09")
    assert left(where, use("11-03", 1), until="12-08 23:59") == []
    assert left(where, use("11-03", 1), until="12-09") == ["9"]


def test_what_is_used_at_that_very_instant_is_not_drawn_any_more() -> None:
    where = shop()
    before, at = use("11-09 11:59", 3), use("11-09 12:00", 4, id="at")
    lines = where.lines(before, at, until="11-10")
    assert [(line.key.id, line.covered) for line in lines if line.meter == "use"] == [
        ("use-11-09 11:59-ada", d(3)),
        ("at", d(0)),
    ]
    assert left(where, before, at) == ["7"]


@pytest.mark.parametrize("end", ["11-30 23:00", "12-31 23:00", "12-09"])
def test_what_ends_with_a_period_is_the_last_of_that_period(end: str) -> None:
    """The use of earlier periods counts, and is forgotten only when the credit has ended."""
    where = shop(pack(end=end))
    (line,) = expired(where, use("11-03", 2), use("11-25", 1), until="2027-02-01T00:00:00Z")
    assert (line.quantity, line.key.time) == (d(7), t(end))
    assert line.period == where.facts.account.periods.at(t(end) - datetime.resolution)


def test_a_late_event_from_before_changes_what_was_left() -> None:
    ledger, where = Ledger.empty(), shop()
    ledger.make_good(where.lines(use("11-03", 2), until="12-01"))
    late = ledger.make_good(where.lines(use("11-03", 2), use("11-04", 3), until="12-01"))
    assert [(charge.role, charge.line.quantity) for charge in late if charge.line.key.of_expiry] == [
        ("reversal", d(-8)),
        ("replacement", d(5)),
    ]
    gone = ledger.make_good(where.lines(use("11-03", 2), use("11-04", 8), until="12-01"))
    assert [(charge.role, charge.line.quantity) for charge in gone if charge.line.key.of_expiry] == [
        ("reversal", d(-5))
    ]


def test_a_span_that_is_cut_short_moves_it() -> None:
    ledger = Ledger.empty()
    ledger.make_good(shop(pack(end="11-20")).lines(use("11-03", 2), use("11-12", 1), until="12-01"))
    moved = ledger.make_good(shop(pack(end="11-09")).lines(use("11-03", 2), use("11-12", 1), until="12-01"))
    assert [(c.role, c.line.key.time, c.line.quantity) for c in moved if c.line.key.of_expiry] == [
        ("original", t("11-09"), d(8)),
        ("reversal", t("11-20"), d(-7)),
    ]


def test_time_is_told_in_its_unit_without_loss() -> None:
    meter = replace(USE, unit="hour")
    where = shop(pack("1", unit="hour"), terms={"meters": {"use": meter}})
    # Three thirds of an hour are one, to the last place.
    lines = where.lines(use("11-03", "0.333333333333"), until="11-20")
    (used,) = [line for line in lines if line.meter == "use"]
    (line,) = [line for line in lines if line.key.of_expiry]
    assert used.covered + line.quantity == 1
    assert line.unit == "hour"


def test_it_is_in_the_currency_and_at_the_site_of_the_sale() -> None:
    terms = Account(
        id="acme",
        name="acme",
        currency="USD",
        timezone="Europe/Berlin",
        replaced=(Replaced(Terms("EUR", "Europe/Berlin", 1), "2026-12"),),
    )
    where = shop(pack(end="12-09"), accounts=[terms])
    (line,) = expired(where, use("11-03", 2))
    assert (line.currency, line.period.start) == ("EUR", t("11-30 23:00"))


def test_what_a_refund_gives_back_later_stays_and_does_not_expire_twice() -> None:
    cups = replace(USE, id="cups", event="pos.sale", unit="unit", value=("lines", "quantity"))
    terms = {"meters": {"cups": cups}, "taxes": taxed("0.19")}
    where = space(plan(cups=per_unit("1")), terms=terms, grants=[pack()])
    data = {"order": "o", "currency": "EUR", "lines": [{"quantity": 4, "amount": "4"}], "total": "4"}
    sold = event("s", "pos.sale", "11-03", data | {"settlement": "account"})
    told = {"refund": "r", "sale": {"source": sold.source, "order": "o"}, "currency": "EUR", "amount": "4"}
    refund = event("r", "pos.refund", "11-20", told | {"status": "completed"})
    lines = where.lines(sold, refund, until="12-20")
    assert [line.draws[0].grant for line in lines if line.kind == "refund"] == ["pack/returned/berlin%2Fdevice/r"]
    # 6 at its end; the 4 that came back behind it end with November, and were earned when they were drawn.
    assert [line.quantity for line in lines if line.key.of_expiry] == [6]


def test_a_member_who_leaves_does_not_take_it_along() -> None:
    links = [Link(member="ada", account="acme", span=span(None, "11-05")), Link(member="bob", account="acme")]
    (line,) = expired(shop(pack(member="ada"), links=links), use("11-03", 2))
    assert (line.member, line.quantity) == ("ada", d(8))


@given(
    st.lists(st.tuples(st.integers(1, 28), st.integers(1, 6)), max_size=8, unique_by=lambda one: one[0]),
    st.integers(3, 28),
    st.integers(0, 8),
    st.sampled_from(["11-02", "11-14"]),
)
def test_what_was_bought_is_drawn_or_left_or_expired(
    used: list[tuple[int, int]], end: int, cut: int, begin: str
) -> None:
    """And a fold that goes on from any state on the way, by JSON, says the same."""
    where = shop(pack(start=begin, end=f"11-{max(end, int(begin[3:]) + 1):02} 23:00"))
    events = where.placed([use(f"11-{day:02}", quantity) for day, quantity in sorted(used)])
    clock = t("11-30")
    whole = fold(where.facts, AccountState(), events, until=clock)
    drawn = sum((draw.amount for line in whole.lines for draw in line.draws), d(0))
    ended = sum((line.quantity for line in whole.lines if line.key.of_expiry), d(0))
    assert drawn + ended == 10
    assert balances(where.facts, clock, whole.state.used) == []
    first = fold(where.facts, AccountState(), events[:cut], until=events[cut].event.time if cut < len(events) else None)
    kept = AccountState.from_json(json.loads(json.dumps(first.state.to_json())))
    rest = fold(where.facts, kept, events[cut:], until=clock)
    assert [*first.lines, *rest.lines] == list(whole.lines)


def test_a_catalog_without_the_meter_or_the_plan_lets_it_expire_all_the_same() -> None:
    versions = [catalog(plan(use=per_unit("1")), taxes=taxed("0.19")), catalog(version=2, effective="11-05", meters={})]
    where = space(catalogs=versions, subscriptions=[subscription()], grants=[pack()])
    assert left(where, use("11-03", 2)) == ["8"]
