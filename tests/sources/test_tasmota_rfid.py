from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.doors.tasmota import read
from meter.sources.spec import Setup
from tests.sources.case import RECEIVED, events, message, setup
from tests.sources.cases.tasmota_rfid import CASE, TOPIC, shown


def access(given: Setup = CASE.setup, *, topic: str = TOPIC, at: datetime = RECEIVED, **changes: Any) -> WireEvent:
    (made,) = events(read(given, message(topic, shown(**changes), at=at)).items)
    return made


def test_the_devices_local_time_is_of_its_zone() -> None:
    assert access().time == datetime(2026, 3, 2, 8, 13, 52, tzinfo=UTC)
    assert access(Time="2026-03-02T09:13:52+01:00").time == access().time
    assert access(setup("tasmota-rfid", timezone="Asia/Tokyo")).time == datetime(2026, 3, 2, 0, 13, 52, tzinfo=UTC)


def test_an_hour_that_comes_twice_is_flagged() -> None:
    assert access(Time="2026-10-25T02:30:00").attributes == {"timeflag": "ambiguous"}


def test_a_clock_that_was_never_set_leaves_a_window() -> None:
    first = access(Time="1970-01-01T00:00:08")
    assert (first.time, first.attributes) == (None, {"timeflag": "unset_clock"})
    assert access(Time="1970-01-01T00:00:09", at=RECEIVED + timedelta(seconds=5)).id == first.id
    assert access(Time="1970-01-01T00:00:08", at=RECEIVED + timedelta(days=1)).id != first.id
    assert access(Time=...).id == first.id


def test_what_is_not_authenticated_is_denied() -> None:
    denied = access(RC522=..., PN532={"UID": "94D8FC5F", "Auth": "NOk"})
    assert (denied.data["granted"], denied.data["reason"]) == (False, "not authenticated")
    assert access(RC522=..., PN532={"UID": "94D8FC5F", "Auth": "None"}).data["granted"] is True


@pytest.mark.parametrize(
    ("topic", "door"), [(TOPIC, "kiosk"), ("kiosk/tele/SENSOR", "kiosk"), ("a/b/tele/SENSOR", "a/b")]
)
def test_the_device_is_the_door(topic: str, door: str) -> None:
    assert access(topic=topic).data == {"door": door, "granted": True, "direction": "in"}


def test_another_sensor_may_read_tags() -> None:
    given = setup("tasmota-rfid", options={"sensors": ["Wiegand"], "badge_form": "decimal", "badge_bytes": 3})
    assert access(given, Wiegand={"UID": 10656027, "Size": 26}).subject == "badge:A2991B"


@pytest.mark.parametrize("time", ["soon", "2026-13-45T99:99:99", "09:13:52"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(CASE.setup, message(TOPIC, shown(Time=time)))
    assert refused.value.code == "bad_payload"
