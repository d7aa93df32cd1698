"""What a delivery may do to events, and what it may not."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.simulate import NO_FAULTS, Faults, TrueEvent, deliver, simulate

DAY = date(2026, 11, 18)
WORST = Faults(repeated=30, device_offline=60, site_offline=40, jitter_ms_max=60_000)
seeds = st.integers(min_value=0, max_value=10**9)
percents = st.integers(min_value=0, max_value=100)
faults = st.builds(
    Faults,
    repeated=percents,
    device_offline=percents,
    site_offline=percents,
    jitter_ms_max=st.integers(min_value=0, max_value=3_600_000),
)


def day_events(seed: int = 1, *, days: int = 1) -> list[TrueEvent]:
    return list(simulate(start_day=DAY, sites=2, members=8, days=days, seed=seed))


@given(seed=seeds, faults=faults)
@settings(max_examples=40)
def test_every_event_arrives_and_never_before_it_happened(seed: int, faults: Faults) -> None:
    events = day_events(seed % 50, days=2)
    deliveries = list(deliver(events, seed=seed, faults=faults))
    assert {event for delivery in deliveries for event in delivery.events} == set(events)
    for delivery in deliveries:
        for event in delivery.events:
            assert delivery.source == event.source
            assert event.time <= delivery.at <= event.time + timedelta(days=1, hours=2)
    assert [delivery.at for delivery in deliveries] == sorted(delivery.at for delivery in deliveries)


@given(seed=seeds)
@settings(max_examples=20)
def test_the_same_seed_delivers_the_same(seed: int) -> None:
    events = day_events()
    assert list(deliver(events, seed=seed, faults=WORST)) == list(deliver(iter(events), seed=seed, faults=WORST))


def test_without_faults_each_event_arrives_once_on_time_in_order() -> None:
    events = day_events()
    deliveries = list(deliver(events, seed=1, faults=NO_FAULTS))
    assert [delivery.events for delivery in deliveries] == [(event,) for event in events]
    assert [delivery.at for delivery in deliveries] == [event.time for event in events]


def test_bad_lines_repeat_shuffle_and_hold_back() -> None:
    events = day_events(days=3)
    arrived = [event for delivery in deliver(events, seed=3, faults=WORST) for event in delivery.events]
    assert max(Counter(arrived).values()) > 1
    firsts = list(dict.fromkeys(arrived))
    assert firsts != events
    assert sorted(firsts, key=events.index) == events
    late = max(
        delivery.at - event.time for delivery in deliver(events, seed=3, faults=WORST) for event in delivery.events
    )
    assert late > timedelta(hours=3)


def test_a_message_is_one_object_or_an_array_on_the_topic_of_its_device() -> None:
    kinds = set()
    for delivery in deliver(day_events(days=3), seed=3, faults=WORST):
        payload = json.loads(delivery.payload)
        kinds.add(type(payload))
        bodies = payload if isinstance(payload, list) else [payload]
        assert [body["id"] for body in bodies] == [event.id for event in delivery.events]
        assert {f"spaces/{body['source']}" for body in bodies} == {delivery.topic}
    assert kinds == {dict, list}
