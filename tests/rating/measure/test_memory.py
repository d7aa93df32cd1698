"""The memory between events: dividing them, writing it down and dropping what is over changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meter.model.catalog import Meter, MissingEnd, Site
from meter.model.event import UsageEvent
from meter.model.period import Period, Periods, Terms
from meter.rating.measure import Contribution, Measured, Memory, measure, open_sessions
from meter.rating.measure.sessions import SaidEnd
from tests.rating.measure.scenes import (
    condition,
    contributions,
    d,
    door,
    event,
    measured,
    presence,
    reports,
    scene,
    t,
    told,
)

HONOLULU = Site(id="honolulu", name="Honolulu", timezone="Pacific/Honolulu")
POLICIES: tuple[MissingEnd, ...] = ("cap", "close_at", "last_seen", "none")
METERS: tuple[Meter, ...] = tuple(
    replace(meter, id=f"meter {n}", event="door.access", value=("n",))
    for n, meter in enumerate(
        [
            reports("count"),
            reports("sum", "hour"),
            reports("max"),
            reports("max", per="member"),
            reports("latest"),
            reports("unique_days"),
            reports("unique"),
            reports("counter", key=("desk",)),
            reports("counter", reset_below=True, from_zero=True),
            reports("counter", from_zero=True, forget_s=86_400),
            reports("count", debounce_s=61),
            reports("unique_days", debounce_s=30 * 3600 + 1),
            reports("unique", debounce_s=3 * 3600, key=("desk",)),
            *(presence(policy, max_s=30 * 3600, idle_s=7200) for policy in POLICIES),
            presence("cap", start=condition(direction="in"), end=condition(direction="in")),
            presence(
                "close_at",
                max_s=86_400,
                minimum_s=20,
                increment=(30, 6),
                terms={"key": ("desk",), "group_by": (("n",), ("list",), ("big",))},
            ),
        ]
    )
)
# A value of each kind that JSON has, in forms that are easy to lose on the way.
DATA: dict[str, Any] = {
    "n": d("1E+3"),
    "desk": d("5.10"),
    "big": d("123456789012345678.123456789012345678"),
    "small": d("1E-18"),
    "text": 'a "quoted" \\ ü 漢 line\n',
    "list": [1, d("1.0"), None, True, {"deep": [False]}],
    "nothing": None,
    "empty": {},
}


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[UsageEvent, str | None]]:
    """Events at doors in their order over six weeks, around the turn of a month, and whose they are."""
    found: list[tuple[UsageEvent, str | None]] = []
    instant = t("11-20 06:00")
    waits = st.sampled_from([0, 1, 60, 3600, 3 * 3600, 9 * 3600, 30 * 3600, 30 * 3600 + 1, 86_400, 6 * 86_400])
    for n in range(draw(st.integers(1, 12))):
        instant += timedelta(seconds=draw(waits))
        more: dict[str, Any] = {"n": draw(st.sampled_from([1, 2, 5, d("2.50"), "x", None])), "desk": n % 2}
        direction = draw(st.sampled_from(["in", "out", "seen"]))
        site = draw(st.sampled_from(["berlin", "tokyo"]))
        if draw(st.integers(0, 3)) == 0:
            more["estimated"] = True
        each = door(instant, direction, site=site, **{**DATA, **more})
        found.append((replace(each, id=f"{n:03}"), draw(st.sampled_from(["ada", "bob", None]))))
    return found


def told_and_saved(memory: Memory) -> Memory:
    return Memory.from_json(json.loads(json.dumps(memory.to_json())))


def gone_through(
    story: Sequence[tuple[UsageEvent, str | None]], memory: Memory, *, save: Sequence[bool] = (), enter: bool = False
) -> tuple[Measured, Memory]:
    """What all meters find; the memory is written down and read again before some events."""
    found: Measured = []
    for n, (each, member) in enumerate(story):
        where = scene(each, member)
        if n < len(save) and save[n]:
            memory = told_and_saved(memory)
        if enter:
            memory.enter(where.period)
        for meter in METERS:
            found += measure(meter, each, where, memory)
    return found, memory


@given(happenings(), st.lists(st.booleans(), max_size=12))
def test_writing_the_memory_down_between_events_changes_nothing(
    story: list[tuple[UsageEvent, str | None]], save: list[bool]
) -> None:
    whole, memory = gone_through(story, Memory())
    divided, again = gone_through(story, Memory(), save=save)
    assert divided == whole
    assert again == memory
    assert told_and_saved(memory) == memory


@given(happenings())
def test_entering_a_period_forgets_only_what_means_nothing_any_more(story: list[tuple[UsageEvent, str | None]]) -> None:
    def that_count(found: Measured) -> Measured:
        return [part for part in found if not isinstance(part, Contribution) or part.quantity]

    whole, memory = gone_through(story, Memory())
    entered, smaller = gone_through(story, Memory(), enter=True)
    assert that_count(entered) == that_count(whole)
    # And by the clock: what is still to come of open sessions.
    meters = {meter.id: meter for meter in METERS}

    def still_open(of: Memory) -> Measured:
        outcomes = [
            session.outcome(meters[session.key.meter], t("12-31"))
            for session in sorted(open_sessions(of), key=lambda each: each.key)
        ]
        return [part for part in outcomes if part is not None]

    assert still_open(smaller) == still_open(memory)


@given(happenings(), st.integers(0, 12))
def test_a_copy_is_of_its_own(story: list[tuple[UsageEvent, str | None]], at: int) -> None:
    _, memory = gone_through(story[:at], Memory())
    before = memory.to_json()
    _, changed = gone_through(story[at:], memory.copy())
    assert memory.to_json() == before
    assert gone_through(story[at:], memory)[1] == changed


def test_an_open_session_keeps_the_whole_of_its_start() -> None:
    memory = Memory()
    start = replace(
        door("11-02 09:00:00.5", "in", **DATA), timed=False, subject="member:ada", thing="x", source="berlin/door/ü"
    )
    measured(presence("cap"), start, memory=memory)
    (session,) = open_sessions(told_and_saved(memory))
    assert session.event == start
    assert [(name, str(session.event.data[name])) for name in DATA] == [(name, str(DATA[name])) for name in DATA]
    assert session.event.position == start.position


def test_an_open_session_keeps_its_last_reading() -> None:
    memory, seen = Memory(), door("11-02 10:00", "seen")
    measured(presence("last_seen"), door("11-02 09:00", "in"), seen, memory=memory)
    assert [session.last for session in open_sessions(told_and_saved(memory))] == [seen.time]


def test_an_open_session_keeps_the_end_that_is_an_estimate() -> None:
    memory, left = Memory(), door("11-02 10:00", "out", estimated=True)
    measured(presence(), door("11-02 09:00", "in"), left, memory=memory)
    assert [session.said for session in open_sessions(told_and_saved(memory))] == [SaidEnd(left.key, left.time)]


def test_a_copy_knows_the_days_and_values_that_were_seen() -> None:
    memory = Memory()
    for meter in (reports("unique"), reports("unique_days", "day")):
        measured(meter, told("11-05", 5), memory=memory)
    assert memory.copy() == memory
    assert (len(memory.copy().seen), len(memory.copy().days)) == (1, 1)


def test_a_value_seen_in_a_period_is_known_when_that_is_entered_again() -> None:
    memory = Memory()
    measured(reports("unique"), told("12-02", "a"), memory=memory)
    memory = told_and_saved(memory)
    memory.enter(scene(door("12-03", "in")).period)
    assert measured(reports("unique"), told("12-03", "a"), memory=memory) == []


def test_numbers_are_written_as_strings() -> None:
    _, memory = gone_through([(door("11-02 09:00", "in", **DATA), "ada")], Memory())

    def numbers(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [found for item in value.values() for found in numbers(item)]
        if isinstance(value, list):
            return [found for item in value for found in numbers(item)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []

    assert numbers(memory.to_json()) == []
    assert all(memory.to_json().values())


def test_the_memory_stays_small() -> None:
    """A year of a member who forgets to leave, in a memory that enters its periods: nothing adds up."""
    memory = Memory()
    kept = [meter for meter in METERS if meter.pairing is None or meter.pairing.missing_end == "none"]
    sizes: list[int] = []
    for day in range(360):
        each = event(
            f"{day}", "door.access", t("01-01") + timedelta(days=day), {"direction": "in", "n": day, "desk": 1}
        )
        memory.enter(Periods(Terms("EUR", "Europe/Berlin")).at(each.time))
        for meter in kept:
            measure(meter, each, scene(each), memory)
        sizes.append(sum(len(part) for part in memory.to_json().values()))
    assert max(sizes) <= 80


def test_a_session_over_that_counts_nothing_is_forgotten_and_one_that_counts_is_kept() -> None:
    start, december = door("11-20 09:00", "in"), scene(door("12-02", "in")).period
    seen = door("11-20 10:00", "seen")
    for policy, readings, kept in [
        ("none", [], 0),
        ("last_seen", [], 0),
        ("last_seen", [seen], 1),
        ("cap", [], 1),
        ("close_at", [], 1),
    ]:
        memory = Memory()
        contributions(presence(policy), start, *readings, memory=memory)  # type: ignore[arg-type]
        memory.enter(december)
        assert len(memory.sessions) == kept


def test_what_can_still_go_on_is_kept() -> None:
    """What lies hours before a period begins, and is gone on with hours after: in the order in which a fold goes."""
    december = scene(door("12-01 00:00", "in")).period
    for meter, before, after in [
        (presence("none"), door("11-30 20:00", "in"), door("12-01 01:00", "out")),
        (presence("none", max_s=3 * 3600), door("11-30 20:00", "in"), door("11-30 23:00", "out")),
        (reports("counter", forget_s=7200), told("11-30 21:00", 5), told("11-30 23:00", 7)),
        (reports("counter", forget_s=7200), told("11-30 22:30", 5), told("12-01 00:30", 7)),
        (reports("counter"), told("11-05", 5), told("12-20", 7)),
    ]:
        memory = Memory()
        assert contributions(meter, before, memory=memory) == []
        memory.enter(december)
        assert len(contributions(meter, after, memory=memory)) == 1


def test_a_day_that_is_still_on_somewhere_is_kept() -> None:
    memory, days = Memory(), reports("unique_days", "day")
    assert len(measured(days, told("11-30 22:30", 1), memory=memory)) == 1
    memory.enter(scene(door("11-30 23:00", "in")).period)  # midnight of 1 December in Berlin
    assert measured(days, told("11-30 23:10", 1), memory=memory, site=HONOLULU) == []
    assert len(measured(days, told("11-30 23:20", 1), memory=memory)) == 1


def test_what_belongs_to_a_period_is_forgotten_with_it() -> None:
    memory = Memory()
    for meter in (reports("max"), reports("unique"), reports("unique_days", "day"), reports("counter", forget_s=7200)):
        measured(meter, told("11-05", 5), memory=memory)
    memory.enter(scene(door("12-02", "in")).period)
    assert memory == Memory()


def test_a_period_that_begins_in_the_morning_keeps_the_day_before_for_zones_behind() -> None:
    for at, kept in (("11-30 04:00", []), ("12-01 04:00", [(date(2026, 11, 30),)])):
        memory = Memory()
        measured(reports("unique_days", "day"), told(at, 1), memory=memory, site=HONOLULU)
        memory.enter(Period(t("12-01 05:00"), t("12-31 05:00")))
        assert list(memory.days.values()) == kept


def test_equal_memories_are_written_alike() -> None:
    story = [door(f"11-02 09:0{n}", "in", site=site, **DATA) for n, site in enumerate(("berlin", "tokyo"))]
    _, memory = gone_through([(each, member) for each in story for member in ("ada", "bob")], Memory())
    body = memory.to_json()
    assert min(len(rows) for rows in body.values()) > 1
    turned = Memory.from_json({name: rows[::-1] for name, rows in body.items()})
    assert turned == memory
    assert turned.to_json() == body


def test_days_are_forgotten_once_they_are_over_everywhere() -> None:
    memory, days = Memory(), reports("unique_days", "day")
    measured(days, *(told(f"11-{day:02}", 1) for day in range(1, 31)), memory=memory)
    assert [len(seen) for seen in memory.days.values()] == [2]
