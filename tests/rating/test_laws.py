"""What must hold for every space and every history of arrival (Hypothesis; a failing example prints its seed)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, takewhile
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.model.catalog import Price, Site
from meter.model.charge import Charge, LineKey
from meter.model.directory import Claim, Link
from meter.model.event import Position, Revision, UsageEvent
from meter.model.money import rounded_minor
from meter.rating.book import GroupTotals, charge_groups
from meter.rating.fold import PlacedEvent, fold
from meter.rating.grants import balances
from meter.rating.state import AccountState
from tests.rating.world import (
    DAYS,
    PAGES,
    USE,
    Ledger,
    Space,
    amend,
    catalog,
    d,
    event,
    graduated,
    passed,
    per_unit,
    plan,
    plan_grant,
    priced,
    space,
    span,
    subscription,
    sums,
    t,
    taxed,
    void,
)
from tests.rating.world import given as given_grant

ZONES = {"berlin": "Europe/Berlin", "auckland": "Pacific/Auckland", "honolulu": "Pacific/Honolulu"}


def _catalogs() -> list[Any]:
    """Two versions; the second, of 12 November, changes prices and gives more."""
    terms: dict[str, Any] = {
        "sites": {name: Site(id=name, name=name, timezone=zone, tax="vat") for name, zone in ZONES.items()},
        "taxes": taxed("0.19") | taxed("0.07", name="low", inclusive=True),
        "default_plan": "guest",
    }
    guest = plan("guest", use=per_unit("0.333"), days=per_unit("9.99", tax="low"))
    own = plan("own", use=per_unit("0.111"), grants=[plan_grant("mine", USE, "7")])
    first = plan(
        use=priced(graduated(("5", "1.005"), ("10", "0.333", "2.5"), (None, "0.1"))),
        pages=Price(id="colour", model=graduated(("3", "0.25"), (None, "0.2")), match={"color": True}, per="member"),
        days=per_unit("19.995", tax="low"),
        cafe=passed("0.1"),
        grants=[
            plan_grant("pool", USE, "6"),
            plan_grant("pages", PAGES, "4", holder="member"),
            plan_grant("days", DAYS, "2", per_seat=True, priority=5),
        ],
    )
    second = replace(first, prices={**first.prices, "use": (per_unit("0.5"),)}, grants=(plan_grant("pool", USE, "9"),))
    return [catalog(first, guest, own, **terms), catalog(second, guest, own, version=2, effective="11-12", **terms)]


PEOPLE: dict[str, Any] = {
    "catalogs": _catalogs(),
    "links": [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("10-20", "11-25"))],
    "claims": [Claim(identity="badge:A", member="ada"), Claim(identity="badge:B", member="bob", span=span("11-03"))],
    "subscriptions": [
        subscription(id="s1", span=span("10-05", "11-18 10:00"), seats=2),
        subscription(id="s2", span=span("11-20"), seats=1),
        subscription("own", id="bobs", member="bob", span=span("11-08", "11-15")),
    ],
    "grants": [
        given_grant("gift", USE, "3", span=span("11-05", "11-22"), priority=1),
        given_grant("adas", USE, "4", member="ada"),
        given_grant("sheets", PAGES, "5", meters=("pages",)),
    ],
}
SPACE = space(**PEOPLE)
NOVEMBER = t("10-31 23:00")  # in Berlin, where acme's periods are counted

# A change of facts, and the instant since when it can matter (decision 0006): what changes the days or the members of a
# period matters from its start.
CHANGES: dict[str, tuple[Space, datetime]] = {
    "a catalog version": (space(**{**PEOPLE, "catalogs": _catalogs()[:1]}), t("11-12")),
    "a given grant": (space(**{**PEOPLE, "grants": PEOPLE["grants"][1:]}), t("11-05")),
    "the end of a given grant": (
        space(**{**PEOPLE, "grants": [replace(PEOPLE["grants"][0], span=span("11-05")), *PEOPLE["grants"][1:]]}),
        t("11-05"),
    ),
    "a claim": (space(**{**PEOPLE, "claims": PEOPLE["claims"][:1]}), t("11-03")),
    "the end of a claim": (
        space(**{**PEOPLE, "claims": [replace(PEOPLE["claims"][0], span=span(None, "11-01")), PEOPLE["claims"][1]]}),
        t("11-01"),
    ),
    "the end of a link": (
        space(**{**PEOPLE, "links": [PEOPLE["links"][0], Link(member="bob", account="acme", span=span("10-20"))]}),
        NOVEMBER,
    ),
    "a subscription": (space(**{**PEOPLE, "subscriptions": PEOPLE["subscriptions"][:2]}), NOVEMBER),
    "the end of a subscription": (
        space(
            **{
                **PEOPLE,
                "subscriptions": [
                    subscription(id="s1", span=span("10-05", "11-10"), seats=2),
                    *PEOPLE["subscriptions"][1:],
                ],
            }
        ),
        NOVEMBER,
    ),
}
START = t("10-25 00:00")

# Half of what happens, happens around the end of October, where days and periods of the zones end apart.
minutes = (st.integers(0, 40 * 24 * 6) | st.integers(6 * 24 * 6, 9 * 24 * 6)).map(
    lambda n: START + timedelta(minutes=10 * n)
)
who = st.sampled_from(["member:ada", "member:bob", "badge:A", "badge:B"])
numbers = st.decimals("-6", "12", places=2)
data_of: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "usage.reported": st.fixed_dictionaries({"meter": st.just("use"), "quantity": numbers | st.just("many")}),
    "print.job": st.fixed_dictionaries(
        {
            "job": st.sampled_from(["j1", "j2", "j3"]),
            "impressions": st.integers(-2, 6),
            "color": st.booleans(),
            "status": st.sampled_from(["completed", "completed", "cancelled"]),
        }
    ),
    "door.access": st.fixed_dictionaries({"granted": st.booleans()}),
    "pos.sale": st.fixed_dictionaries(
        {
            "order": st.sampled_from(["o1", "o2", "o3", "o4"]),
            "currency": st.sampled_from(["EUR", "EUR", "USD"]),
            "settlement": st.sampled_from(["paid", "account"]),
            "lines": st.lists(
                st.fixed_dictionaries(
                    {"amount": st.decimals("-3", "9", places=3).map(str)}, optional={"tax": st.just("0.19")}
                ),
                max_size=3,
            ),
            "tip": st.sampled_from(["0", "1.50"]),
            "total": st.just("5"),
        }
    ),
}


@dataclass(frozen=True)
class History:
    """Everything that ever arrives."""

    events: list[UsageEvent]
    revisions: list[Revision]


@st.composite
def histories(draw: st.DrawFn) -> History:
    events: list[UsageEvent] = []
    for n in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(sorted(data_of)))
        site = draw(st.sampled_from(sorted(ZONES)))
        events.append(event(f"e{n}", kind, draw(minutes), draw(data_of[kind]), by=draw(who), site=site))
    revisions: list[Revision] = []
    for n in range(draw(st.integers(0, 6))):
        told: list[UsageEvent | Revision] = [*events[:2], *revisions]
        target = draw(st.sampled_from(told))
        if draw(st.booleans()):
            revisions.append(void(target, id=f"r{n}"))
        else:
            kind = target.type if isinstance(target, UsageEvent) else "door.access"
            revisions.append(amend(target, draw(data_of[kind]), id=f"r{n}", at=f"11-{28 - n:02}"))
    return History(events, revisions)


def cut_up(placed: Sequence[PlacedEvent], cuts: Sequence[int]) -> list[Sequence[PlacedEvent]]:
    edges = sorted({0, len(placed), *(cut % (len(placed) + 1) for cut in cuts)})
    return [placed[a:b] for a, b in pairwise(edges)]


laws = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@laws
@given(histories(), st.lists(st.integers(0, 20), max_size=5))
def test_dividing_the_fold_and_going_on_from_checkpoints_changes_nothing(history: History, cuts: list[int]) -> None:
    placed = SPACE.placed(history.events, history.revisions)
    whole = fold(SPACE.facts, AccountState(), placed)
    lines: list[Any] = []
    state = AccountState()
    for part in cut_up(placed, cuts):
        folded = fold(SPACE.facts, AccountState.from_json(json.loads(json.dumps(state.to_json()))), part)
        lines += folded.lines
        state = folded.state
    assert tuple(lines) == whole.lines
    assert state.to_json() == whole.state.to_json()


@laws
@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(history: History, random: Any) -> None:
    events, revisions = history.events * 2, history.revisions * 3
    random.shuffle(events)
    random.shuffle(revisions)
    assert SPACE.lines(*events, revisions=revisions) == SPACE.lines(*history.events, revisions=history.revisions)


@laws
@given(histories(), st.sampled_from(sorted(CHANGES)))
def test_a_change_of_facts_leaves_everything_before_it_as_it_was(history: History, name: str) -> None:
    changed, since = CHANGES[name]

    def before(where: Space) -> tuple[Any, Any]:
        placed = [p for p in where.placed(history.events, history.revisions) if p.event.time < since]
        folded = fold(where.facts, AccountState(), placed)
        return folded.lines, folded.state.to_json()

    assert before(changed) == before(SPACE)


@laws
@given(histories())
def test_tracing_changes_nothing_and_its_arithmetic_is_the_lines(history: History) -> None:
    plain = SPACE.fold(*history.events, revisions=history.revisions)
    traced = SPACE.fold(*history.events, revisions=history.revisions, trace=True)
    assert traced.lines == plain.lines
    assert traced.evidence is not None
    for line in traced.lines:
        evidence = traced.evidence.get(line.key)
        if evidence is None:
            assert line.settlement == "paid" or line.key.part == "tip"
            continue
        assert line.amount == evidence.paid_after - evidence.paid_before
        assert line.amount == sum((step.amount for step in evidence.steps), d(0))
        assert line.covered == sum((draw.amount for draw in evidence.draws), d(0))
        assert line.quantity == line.covered + line.billable
        for draw in evidence.draws:
            assert 0 <= draw.balance <= draw.granted
            assert 0 <= draw.balance - draw.amount <= draw.granted


@laws
@given(histories())
def test_granted_is_drawn_plus_remaining_and_nothing_falls_below_0(history: History) -> None:
    used: dict[str, Decimal] = {}
    for line in SPACE.lines(*history.events, revisions=history.revisions):
        for draw in line.draws:
            used[draw.grant] = used.get(draw.grant, d(0)) + draw.amount
        for balance in balances(SPACE.facts, line.key.time, used):
            assert balance.amount == balance.used + balance.remaining
            assert min(balance.used, balance.remaining) >= 0
            assert balance.used == used.get(balance.id, 0)


def refold(ledger: Ledger, before: Sequence[PlacedEvent], now: Sequence[PlacedEvent], back: int) -> list[Charge]:
    """Book what differs, folding from a checkpoint at or before the first event that differs."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
    base = fold(SPACE.facts, AccountState(), now[: max(same - back, 0)]).state
    folded = fold(SPACE.facts, base, now[max(same - back, 0) :])

    def after(key: LineKey) -> bool:
        return base.position is None or Position(key.time, key.source, key.id) > base.position

    standing = {key: charge for key, charge in ledger.standing().items() if after(key)}
    return ledger.make_good(folded.lines, standing=standing)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[History, list[list[UsageEvent | Revision]], list[int]]:
    """A history, the batches in which it arrives in any order, and how far before the need each fold begins."""
    history = draw(histories())
    told: list[UsageEvent | Revision] = [*history.events, *history.revisions]
    order = draw(st.permutations(told))
    size = draw(st.integers(1, 6))
    batches = [list(order[n : n + size]) for n in range(0, len(order), size)]
    return history, batches, draw(st.lists(st.integers(0, 4), min_size=len(batches), max_size=len(batches)))


