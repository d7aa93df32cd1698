"""Sessions of which only what a bill needs was kept: what followed from them stands, what is new still follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.model.event import UsageEvent
from meter.sources.wifi.sessions import READ
from tests.sources.test_wifi_sessions import _THINGS, ADA, DEVICE, Log, at, log_of, told


def thinned(log: Log) -> Log:
    """Keep what the rules of a session read, and let everything else of each event go."""
    for kept in (log.facts, log.derived):
        for name, event in kept.items():
            kept[name] = replace(event, data={key: value for key, value in event.data.items() if key in READ})
            log.thinned.add(name)
    return log


@settings(max_examples=300)
@given(_THINGS)
def test_nothing_is_told_again_where_nothing_is_new(things: list[UsageEvent | datetime]) -> None:
    log = log_of(*things)
    shown, derived = log.shown, set(log.derived)
    assert thinned(log).follows() == []
    assert (log.shown, set(log.derived)) == (shown, derived)


@settings(max_examples=300)
@given(st.data())
def test_what_comes_late_counts_as_if_nothing_had_gone(data: st.DataObject) -> None:
    things = data.draw(_THINGS)
    first = data.draw(st.integers(0, len(things)))
    log = thinned(log_of(*things[:first]))
    for thing in things[first:]:
        log.take(thing)
        log.settle()
    whole = log_of(*things[:first])
    for thing in things[first:]:
        whole.take(thing)
        whole.settle()
    assert sorted(log.shown, key=str) == sorted(whole.shown, key=str)


def test_a_person_who_is_named_late_takes_over_what_was_thinned() -> None:
    log = thinned(log_of(told("start", 0, DEVICE), told("interim", 5, DEVICE, seconds=300)))
    log.take(told("interim", 9, ADA, seconds=540))
    log.take(at(20))
    assert [row[:3] for row in log.settle().shown] == [
        (0, "start", ADA), (5, "interim", ADA), (9, "interim", ADA), (9, "stop", ADA),
    ]  # fmt: skip
    assert log.follows() == []
