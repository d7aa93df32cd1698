"""Printers' counters: what is told when, and what is no count."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Page
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cases.snmp import OBJECTS

FEED = VENDORS["snmp"].feeds["counters"]
COUNT = "1.3.6.1.2.1.43.10.2.1.4.1.1"
UNIT = "1.3.6.1.2.1.43.10.2.1.3.1.1"


def poll(cursor: Any = None, *, after: timedelta = timedelta(0), but: Mapping[str, int | None] | None = None) -> Page:
    configured = setup("snmp", "lounge", api_base="snmp://10.0.0.5")
    body = json.dumps({**OBJECTS, **(but or {})}).encode()
    return FEED.read(configured, cursor, Answer(status=200, body=body, received_at=RECEIVED + after))


def test_a_counter_is_told_with_its_unit() -> None:
    [event] = events(poll().items)
    assert event.time == RECEIVED
    assert dict(event.data) == {
        "printer": "lounge",
        "marker": "1.1",
        "count": 10_416,
        "unit": "impressions",
        "serial": "JPBHK12345",
    }


def test_a_counter_is_told_again_once_it_has_changed_or_a_day_is_over() -> None:
    first = poll()
    assert list(poll(first.cursor, after=timedelta(hours=23)).items) == []
    [changed] = events(poll(first.cursor, after=timedelta(minutes=15), but={COUNT: 10_420}).items)
    assert changed.data["count"] == 10_420
    assert len(poll(first.cursor, after=timedelta(days=1)).items) == 1


def test_a_counter_that_has_fallen_is_told_as_it_is() -> None:
    [event] = events(poll(poll().cursor, after=timedelta(minutes=15), but={COUNT: 10_410}).items)
    assert event.data["count"] == 10_410


@pytest.mark.parametrize(("unit", "shown"), [(8, "sheets"), (11, "unit 11"), (None, "unknown")])
def test_units_are_named(unit: int | None, shown: str) -> None:
    [event] = events(poll(but={UNIT: unit}).items)
    assert event.data["unit"] == shown


def test_what_is_asked_for_names_each_marker_and_each_device_once() -> None:
    configured = setup("snmp", api_base="10.0.0.5", options={"markers": ["1.1", "1.2"], "printer": "LOUNGE-MFP"})
    request = FEED.request(configured, None, RECEIVED)
    assert (request.over, request.url) == ("snmp", "10.0.0.5")
    assert request.arguments["oids"] == [
        "1.3.6.1.2.1.43.10.2.1.3.1.1",
        "1.3.6.1.2.1.43.10.2.1.4.1.1",
        "1.3.6.1.2.1.43.10.2.1.3.1.2",
        "1.3.6.1.2.1.43.10.2.1.4.1.2",
        "1.3.6.1.2.1.43.5.1.1.17.1",
    ]


def test_a_marker_that_the_printer_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="1-3-6-1-2-1-43-10-2-1-4-1-1"):
        poll(but={COUNT: None})
