"""What follows from a Wi-Fi session is a function of the set of its events (`meter.sources.wifi.sessions`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.model.event import VOIDED, UsageEvent
from meter.model.wire import WireEvent
from meter.sources.wifi.sessions import Known, missing, void_id
from tests.sources.case import events

SOURCE = "berlin/wifi/radius-aps"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ADA, BOB, DEVICE = "user:ada", "user:bob", "mac:aa-bb-cc-dd-ee-01"
NAS = "ap-lobby"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def told(
    status: str,
    minutes: float,
    subject: str | None = ADA,
    *,
    seconds: int | None = None,
    timed: bool = True,
    **data: Any,
) -> UsageEvent:
    rank = ("start", "interim", "stop").index(status)
    counted = {"seconds": seconds, "bytes_in": None if seconds is None else seconds * 10}
    made = {"session": "s-1", "status": status, "nas": NAS, "protocol": "radius", **counted, **data}
    return UsageEvent(
        source=SOURCE,
        id=f"{rank}-{status}-{minutes}-{subject}",
        type="wifi.session",
        site="berlin",
        time=at(minutes),
        timed=timed,
        subject=subject,
        data={name: value for name, value in made.items() if value is not None},
    )


class Log:
    """What is stored of one session, and how it is looked at."""

    def __init__(self) -> None:
        self.facts: dict[str, UsageEvent] = {}
        self.derived: dict[str, UsageEvent] = {}
        self.ours: set[str] = set()
        self.theirs: set[str] = set()
        self.restarts: list[datetime] = []
        self.thinned: set[str] = set()

    def follows(self) -> list[WireEvent]:
        known = Known(
            source=SOURCE,
            facts=sorted((e for e in self.facts.values() if e.id not in self.theirs), key=lambda e: e.position),
            derived=list(self.derived.values()),
            ours=set(self.ours),
            others=set(self.theirs),
            thinned=self.thinned,
            start_taken=any(e.data["status"] == "start" for e in self._taken),
        )
        return events(missing(known, {NAS: sorted(self.restarts)}))

    @property
    def _taken(self) -> list[UsageEvent]:
        return [e for e in (*self.facts.values(), *self.derived.values()) if e.id in self.theirs]

    def store(self, made: Sequence[WireEvent]) -> None:
        for event in made:
            if event.type == VOIDED:
                assert event.id == void_id(event.data["id"])
                self.ours.add(event.data["id"])
            elif event.id not in self.derived:
                assert event.time is not None
                self.derived[event.id] = UsageEvent(
                    source=event.source, id=event.id, type=event.type, site=event.site, time=event.time,
                    subject=event.subject, data=event.data,
                )  # fmt: skip

    def take(self, thing: UsageEvent | datetime | str) -> None:
        """Store a fact, a restart, or somebody's void of an id."""
        if isinstance(thing, UsageEvent):
            self.facts[thing.id] = thing
        elif isinstance(thing, datetime):
            self.restarts.append(thing)
        else:
            self.theirs.add(thing)

    def settle(self) -> Log:
        for _ in range(20):
            made = self.follows()
            if not made:
                return self
            self.store(made)
        raise AssertionError("it never comes to an end")

    @property
    def counting(self) -> list[UsageEvent]:
        """What counts, in its order."""
        gone = self.ours | self.theirs
        return sorted(
            (e for e in (*self.facts.values(), *self.derived.values()) if e.id not in gone), key=lambda e: e.position
        )

    @property
    def shown(self) -> list[tuple[Any, ...]]:
        """Each counting event without its id: minutes, status, whose, seconds, whether estimated."""
        return [
            (
                (e.time - NOON) / timedelta(minutes=1), e.data["status"], e.subject, e.data.get("seconds"),
                e.data.get("estimated", False),
            )
            for e in self.counting
        ]  # fmt: skip


def log_of(*things: UsageEvent | datetime | str) -> Log:
    log = Log()
    for thing in things:
        log.take(thing)
    return log.settle()


def test_a_session_that_tells_all_is_left_alone() -> None:
    log = log_of(told("start", 0), told("interim", 5, seconds=300), told("stop", 10, seconds=600))
    assert (log.derived, log.ours) == ({}, set())


def test_what_a_device_used_is_its_persons() -> None:
    log = log_of(told("start", 0, DEVICE), told("interim", 5, ADA, seconds=300), told("stop", 10, None, seconds=600))
    assert log.shown == [
        (0, "start", ADA, None, False), (5, "interim", ADA, 300, False), (10, "stop", ADA, 600, False),
    ]  # fmt: skip
    assert len(log.ours) == 2


