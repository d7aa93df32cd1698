"""Which start an end belongs to, and what becomes of those without one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from meter.model.catalog import Condition
from meter.model.errors import Broken
from meter.rating.measure import Contribution, Memory, Orphan, Unread, open_sessions
from tests.rating.measure.scenes import (
    HOUR,
    condition,
    contributions,
    d,
    door,
    hours,
    measured,
    presence,
    quantities,
    reports,
    scene,
    t,
    told,
)


def test_in_and_out_are_a_session_that_stands_at_its_start() -> None:
    meter = presence(terms={"group_by": (("door",),)})
    start, end = door("11-02 09:00", "in", door="main"), door("11-02 17:30", "out", door="back")
    assert contributions(meter, start, end) == [
        Contribution(
            meter=meter,
            event=start,
            member="ada",
            element=0,
            quantity=d(30_600),
            dimensions={"door": "main"},
            item=None,
            events=(start.key, end.key),
            estimated=False,
        )
    ]


def test_a_session_counts_nothing_before_it_ends() -> None:
    memory = Memory()
    start = door("11-02 09:00", "in")
    assert measured(presence("cap"), start, memory=memory) == []
    (session,) = open_sessions(memory)
    assert (session.event, session.member, session.until) == (start, "ada", t("11-02 23:00"))
    measured(presence("cap"), door("11-02 10:00", "out"), memory=memory)
    assert list(open_sessions(memory)) == []


@pytest.mark.parametrize(("late", "expected"), [(timedelta(0), [(d(14), False)]), (timedelta(microseconds=1), [])])
def test_an_end_counts_up_to_max_and_no_later(late: timedelta, expected: list[Any]) -> None:
    end = door(t("11-02 23:00") + late, "out")
    found = measured(presence("none"), door("11-02 09:00", "in"), end)
    assert hours(part for part in found if not isinstance(part, Contribution) or part.quantity) == expected
    assert [part.event for part in found if isinstance(part, Orphan)] == ([] if expected else [end.key])


def test_in_in_out_with_closing_time() -> None:
    """In 9:00, in 10:00, out 18:00, closes 22:00, max 14 h: 1 h estimated and 8 h."""
    first, second, out = door("11-02 08:00", "in"), door("11-02 09:00", "in"), door("11-02 17:00", "out")
    found = contributions(presence("close_at"), first, second, out)
    assert hours(found) == [(1, True), (8, False)]
    assert [part.events for part in found] == [(first.key,), (second.key, out.key)]


def test_an_end_after_closing_time_replaces_the_estimate() -> None:
    """In 14:00, closes 22:00: 8 h estimated; then an out of 23:30 comes, a day late: 9.5 h."""
    memory, meter = Memory(), presence("close_at")
    measured(meter, door("11-02 13:00", "in"), memory=memory)
    (session,) = open_sessions(memory)
    estimate = session.outcome(meter, t("11-03 12:00"))
    assert estimate is not None
    assert hours([estimate]) == [(8, True)]
    found = contributions(meter, door("11-02 22:30", "out"), memory=memory)
    assert hours(found) == [(d("9.5"), False)]
    assert found[0].event == estimate.event


def test_a_start_ends_the_open_session_by_the_policy_but_never_later_than_itself() -> None:
    first, soon, late = door("11-02 09:00", "in"), door("11-02 10:00", "in"), door("11-03 09:00", "in")
    reading = door("11-02 09:45", "seen")
    assert hours(measured(presence("cap"), first, soon)) == [(1, True)]
    assert hours(measured(presence("cap"), first, late)) == [(14, True)]
    assert hours(measured(presence("close_at"), first, soon)) == [(1, True)]
    assert hours(measured(presence("close_at"), first, late)) == [(12, True)]
    assert hours(measured(presence("last_seen"), first, reading, soon)) == [(d("0.75"), True)]
    assert hours(measured(presence("last_seen"), first, reading, late)) == [(d("0.75"), True)]
    assert hours(measured(presence("last_seen"), first, soon)) == [(0, True)]
    assert hours(measured(presence("none"), first, soon)) == [(0, True)]


def test_nothing_counted_is_settled_without_the_minimum_and_an_instant_is_not() -> None:
    first, again, out = door("11-02 09:00", "in"), door("11-02 10:00", "in"), door(t("11-02 10:00"), "out")
    assert quantities(presence("none", minimum_s=20), first, again, out) == [0, 20]


@pytest.mark.parametrize("policy", ["cap", "close_at", "last_seen", "none"])
def test_anti_passback_each_badge_in_begins_anew(policy: Any) -> None:
    ins = [door(f"11-02 09:{minute:02}", "in") for minute in (0, 10, 20)]
    found = contributions(presence(policy), *ins, door("11-02 09:30", "out"))
    assert [part.event for part in found] == ins
    assert [part.estimated for part in found] == [True, True, False]
    assert found[-1].quantity == 600


def test_a_toggle_begins_and_ends_by_turns() -> None:
    meter = presence(start=condition(direction="tap"), end=condition(direction="tap"))
    taps = [door(f"11-02 {hour:02}:00", "tap") for hour in (8, 9, 12, 16)]
    found = contributions(meter, *taps)
    assert hours(found) == [(1, False), (4, False)]
    assert [part.event for part in found] == [taps[0], taps[2]]


def test_a_toggle_after_max_begins() -> None:
    meter = presence("cap", start=condition(direction="tap"), end=condition(direction="tap"))
    taps = [door("11-02 08:00", "tap"), door("11-02 23:00", "tap"), door("11-03 01:00", "tap")]
    assert hours(contributions(meter, *taps)) == [(14, True), (2, False)]


def test_an_end_without_a_start_is_an_orphan() -> None:
    memory = Memory()
    out = door("11-02 09:00", "out")
    (found,) = measured(presence("cap"), out, memory=memory)
    assert isinstance(found, Orphan)
    assert (found.event, found.meter) == (out.key, "presence")
    assert found.reason == "an end, but no session is open that began at most 14:00:00 before"
    assert memory == Memory()


def test_a_second_end_is_an_orphan() -> None:
    found = measured(presence(), door("11-02 09:00", "in"), door("11-02 10:00", "out"), door("11-02 11:00", "out"))
    assert [type(part) for part in found] == [Contribution, Orphan]


def test_an_end_after_max_settles_the_session_by_the_policy_and_is_an_orphan() -> None:
    memory = Memory()
    found = measured(presence("close_at"), door("11-02 09:00", "in"), door("11-03 09:00", "out"), memory=memory)
    assert [type(part) for part in found] == [Contribution, Orphan]
    assert hours(found) == [(12, True)]
    assert list(open_sessions(memory)) == []


@pytest.mark.parametrize("later", ["out", "seen", "in"])
def test_any_later_event_settles_a_session_that_is_over(later: str) -> None:
    """Idle has not passed, but no reading after max could move the end."""
    memory, meter = Memory(), presence("last_seen", max_s=2 * HOUR)
    story = [door("11-02 09:00", "in"), door("11-02 10:50", "seen"), door("11-02 11:30", later)]
    found = measured(meter, *story, memory=memory)
    assert hours(found) == [(d(110) / 60, True)]
    assert [type(part) for part in found[1:]] == ([Orphan] if later == "out" else [])
    assert [session.event for session in open_sessions(memory)] == ([story[2]] if later == "in" else [])


def test_a_session_is_judged_by_the_meter_of_its_start() -> None:
    meter = presence(increment=(900, 900), minimum_s=1200, terms={"group_by": (("door",),)})
    changed = presence(increment=(1, 1))
    memory = Memory()
    assert measured(meter, door("11-02 09:00", "in", door="main"), memory=memory) == []
    (found,) = contributions(changed, door("11-02 09:10", "out"), memory=memory)
    assert found.quantity == 1800
    assert found.dimensions == {"door": "main"}


def test_readings_between_neither_begin_nor_end() -> None:
    start, seen, out = door("11-02 09:00", "in"), door("11-02 10:00", "seen"), door("11-02 11:00", "out")
    for policy in ("cap", "close_at", "last_seen", "none"):
        assert measured(presence(policy), seen) == []
        (found,) = contributions(presence(policy), start, seen, out)
        assert found.quantity == 2 * HOUR
        assert found.events == (start.key, out.key)


@pytest.mark.parametrize(
    ("policy", "kept"), [("cap", False), ("close_at", False), ("last_seen", True), ("none", False)]
)
def test_a_reading_between_is_kept_where_the_policy_asks_for_it(policy: Any, kept: bool) -> None:  # noqa: FBT001
    memory, seen = Memory(), door("11-02 10:00", "seen")
    assert measured(presence(policy), door("11-02 09:00", "in"), seen, memory=memory) == []
    (session,) = open_sessions(memory)
    assert session.last == (seen.time if kept else None)


def test_sessions_are_kept_apart_by_member_site_and_key() -> None:
    memory = Memory()
    meter = presence(terms={"key": ("desk",)})

    def found(at: str, direction: str, *, who: str | None = "ada", site: str = "berlin", desk: Any = 1) -> list[type]:
        event = door(at, direction, site=site, desk=desk)
        return [type(part) for part in measured(meter, event, memory=memory, member=who)]

    assert found("11-02 09:00", "in") == []
    for other in ({"who": "bob"}, {"who": None}, {"site": "tokyo"}, {"desk": 2}, {"desk": "1"}, {"desk": True}):
        assert found("11-02 09:02", "out", **other) == [Orphan]
    assert found("11-02 09:03", "out", desk=d("1.0")) == [Contribution]


@pytest.mark.parametrize("key", [None, ("desk",)])
def test_a_session_without_a_member_is_nobodys(key: tuple[str, ...] | None) -> None:
    memory, meter = Memory(), presence(terms={"key": key})
    measured(meter, door("11-02 09:00", "in", desk=1), memory=memory, member=None)
    assert [session.member for session in open_sessions(memory)] == [None]
    (found,) = contributions(meter, door("11-02 10:00", "out", desk=1), memory=memory, member=None)
    assert found.member is None


def test_without_a_key_a_member_has_one_session_at_each_site() -> None:
    story = [door("11-02 09:00", "in"), door("11-02 10:00", "in", site="tokyo"), door("11-02 11:00", "out")]
    (found,) = contributions(presence(), *story)
    assert found.event == story[0]


def test_key_member_says_what_holds_anyhow() -> None:
    assert hours(measured(presence(terms={"key": ("member",)}), door("11-02 09:00", "in"), door("11-02 10:00", "out")))
    memory = Memory()
    measured(presence(terms={"key": ("member",)}), door("11-02 09:00", "in"), memory=memory)
    assert hours(measured(presence(), door("11-02 10:00", "out"), memory=memory)) == [(1, False)]


def test_an_event_without_the_key_is_listed_and_changes_nothing() -> None:
    memory = Memory()
    (found,) = measured(presence(terms={"key": ("desk",)}), door("11-02 09:00", "in"), memory=memory)
    assert isinstance(found, Unread)
    assert found.reason.startswith("desk is missing")
    assert (found.element, found.code) == (0, "unread")
    assert memory == Memory()


def test_where_is_asked_before_start_and_end() -> None:
    meter = presence(terms={"where": (Condition(path=("granted",), operator="=", value=True),)})
    start, refused = door("11-02 09:00", "in", granted=True), door("11-02 10:00", "out", granted=False)
    out = door("11-02 11:00", "out", granted=True)
    assert hours(contributions(meter, start, refused, out)) == [(2, False)]


def test_a_session_crosses_a_period() -> None:
    memory = Memory()
    start, end = door("11-30 20:00", "in"), door("12-01 02:00", "out")
    measured(presence(), start, memory=memory)
    (found,) = contributions(presence(), end, memory=memory)
    assert found.event == start
    assert found.quantity == 6 * HOUR


def test_a_start_and_an_end_at_one_instant_pair_in_the_order_of_their_ids() -> None:
    (found,) = contributions(presence(), door(t("11-02 09:00"), "in"), door("11-02 09:00", "out"))
    assert found.quantity == 0


def test_a_meter_without_pairing_is_our_fault() -> None:
    with pytest.raises(Broken, match="told") as fault:
        measured(reports("duration", "hour"), told("11-02", 1))
    assert fault.value.code == "no_pairing"


def test_an_end_that_is_an_estimate_waits_for_another() -> None:
    memory, meter = Memory(), presence("cap", max_s=10 * HOUR)
    start, left = door("11-02 09:00", "in"), door("11-02 11:00", "out", estimated=True)
    assert measured(meter, start, left, memory=memory) == []
    (session,) = open_sessions(memory)
    # Needs no clock, and nothing that the policy would ask for.
    for clock in (None, left.time, t("12-31")):
        found = session.outcome(meter, clock)
        assert found is not None
        assert (found.event, found.events, found.quantity) == (start, (start.key, left.key), d(2 * HOUR))
        assert (found.estimated, found.ended) == (True, left.time)
    out = door("11-02 12:00", "out")
    (part,) = contributions(meter, out, memory=memory)
    assert (part.events, part.quantity, part.estimated) == ((start.key, out.key), d(3 * HOUR), False)
    assert list(open_sessions(memory)) == []


@pytest.mark.parametrize("policy", ["cap", "close_at", "last_seen", "none"])
def test_an_end_that_is_an_estimate_is_known_at_once(policy: Any) -> None:
    memory, seen = Memory(), door("11-02 10:30", "seen")
    left = door("11-02 11:00", "out", estimated=True)
    measured(presence(policy), door("11-02 09:00", "in"), seen, left, memory=memory)
    (session,) = open_sessions(memory)
    assert session.deadline() == left.time


def test_of_two_ends_that_are_estimates_the_later_stands() -> None:
    ends = [door(f"11-02 {hour}:00", "out", estimated=True) for hour in (11, 12)]
    again = door("11-02 15:00", "in")
    (part,) = contributions(presence("cap"), door("11-02 09:00", "in"), *ends, again)
    assert (part.quantity, part.estimated, part.events[-1]) == (d(3 * HOUR), True, ends[1].key)


@pytest.mark.parametrize("estimated", [False, None, "true", 1])
def test_only_true_makes_an_end_an_estimate(estimated: Any) -> None:
    left = door("11-02 11:00", "out", estimated=estimated)
    (part,) = contributions(presence(), door("11-02 09:00", "in"), left)
    assert (part.quantity, part.estimated) == (d(2 * HOUR), False)


def test_an_estimate_without_a_start_is_an_orphan_and_begins_nothing() -> None:
    memory = Memory()
    (found,) = measured(presence(), door("11-02 11:00", "out", estimated=True), memory=memory)
    assert isinstance(found, Orphan)
    assert memory == Memory()


def test_an_end_after_max_settles_a_session_by_its_estimate() -> None:
    left = door("11-02 11:00", "out", estimated=True)
    found = measured(presence("cap"), door("11-02 09:00", "in"), left, door("11-03 09:00", "out"))
    assert [type(part) for part in found] == [Contribution, Orphan]
    assert hours(found) == [(2, True)]


@pytest.mark.parametrize("policy", ["cap", "close_at", "last_seen", "none"])
def test_a_reading_after_an_estimated_end_changes_nothing(policy: Any) -> None:
    left, seen = door("11-02 11:00", "out", estimated=True), door("11-02 11:30", "seen")
    found = contributions(presence(policy), door("11-02 09:00", "in"), left, seen, door("11-02 15:00", "in"))
    assert hours(found) == [(2, True)]


def test_an_estimate_is_kept_over_the_end_of_its_period() -> None:
    memory, meter = Memory(), presence("none", max_s=2 * HOUR)
    measured(meter, door("11-20 09:00", "in"), door("11-20 10:00", "out", estimated=True), memory=memory)
    memory.enter(scene(door("12-02", "in")).period)
    (session,) = open_sessions(Memory.from_json(memory.to_json()))
    found = session.outcome(meter, None)
    assert found is not None
    assert found.quantity == HOUR


def test_a_start_or_a_reading_after_an_end_reopens_nothing() -> None:
    """Wi-Fi: what comes in between late belongs where its time puts it, and a stop alone begins nothing."""
    meter = presence("last_seen", terms={"key": ("session",)})

    def wifi(at: str, direction: str) -> Any:
        return door(f"11-02 {at}", direction, session="s")

    ended = [wifi("09:00", "in"), wifi("10:00", "out")]
    assert hours(contributions(meter, *ended, wifi("10:30", "seen"))) == [(1, False)]
    memory = Memory()
    assert hours(contributions(meter, *ended, wifi("10:30", "seen"), wifi("11:00", "in"), memory=memory)) == [
        (1, False)
    ]
    # The late start is a session of its own, without a reading: it counts nothing.
    (session,) = open_sessions(memory)
    assert (session.event.time, session.deadline()) == (t("11-02 11:00"), None)
    stop_first = measured(meter, wifi("08:00", "out"), *ended)
    assert [type(part) for part in stop_first] == [Orphan, Contribution]
