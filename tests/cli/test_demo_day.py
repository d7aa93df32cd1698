"""The day that the demo plays: since when its people are members, and how its doors report."""

from __future__ import annotations

import re
from datetime import date

import msgspec
import pytest

from meter.catalog.load import read_catalog_text
from meter.cli.demo_day import DemoDay, demo_catalog
from meter.examples import example_catalog
from meter.simulate import TrueEvent, simulate

MONDAY = date(2026, 11, 16)


@pytest.mark.parametrize(
    ("today", "since"),
    [
        (date(2026, 11, 22), "2026-10-01"),
        # The first of the five working days before is Tuesday, 24 November.
        (date(2026, 12, 1), "2026-10-01"),
        (date(2026, 12, 8), "2026-11-01"),
        # Monday, 28 December.
        (date(2027, 1, 4), "2026-11-01"),
    ],
)
def test_one_month_has_gone_by_before_the_month_of_the_first_day(today: date, since: str) -> None:
    text = demo_catalog(today=today)
    assert text.count(f"from: {since}") == example_catalog().count("from: 2026-10-01") > 20
    assert set(re.findall(r"from: (\d{4}-\d\d-\d\d)", text)) == {since}
    assert read_catalog_text([("northside.yaml", text)]).warnings == ()


def passed(event: TrueEvent) -> tuple[str, str] | None:
    """Whose badge passed the main door, and which way."""
    body = msgspec.json.decode(event.body)
    if event.source != "berlin/door/main" or body["type"] != "door.access" or not body["data"]["granted"]:
        return None
    return body["subject"], body["data"]["direction"]


@pytest.mark.parametrize("weekday", range(5))
def test_the_main_door_reports_a_visit_when_it_is_over(weekday: int) -> None:
    events = tuple(simulate(start_day=MONDAY.replace(day=16 + weekday), seed=3))
    demo = DemoDay(day=MONDAY, seed=3, events=events)
    deliveries = demo.deliveries()
    assert {event for delivery in deliveries for event in delivery.events} == set(events)
    assert [delivery.at for delivery in deliveries] == sorted(delivery.at for delivery in deliveries)
    visits = []
    for delivery in deliveries:
        swipes = [swipe for swipe in map(passed, delivery.events) if swipe is not None]
        # After an outage the door sends what it has of everybody.
        if swipes and len({badge for badge, _ in swipes}) == 1:
            visits.append([direction for _, direction in swipes])
            assert visits[-1][-1] == "out" or delivery.at == demo.end, "a way in was reported by itself"
    assert ["in", "out"] in visits
