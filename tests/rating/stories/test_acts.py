"""A door that is held open, or badges twice: one visit, told in many events."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest

from meter.rating.fold import TooLate, fold
from meter.rating.state import AccountState
from tests.rating.stories.telling import Story, bill
from tests.rating.world import Ledger, void

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {berlin: {name: Berlin}}
meters:
  visits: {event: door.access, where: {granted: true}, aggregate: count, unit: visit, debounce: 30s, key: door}
plans:
  flex: {prices: {visits: [{id: visit, model: per_unit, unit_price: "3.00"}]}}
accounts: {acme: {subscriptions: [{id: s, plan: flex}]}}
members: {ada: {account: acme}, bob: {account: acme}}
"""
HELD = """
    2026-11-03 09:00:00 ada door.access {granted: true, door: main}
    2026-11-03 09:00:01 ada door.access {granted: true, door: main}
    2026-11-03 09:00:02 ada door.access {granted: true, door: main}
    2026-11-03 09:00:03 ada door.access {granted: true, door: main}
    2026-11-03 09:00:04 ada door.access {granted: true, door: main}
"""


def test_five_reads_within_four_seconds_are_one_visit_and_the_next_day_is_another() -> None:
    assert Story(SPACE).bill(HELD, until="2026-11-04") == bill("""
        2026-11
          usage visits 1 visit 3 EUR
          net 3 tax 0 due 3 EUR
    """)
    next_day = f"{HELD}2026-11-04 09:00:00 ada door.access {{granted: true, door: main}}"
    assert Story(SPACE).bill(next_day, until="2026-11-05") == bill("""
        2026-11
          usage visits 2 visit 6 EUR
          net 6 tax 0 due 6 EUR
    """)


def test_another_door_another_member_and_a_refusal_are_acts_of_their_own() -> None:
    happened = """
        2026-11-03 09:00:00 ada door.access {granted: true, door: main}
        2026-11-03 09:00:05 bob door.access {granted: true, door: main}
        2026-11-03 09:00:10 ada door.access {granted: true, door: back}
        2026-11-03 09:00:25 ada door.access {granted: false, door: main}
        2026-11-03 09:00:40 ada door.access {granted: true, door: main}
    """
    # The refusal is no event of the meter: it does not make the first visit go on.
    assert "usage visits 4 visit 12 EUR" in Story(SPACE).bill(happened, until="2026-11-04")


def test_in_whatever_order_they_come_one_visit_stands_at_the_first_read() -> None:
    story = Story(SPACE)
    events = story.events(HELD)[:4]
    where = story.space()
    for order in permutations(events):
        ledger = Ledger.empty()
        for n in range(1, len(order) + 1):
            ledger.make_good(where.lines(*order[:n]))
            (standing,) = ledger.standing()
            assert standing.time == min(event.time for event in order[:n])


def test_the_first_read_voided_leaves_the_visit_to_the_second() -> None:
    story = Story(SPACE)
    events = story.events(HELD)
    (line,) = story.space().lines(*events, revisions=[void(events[0])])
    assert line.key.id == events[1].id


def test_a_read_between_that_is_voided_may_make_two_visits_of_one() -> None:
    story = Story(SPACE)
    events = story.events("""
        2026-11-03 09:00:00 ada door.access {granted: true, door: main}
        2026-11-03 09:00:20 ada door.access {granted: true, door: main}
        2026-11-03 09:00:40 ada door.access {granted: true, door: main}
    """)
    where = story.space()
    assert [line.key.id for line in where.lines(*events)] == ["e001"]
    assert [line.key.id for line in where.lines(*events, revisions=[void(events[1])])] == ["e001", "e003"]


def test_a_fold_goes_on_within_an_act() -> None:
    story = Story(SPACE)
    where, events = story.space(), story.events(HELD)
    placed = where.placed(events)
    for cut in range(1, len(placed)):
        state = AccountState.from_json(fold(where.facts, AccountState(), placed[:cut]).state.to_json())
        assert fold(where.facts, state, placed[cut:]).lines == ()


def test_an_estimated_end_is_taken_for_granted_only_as_long_as_no_other_is_known() -> None:
    text = SPACE.replace(
        "meters:",
        "meters:\n  stay: {event: stay, aggregate: duration, unit: hour, start: {at: in}, end: {at: out}, max: 5h}",
    ).replace("prices: {", 'prices: {stay: [{id: hour, model: per_unit, unit_price: "1"}], ')
    story = Story(text)
    where = story.space()
    placed = where.placed(
        story.events("""
        2026-11-03 09:00 ada stay {at: in}
        2026-11-03 10:00 ada stay {at: out, estimated: true}
        2026-11-03 11:00 ada stay {at: out}
    """)
    )
    folded = fold(where.facts, AccountState(), placed[:2])
    assert [(line.quantity, line.estimated) for line in folded.lines] == [(Decimal(1), True)]
    base = AccountState.from_json(folded.state.to_json())
    assert fold(where.facts, base, []).lines == ()
    with pytest.raises(TooLate) as late:
        fold(where.facts, base, placed[2:])
    assert late.value.position == placed[0].event.position
    (line,) = fold(where.facts, AccountState(), placed).lines
    assert (line.quantity, line.estimated) == (Decimal(2), False)
