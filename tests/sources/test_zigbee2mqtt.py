from datetime import datetime, timedelta
from typing import Any

import pytest

from meter.model.wire import WireEvent
from meter.sources.doors.zigbee2mqtt import read
from meter.sources.spec import Setup
from tests.sources.case import RECEIVED, events, message, setup
from tests.sources.cases.zigbee2mqtt import CASE, TOPIC, shown


def access(given: Setup = CASE.setup, *, topic: str = TOPIC, at: datetime = RECEIVED, **changes: Any) -> WireEvent:
    (made,) = events(read(given, message(topic, shown(**changes), at=at)).items)
    return made


def test_a_tag_at_a_keypad_is_an_access() -> None:
    assert access().data == {"door": "berlin-tag", "granted": True, "direction": "in"}
    assert access().time is None


def test_a_pin_stands_nowhere() -> None:
    first, second = access(action_code="493817"), access(action_code="271828")
    assert first.subject is None
    assert first.data["credential"] == "PIN"
    assert b"493817" not in first.body
    assert first.id == second.id


def test_a_transaction_tells_two_acts_apart() -> None:
    assert access().id != access(action_transaction=100).id
    assert access().id == access(at=RECEIVED + timedelta(seconds=20)).id
    assert access().id != access(at=RECEIVED + timedelta(seconds=40)).id


def test_an_action_may_lead_out() -> None:
    given = setup("zigbee2mqtt", options={"actions": {"arm_all_zones": "out"}})
    assert access(given, action="arm_all_zones").data["direction"] == "out"
    assert access(given).data["direction"] == "in"


def test_another_reader_has_another_field() -> None:
    given = setup("zigbee2mqtt", options={"field": "tag", "tag_prefix": ""})
    assert access(given, tag="04:a2:99:1b").subject == "badge:04A2991B"
    assert not read(given, message(TOPIC, shown())).items


@pytest.mark.parametrize(
    ("topic", "door"),
    [
        ("zigbee2mqtt/Front door", "Front door"),
        ("zigbee2mqtt/floor 1/keypad", "floor 1/keypad"),
        ("north/zigbee2mqtt/keypad", "keypad"),
        ("zigbee/keypad", "keypad"),
        ("keypad", "keypad"),
        ("zigbee2mqtt", "zigbee2mqtt"),
    ],
)
def test_the_friendly_name_is_the_door(topic: str, door: str) -> None:
    assert access(topic=topic).data["door"] == door


@pytest.mark.parametrize("last", ["availability", "set", "get", "action"])
def test_what_is_not_the_devices_state_is_left_out(last: str) -> None:
    assert not read(CASE.setup, message(f"{TOPIC}/{last}", shown())).items