def book_as_it_arrives(batches: list[list[UsageEvent | Revision]], backs: list[int]) -> Ledger:
    ledger = Ledger.empty()
    known: list[UsageEvent | Revision] = []
    before: list[PlacedEvent] = []
    for batch, back in zip(batches, backs, strict=True):
        known += batch
        now = SPACE.placed(
            [one for one in known if isinstance(one, UsageEvent)], [one for one in known if isinstance(one, Revision)]
        )
        refold(ledger, before, now, back)
        before = now
    return ledger


@laws
@given(arrivals())
def test_what_is_booked_is_the_fold_whatever_arrived_when(case: tuple[History, Any, list[int]]) -> None:
    history, batches, backs = case
    ledger = book_as_it_arrives(batches, backs)
    fresh = Ledger.empty()
    fresh.make_good(SPACE.lines(*history.events, revisions=history.revisions))
    assert sums(ledger.charges) == sums(fresh.charges)
    assert {key: charge.line for key, charge in ledger.standing().items()} == {
        key: charge.line for key, charge in fresh.standing().items()
    }
    assert ledger.make_good(SPACE.lines(*history.events, revisions=history.revisions)) == []


@laws
@given(arrivals())
def test_chains_are_whole(case: tuple[History, Any, list[int]]) -> None:
    _, batches, backs = case
    ledger = book_as_it_arrives(batches, backs)
    ids = [charge.id for charge in ledger.charges]
    assert len(ids) == len(set(ids))
    chains: dict[LineKey, list[Charge]] = {}
    for charge in ledger.charges:
        chains.setdefault(charge.line.key, []).append(charge)
    for chain in chains.values():
        assert [charge.revision for charge in chain] == list(range(len(chain)))
        assert chain[0].role == "original"
        assert chain[0].corrects is None
        for earlier, later in pairwise(chain):
            assert later.role == ("reversal" if earlier.role != "reversal" else "replacement")
            assert later.corrects in {charge.id for charge in chain[: later.revision]}


