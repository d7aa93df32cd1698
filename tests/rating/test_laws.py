"""What must hold for every space and every history of arrival (Hypothesis; a failing example prints its seed).

`METER_LAWS=long` looks at many more examples than the suite does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.model.charge import Charge, Line, LineKey
from meter.model.event import Revision, UsageEvent
from meter.model.money import rounded_minor, unit_scale
from meter.rating.book import GroupTotals, SharedGroup, charge_groups, revenue_of, share_on
from meter.rating.fold import Folded, TooLate, fold
from meter.rating.grants import balances
from meter.rating.state import AccountState
from tests.rating.booker import Booker, again, is_after
from tests.rating.histories import Facts, History, Step, arrivals, facts, histories
from tests.rating.world import Ledger, Space, d, sums

# The suite runs all laws in less than a minute; the long profile takes about ten minutes.
EXAMPLES = {"quick": 60, "long": 700}[os.environ.get("METER_LAWS", "quick")]
laws = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def whole(where: Space, history: History, *, until: datetime | None = None, **more: Any) -> Folded:
    """One fold of everything."""
    placed = where.placed(history.events, history.revisions)
    return fold(where.facts, AccountState(), placed, until=until or history.until, **more)


def final(known: Facts) -> Space:
    return known.at(len(known.late))


def book_step_by_step(known: Facts, steps: Sequence[Step]) -> Booker:
    """Book a history as it comes to be known."""
    booker = Booker()
    told: list[UsageEvent | Revision] = []
    seen = 0
    for step in steps:
        told += step.told
        where = known.at(step.known)
        since = [known.since(n) for n in range(seen + 1, step.known + 1)]
        seen = step.known
        placed = where.placed(
            [one for one in told if isinstance(one, UsageEvent)], [one for one in told if isinstance(one, Revision)]
        )
        booker.book(where.facts, placed, until=step.until, since=min(since, default=None), back=step.back)
    return booker


@laws
@given(facts(), histories(), st.lists(st.integers(0, 20), max_size=5), st.integers(1, 4))
def test_dividing_the_fold_changes_nothing(known: Facts, history: History, cuts: list[int], stride: int) -> None:
    where = final(known)
    placed = where.placed(history.events, history.revisions)
    booker = Booker(stride=stride)
    for cut in sorted({cut % (len(placed) + 1) for cut in cuts} | {len(placed)}):
        part = placed[:cut]
        booker.book(where.facts, part, until=history.until)
    expected = whole(where, history)
    assert {key: charge.line for key, charge in booker.ledger.standing().items()} == {
        line.key: line for line in expected.lines
    }
    assert booker.kept[-1].to_json() == expected.state.to_json()


@laws
@given(arrivals() | arrivals(till=True))
def test_what_is_booked_is_one_fold_whatever_came_when(case: tuple[Facts, History, list[Step]]) -> None:
    known, history, steps = case
    ledger = book_step_by_step(known, steps).ledger
    expected = whole(final(known), history).lines
    assert {key: charge.line for key, charge in ledger.standing().items()} == {line.key: line for line in expected}
    fresh = Ledger.empty()
    fresh.make_good(expected)
    assert sums(ledger.charges) == sums(fresh.charges)
    assert ledger.make_good(expected) == []


@laws
@given(facts(till=True), histories() | histories(till=True))
def test_booking_each_event_as_it_happens_is_one_fold(known: Facts, history: History) -> None:
    where, booker = final(known), Booker()
    for event in sorted(history.events, key=lambda one: one.position):
        so_far = [one for one in history.events if one.position <= event.position]
        booker.book(where.facts, where.placed(so_far), until=event.time)
    booker.book(where.facts, where.placed(history.events), until=history.until)
    expected = whole(where, History(history.events, [], history.until))
    assert {key: charge.line for key, charge in booker.ledger.standing().items()} == {
        line.key: line for line in expected.lines
    }


@laws
@given(facts(), histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(known: Facts, history: History, random: Any) -> None:
    where = final(known)
    events, revisions = history.events * 2, history.revisions * 3
    random.shuffle(events)
    random.shuffle(revisions)
    assert whole(where, History(events, revisions, history.until)).lines == whole(where, history).lines


@laws
@given(facts(till=True), histories() | histories(till=True), st.integers(1, 4), st.integers(0, 20))
def test_a_rung_is_a_state_to_go_on_from(known: Facts, history: History, stride: int, behind: int) -> None:
    where = final(known)
    placed = where.placed(history.events, history.revisions)
    wanted = placed[behind % len(placed)].event.position if placed else None
    expected = whole(where, history, stride=stride, behind=wanted)
    assert expected.lines == whole(where, history).lines
    for rung in expected.rungs:
        position = rung.position
        assert position is not None
        before = [one for one in placed if one.event.position <= position]
        rest = placed[len(before) :]
        went_on = fold(where.facts, again(rung), rest, until=history.until)
        assert went_on.lines == tuple(line for line in expected.lines if is_after(line.key, rung))
        assert went_on.state.to_json() == expected.state.to_json()
        stopped = fold(where.facts, AccountState(), before).state
        try:
            assert fold(where.facts, again(stopped), rest, until=history.until).lines == tuple(
                line for line in expected.lines if is_after(line.key, stopped)
            )
        except TooLate as late:
            assert stopped.position is not None
            assert late.position <= stopped.position  # noqa: PT017 -- it may know less than the rung


@laws
@given(facts(), histories(), st.integers(0, 40 * 24))
def test_nothing_changes_before_the_clock_wakes_the_account(known: Facts, history: History, hours: int) -> None:
    where = final(known)
    now = min(one.time for one in history.events) + hours * timedelta(hours=1)
    folded = whole(where, history, until=now)
    wakes = folded.wakes or now + timedelta(days=400)
    assert wakes > now
    assert whole(where, history, until=wakes - timedelta(microseconds=1)).lines == folded.lines
    # Whoever asks again only when woken has everything in the end.
    end, booker = now + timedelta(days=40), Booker()
    while now <= end:
        folded = booker.fold(where.facts, where.placed(history.events, history.revisions), until=now)
        assert folded.wakes is None or folded.wakes > now
        if folded.wakes is None or folded.wakes > end:
            break
        now = folded.wakes
    booker = Booker()
    booker.book(where.facts, where.placed(history.events, history.revisions), until=now)
    assert {line.key: line for line in whole(where, history, until=end).lines} == {
        key: charge.line for key, charge in booker.ledger.standing().items()
    }


@laws
@given(facts(till=True), histories() | histories(till=True))
def test_tracing_changes_nothing_and_shows_every_draw(known: Facts, history: History) -> None:
    where = final(known)
    plain, traced = whole(where, history), whole(where, history, trace=True)
    assert traced.lines == plain.lines
    assert traced.evidence is not None
    for line in traced.lines:
        assert line.quantity == line.covered + line.billable
        evidence = traced.evidence.get(line.key)
        for step in evidence.draws if evidence is not None else ():
            assert 0 <= step.balance <= step.granted
            assert 0 <= step.balance - step.amount <= step.granted


@laws
@given(facts(till=True), histories() | histories(till=True))
def test_granted_is_drawn_and_remaining_and_nothing_falls_below_0(known: Facts, history: History) -> None:
    where = final(known)
    used: dict[str, Decimal] = {}
    for line in whole(where, history).lines:
        for draw in line.draws:
            used[draw.grant] = used.get(draw.grant, d(0)) + draw.amount
        for balance in balances(where.facts, line.key.time, used):
            assert balance.amount == balance.used + balance.remaining
            assert min(balance.used, balance.remaining) >= 0
            assert balance.used == used.get(balance.id, 0)


@laws
@given(facts(), histories())
def test_what_rolls_over_is_what_was_left(known: Facts, history: History) -> None:
    where = final(known)
    used: dict[str, Decimal] = {}
    for line in whole(where, history).lines:
        for draw in line.draws:
            used[draw.grant] = used.get(draw.grant, d(0)) + draw.amount
    rolled = {name: amount for name, amount in used.items() if name.endswith("/rolled")}
    for name, amount in rolled.items():
        origin = name.removesuffix("/rolled")
        unit, granted, most = granted_of(where, origin)
        assert 0 <= amount <= min(most, granted - used.get(origin, d(0))) + (0 if unit_scale(unit) == 1 else d("1e-12"))


def granted_of(where: Space, name: str) -> tuple[str, Decimal, Decimal]:
    """The unit of an instance, what it held, and the most that rolls over."""
    from meter.rating.grants import find

    found = find(where.facts, name)
    assert found is not None
    assert found.rolls is not None
    scale = unit_scale(found.unit)
    return found.unit, found.amount / scale, found.rolls / scale


@laws
@given(arrivals())
def test_chains_are_whole(case: tuple[Facts, History, list[Step]]) -> None:
    known, _, steps = case
    charges = book_step_by_step(known, steps).ledger.charges
    ids = [charge.id for charge in charges]
    assert len(ids) == len(set(ids))
    chains: dict[LineKey, list[Charge]] = {}
    for charge in charges:
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
def test_rounded_lines_sum_to_the_rounded_sum_of_their_group(case: tuple[Facts, History, list[Step]]) -> None:
    known, history, steps = case
    ledger = book_step_by_step(known, steps).ledger
    exact: dict[Any, Decimal] = {}
    rounded: dict[Any, Decimal] = {}
    base: dict[Any, Decimal] = {}
    tax: dict[Any, Decimal] = {}
    shared: dict[SharedGroup, Decimal] = {}
    for charge in ledger.charges:
        rounding, taxing = charge_groups(charge.line)
        exact[rounding] = exact.get(rounding, d(0)) + charge.line.amount
        rounded[rounding] = rounded.get(rounding, d(0)) + charge.rounded
        if taxing is not None:
            base[taxing] = base.get(taxing, d(0)) + charge.rounded
            tax[taxing] = tax.get(taxing, d(0)) + charge.tax_amount
        for share, part in zip(charge.line.shares, charge.shared, strict=True):
            sharing = SharedGroup(rounding, share)
            shared[sharing] = shared.get(sharing, d(0)) + part.amount
    assert rounded == {group: rounded_minor(total, group.currency) for group, total in exact.items()}
    for group, total in base.items():
        share = group.rate / (1 + group.rate) if group.inclusive else group.rate
        assert tax[group] == rounded_minor(total * share, group.currency)
    assert shared == {sharing: share_on(sharing, total) for sharing, total in ledger.totals.shared.items()}
    fresh = Ledger.empty()
    fresh.make_good(whole(final(known), history).lines)
    for sharing, total in fresh.totals.shared.items():
        assert ledger.totals.shared[sharing] == total
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
        for charge in found:
            for share in charge.line.shares:
                totals.add_revenue(SharedGroup(group, share), revenue_of(charge.line))
    return totals


@laws
@given(facts(), histories(), st.integers(0, 5))
def test_a_fact_leaves_everything_before_it_as_it_was(known: Facts, history: History, number: int) -> None:
    if not known.late:
        return
    step = number % len(known.late) + 1
    since = known.since(step)

    def before(where: Space) -> list[Line]:
        until = min(history.until, since - timedelta(microseconds=1))
        placed = [one for one in where.placed(history.events, history.revisions) if one.event.time < since]
        return list(fold(where.facts, AccountState(), placed, until=until).lines)

    assert before(known.at(step)) == before(known.at(step - 1))