def test_the_earliest_person_counts_and_others_stay() -> None:
    log = log_of(told("start", 0, DEVICE), told("interim", 5, BOB, seconds=300), told("stop", 10, ADA, seconds=600))
    assert [row[2] for row in log.shown] == [BOB, BOB, ADA]


def test_without_a_person_a_device_stays_one() -> None:
    log = log_of(told("start", 0, DEVICE), told("stop", 10, DEVICE, seconds=600))
    assert (log.derived, log.ours) == ({}, set())


def test_a_restart_ends_what_was_open_at_its_last_reading() -> None:
    log = log_of(told("start", 0), told("interim", 5, seconds=300), at(30))
    assert log.shown[-1] == (5, "stop", ADA, 300, True)
    assert log.counting[-1].data["bytes_in"] == 3000
    log = log_of(told("start", 0), at(30))
    assert log.shown[-1] == (0, "stop", ADA, None, True)


def test_a_restart_ends_nothing_else() -> None:
    ended = (told("start", 0), told("stop", 10, seconds=600))
    assert log_of(*ended, at(30)).derived == {}
    assert log_of(told("start", 31), at(30)).derived == {}
    assert log_of(told("start", 30), at(30)).derived == {}, "it began in the second of the restart"
    assert log_of(told("start", 0), told("interim", 40, seconds=2400), at(30)).derived == {}, "it went on"
    assert log_of(told("start", 0, nas="ap-bar"), at(30)).derived == {}


def test_off_and_on_again_end_it_once() -> None:
    log = log_of(told("start", 0), told("interim", 5, seconds=300), at(30), at(31))
    assert [row[1] for row in log.shown] == ["start", "interim", "stop"]


def test_the_real_end_takes_the_estimate_back() -> None:
    log = log_of(told("start", 0), told("interim", 5, seconds=300), at(30))
    log.take(told("interim", 10, seconds=600))
    assert log.settle().shown[-1] == (10, "stop", ADA, 600, True)
    log.take(told("stop", 12, seconds=720))
    assert log.settle().shown == [
        (0, "start", ADA, None, False), (5, "interim", ADA, 300, False), (10, "interim", ADA, 600, False),
        (12, "stop", ADA, 720, False),
    ]  # fmt: skip


def test_a_name_that_is_used_again_is_another_session() -> None:
    log = log_of(
        told("start", 0), told("interim", 5, seconds=300), at(30), told("start", 30), told("stop", 40, seconds=600)
    )
    assert [(row[0], row[1]) for row in log.shown] == [
        (0, "start"), (5, "interim"), (5, "stop"), (30, "start"), (40, "stop"),
    ]  # fmt: skip


def test_a_start_that_is_missing_follows_from_the_seconds() -> None:
    log = log_of(told("interim", 5, seconds=300), told("stop", 10, seconds=600))
    assert log.shown[0] == (0, "start", ADA, 0, False)
    log.take(told("start", 0.5))
    assert log.settle().shown[0] == (0.5, "start", ADA, None, False)
    assert [row[1] for row in log.shown] == ["start", "interim", "stop"]


def test_what_is_not_by_radius_may_have_had_no_start() -> None:
    log = log_of(told("interim", 5, seconds=300, protocol=None), told("stop", 10, seconds=600, protocol=None))
    assert log.derived == {}


def test_a_start_heard_after_the_stop_opens_nothing() -> None:
    log = log_of(told("stop", 10, seconds=600), told("start", 10.1, timed=False))
    assert [(row[0], row[1]) for row in log.shown] == [(0, "start"), (10, "stop")]
    log = log_of(told("stop", 10), told("start", 10.1, timed=False))
    assert [(row[0], row[1]) for row in log.shown] == [(10, "start"), (10, "stop")]
    log = log_of(told("start", 0), told("stop", 10, seconds=600), told("start", 10.1, timed=False))
    assert [row[1] for row in log.shown] == ["start", "stop", "start"], "it is the next one"


def test_what_somebody_took_back_stays_away() -> None:
    weak, strong = told("start", 0, DEVICE), told("stop", 10, ADA, seconds=600)
    for order in ((weak, strong, weak.id), (weak.id, weak, strong), (strong, weak.id, weak)):
        assert (0, "start", ADA, None, False) not in log_of(*order).shown
    log = log_of(weak, strong)
    (copy,) = log.derived
    log.take(copy)
    log.settle()
    log.take(told("interim", 5, BOB, seconds=300))  # whose it would have been now
    assert (0, "start") not in [row[:2] for row in log.settle().shown]


def test_a_person_that_is_taken_back_leaves_the_device() -> None:
    weak, strong = told("start", 0, DEVICE), told("stop", 10, ADA, seconds=600)
    log = log_of(weak, strong)
    log.take(strong.id)
    assert log.settle().shown == [(0, "start", DEVICE, None, False)]