@laws
@given(arrivals())
def test_rounded_lines_sum_to_the_rounded_sum_of_their_group(case: tuple[History, Any, list[int]]) -> None:
    history, batches, backs = case
    ledger = book_as_it_arrives(batches, backs)
    exact: dict[Any, Decimal] = {}
    rounded: dict[Any, Decimal] = {}
    base: dict[Any, Decimal] = {}
    tax: dict[Any, Decimal] = {}
    for charge in ledger.charges:
        rounding, taxing = charge_groups(charge.line)
        exact[rounding] = exact.get(rounding, d(0)) + charge.line.amount
        rounded[rounding] = rounded.get(rounding, d(0)) + charge.rounded
        if taxing is not None:
            base[taxing] = base.get(taxing, d(0)) + charge.rounded
            tax[taxing] = tax.get(taxing, d(0)) + charge.tax_amount
    assert rounded == {group: rounded_minor(total, group.currency) for group, total in exact.items()}
    for group, total in base.items():
        share = group.rate / (1 + group.rate) if group.inclusive else group.rate
        assert tax[group] == rounded_minor(total * share, group.currency)
    fresh = Ledger.empty()
    fresh.make_good(SPACE.lines(*history.events, revisions=history.revisions))
    for group, total in fresh.totals.exact.items():
        assert exact[group] == total
    for group, total in fresh.totals.rounded.items():
        assert base[group] == total
    loaded = GroupTotals()
    for charge in ledger.charges:
        loaded.add(charge)
    assert loaded == ledger.totals
    assert summed_up(ledger.charges) == ledger.totals


def summed_up(charges: Sequence[Charge]) -> GroupTotals:
    """The totals as a store loads them: from sums by group."""
    groups: dict[Any, list[Charge]] = {}
    for charge in charges:
        tax = charge.line.tax
        settled = tax is not None and tax.amount is not None
        groups.setdefault((charge_groups(charge.line)[0], settled), []).append(charge)
    totals = GroupTotals()
    for (group, settled), found in groups.items():
        exact = sum((charge.line.amount for charge in found), d(0))
        rounded = sum((charge.rounded for charge in found), d(0))
        totals.add_sum(group, settled=settled, exact=exact, rounded=rounded)
    return totals
