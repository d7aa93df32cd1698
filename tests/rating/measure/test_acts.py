"""One act that is told in many events: `debounce`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.model.event import EventKey
from meter.rating.measure import Contribution, Memory, SameAct, Unread, measure
from tests.rating.measure.scenes import condition, door, measured, reports, scene, told

VISITS = replace(reports("count"), event="door.access", where=condition(direction="in"), debounce_s=30)


def counted(*parts: Any) -> list[int]:
    """1 for each contribution, 0 for what is the same act."""
    assert all(isinstance(part, Contribution | SameAct) for part in parts)
    return [int(isinstance(part, Contribution)) for part in parts]


def test_what_comes_sooner_than_the_gap_is_the_same_act_and_the_gap_itself_is_another() -> None:
    at = ["11-02 09:00:00", "11-02 09:00:29", "11-02 09:00:59", "11-02 09:01:00", "11-02 09:01:30"]
    assert counted(*measured(VISITS, *(door(time, "in") for time in at))) == [1, 0, 1, 0, 1]


def test_each_event_makes_the_act_go_on() -> None:
    at = [f"11-02 09:00:{second:02}" for second in (0, 20, 40)] + ["11-02 09:01:09", "11-02 09:01:39"]
    assert counted(*measured(VISITS, *(door(time, "in") for time in at))) == [1, 0, 0, 0, 1]


def test_events_of_one_instant_are_one_act() -> None:
    one, other = door("11-02 09:00", "in"), replace(door("11-02 09:00", "in"), id="z")
    assert counted(*measured(VISITS, one, other)) == [1, 0]


def test_what_does_not_fit_is_no_part_of_an_act() -> None:
    events = [door("11-02 09:00:00", "in"), door("11-02 09:00:20", "out"), door("11-02 09:00:40", "in")]
    assert counted(*measured(VISITS, *events)) == [1, 1]


def test_it_is_told_what_began_the_act_and_what_came_before() -> None:
    events = [door(f"11-02 09:00:{second:02}", "in") for second in (0, 10, 20)]
    first, second, third = (event.key for event in events)
    _, *rest = measured(VISITS, *events)
    assert rest == [
        SameAct(event=second, meter="told", gap_s=30, before=first, first=first),
        SameAct(event=third, meter="told", gap_s=30, before=second, first=first),
    ]


def test_members_sites_and_keys_have_acts_of_their_own() -> None:
    memory, meter = Memory(), replace(VISITS, key=("door",))
    at = "11-02 09:00:0"
    story: list[tuple[str, str, str, str]] = [
        ("ada", "berlin", "main", at + "0"),
        ("bob", "berlin", "main", at + "1"),
        ("ada", "tokyo", "main", at + "2"),
        ("ada", "berlin", "back", at + "3"),
        ("ada", "berlin", "main", at + "4"),
    ]
    found = [
        measured(meter, door(time, "in", site=site, door=name), memory=memory, member=who)
        for who, site, name, time in story
    ]
    assert [counted(*parts) for parts in found] == [[1], [1], [1], [1], [0]]


@pytest.mark.parametrize("key", [None, ("member",)])
def test_without_a_key_all_doors_of_a_member_tell_of_one_act(key: tuple[str, ...] | None) -> None:
    events = [door("11-02 09:00:00", "in", door="main"), door("11-02 09:00:05", "in", door="back")]
    assert counted(*measured(replace(VISITS, key=key), *events)) == [1, 0]


@pytest.mark.parametrize("more", [{}, {"door": None}])
def test_an_event_without_the_key_is_listed(more: dict[str, Any]) -> None:
    (part,) = measured(replace(VISITS, key=("door",)), door("11-02 09:00", "in", **more))
    assert isinstance(part, Unread)
    assert part.reason == "door is missing, which tells sessions, runs and acts apart"


def test_an_act_over_midnight_is_of_one_day() -> None:
    days = replace(VISITS, aggregate="unique_days")
    # Midnight in Berlin, and of its account's period.
    at = ["11-30 22:59:50", "11-30 23:00:05", "11-30 23:00:30", "12-01 09:00:00"]
    events = [door(time, "in") for time in at]
    assert counted(*measured(days, *events)) == [1, 0, 0, 1]
    memory = Memory()
    found = []
    for event in events:
        where = scene(event)
        memory.enter(where.period)
        memory = Memory.from_json(memory.to_json())
        found += measure(days, event, where, memory)
    assert counted(*found) == [1, 0, 0, 1]


def test_what_tells_of_an_act_again_shows_no_value() -> None:
    meter = replace(reports("unique"), debounce_s=60)
    events = [told("11-02 09:00:00", "a"), told("11-02 09:00:30", "b"), told("11-02 10:00:00", "b")]
    assert counted(*measured(meter, *events)) == [1, 0, 1]


def test_the_gap_is_that_of_the_meter_at_the_event_before() -> None:
    memory, longer = Memory(), replace(VISITS, debounce_s=300)
    found = [
        *measured(VISITS, door("11-02 09:00:00", "in"), memory=memory),
        *measured(longer, door("11-02 09:00:40", "in"), memory=memory),
        *measured(VISITS, door("11-02 09:05:00", "in"), memory=memory),
        *measured(VISITS, door("11-02 09:05:30", "in"), memory=memory),
    ]
    assert counted(*found) == [1, 1, 0, 1]
    assert [part.gap_s for part in found if isinstance(part, SameAct)] == [300]


def test_a_meter_without_a_gap_remembers_nothing() -> None:
    memory = Memory()
    measured(replace(VISITS, debounce_s=None), door("11-02 09:00", "in"), memory=memory)
    assert memory == Memory()


def test_an_act_is_forgotten_once_no_event_can_belong_to_it() -> None:
    memory = Memory()
    late, over = door("11-30 22:59:40", "in"), door("11-30 22:59:30", "in", site="tokyo")
    measured(VISITS, late, over, memory=memory)
    december = scene(door("12-05", "in")).period
    assert december.start == over.time.replace(hour=23, minute=0, second=0)
    copied = memory.copy()
    memory.enter(december)
    assert [key.site for key in memory.acts] == ["berlin"]
    assert len(copied.acts) == 2
    assert Memory.from_json(memory.to_json()) == memory
    (act,) = memory.acts.values()
    assert (act.first, act.last) == (late.key, late.key) == (EventKey(late.source, late.id),) * 2