def test_ids_stay_short_and_in_order() -> None:
    long = UsageEvent(
        source=SOURCE, id="x" * 256, type="wifi.session", site="berlin", time=NOON, subject=ADA,
        data={"session": "s-1", "status": "start", "nas": NAS},
    )  # fmt: skip
    log = log_of(long, at(5))
    assert [row[1] for row in log.shown] == ["start", "stop"]
    assert all(len(name) < 256 for name in log.derived)


# --- laws -------------------------------------------------------------------------------------------------------------

_MINUTES = st.integers(0, 12).map(float)
_SUBJECTS = st.sampled_from([ADA, BOB, DEVICE, None])
_TOLD = st.builds(
    told,
    st.sampled_from(["start", "interim", "interim", "stop"]),
    _MINUTES,
    _SUBJECTS,
    seconds=st.one_of(st.none(), st.integers(0, 900)),
    timed=st.booleans(),
)
_THINGS = st.lists(st.one_of(_TOLD, _MINUTES.map(at)), min_size=1, max_size=9, unique_by=lambda t: getattr(t, "id", t))


@settings(max_examples=400)
@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    """Any order, looked at at any moments, by workers of which one may have seen only a part: the same counts."""
    things = data.draw(_THINGS)
    expected = log_of(*things)
    log = Log()
    stale: list[WireEvent] = []
    for thing in data.draw(st.permutations(things)):
        log.take(thing)
        match data.draw(st.integers(0, 4)):
            case 0:
                log.settle()
            case 1:
                log.store(log.follows())
            case 2:
                stale = log.follows()  # and is slow
            case 3:
                made = log.follows()
                log.store(made[: data.draw(st.integers(0, len(made)))])  # and is killed
            case _:
                log.store(stale)
    log.settle()
    # A copy of a copy has another id: in one instant it may stand elsewhere.
    assert sorted(log.shown, key=str) == sorted(expected.shown, key=str)


@settings(max_examples=200)
@given(st.data())
def test_ids_too_where_one_looks_at_a_time(data: st.DataObject) -> None:
    """Where every event has a clock of its own, so that none is found to be late, and no longer to be."""
    things = [thing for thing in data.draw(_THINGS) if isinstance(thing, datetime) or thing.timed]
    log = Log()
    for thing in data.draw(st.permutations(things)):
        log.take(thing)
        if data.draw(st.booleans()):
            log.settle()
    assert [e.position for e in log.settle().counting] == [e.position for e in log_of(*things).counting]


def test_what_becomes_right_again_has_the_id_that_it_would_have_had() -> None:
    """Whose it is, and where it was cut, goes one way and back as more becomes known."""
    names: list[UsageEvent | datetime] = [
        told("start", 0, DEVICE),
        told("interim", 9, ADA),
        told("interim", 6, BOB),
        told("interim", 3, ADA),
    ]
    cuts: list[UsageEvent | datetime] = [
        told("start", 0), told("interim", 5, seconds=300), at(6), told("interim", 9, seconds=540),
        told("start", 7), told("stop", 10, seconds=180),
    ]  # fmt: skip
    for story in (names, cuts):
        log = Log()
        for thing in story:
            log.take(thing)
            log.settle()
        assert [e.position for e in log.counting] == [e.position for e in log_of(*story).counting]


@settings(max_examples=200)
@given(st.data())
def test_what_somebody_takes_back_may_come_at_any_time(data: st.DataObject) -> None:
    facts = data.draw(st.lists(_TOLD, min_size=2, max_size=6, unique_by=lambda t: t.id))
    voids = data.draw(st.lists(st.sampled_from([fact.id for fact in facts]), max_size=2, unique=True))
    restarts = data.draw(st.lists(_MINUTES.map(at), max_size=2))
    things: list[UsageEvent | datetime | str] = [*facts, *voids, *restarts]
    log = Log()
    for thing in data.draw(st.permutations(things)):
        log.take(thing)
        if data.draw(st.booleans()):
            log.settle()
    assert sorted(log.settle().shown, key=str) == sorted(log_of(*things).shown, key=str)


@given(_THINGS)
def test_nothing_is_counted_twice(things: list[UsageEvent | datetime]) -> None:
    """As many readings count as were told: each once, for one person; what is added is starts and stops only."""
    log = log_of(*things)
    told_of = [e for e in log.facts.values() if e.data["status"] == "interim"]
    assert len([e for e in log.counting if e.data["status"] == "interim"]) == len(told_of)
    persons = [e.subject for e in sorted(log.facts.values(), key=lambda e: e.position) if e.subject in {ADA, BOB}]
    if persons:
        assert all(e.subject in {ADA, BOB} for e in log.counting)
