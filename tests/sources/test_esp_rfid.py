from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.wire import Refusal, WireEvent
from meter.sources.doors.esp_rfid import read
from meter.sources.spec import Setup
from tests.sources.case import RECEIVED, events, message, setup
from tests.sources.cases.esp_rfid import CASE, TOPIC, shown


def accesses(given: Setup = CASE.setup, *, at: datetime = RECEIVED, **changes: Any) -> list[WireEvent]:
    return events(read(given, message(TOPIC, shown(**changes), at=at)).items)


def test_an_access_is_at_the_boards_time() -> None:
    (made,) = accesses()
    assert made.source == "berlin/door/esp-rfid-rfid"
    assert made.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert made.data == {"door": "Main", "granted": True, "direction": "in", "hint": {"name": "Mira Muster"}}


def test_each_door_of_a_board_is_its_own_event() -> None:
    first, second = accesses(access=["Always", "Disabled"], doorName=["Main", "Studio"])
    assert (first.data["door"], first.data["granted"]) == ("Main", True)
    assert (second.data["door"], second.data["granted"], second.data["reason"]) == ("Studio", False, "Disabled")
    assert first.id != second.id


def test_a_door_that_cannot_be_read_is_one_refusal() -> None:
    items = read(CASE.setup, message(TOPIC, shown(access=["Always", 7, "Always"], doorName=["A", "B", None]))).items
    assert [type(item) for item in items] == [WireEvent, Refusal, Refusal]


@pytest.mark.parametrize("state", ["Disabled", "Expired", "Denied", "always", ""])
def test_only_what_opens_is_granted(state: str) -> None:
    if state:
        (made,) = accesses(access=state)
        assert (made.data["granted"], made.data["reason"]) == (False, state)
    assert accesses(access="Admin")[0].data["granted"] is True


def test_known_is_a_word_and_not_a_boolean() -> None:
    """The string "false" is true to whoever asks it carelessly."""
    (made,) = accesses(isKnown="false", access="Always", username="Unknown")
    assert (made.data["granted"], made.data["reason"]) == (False, "unknown tag")
    assert "hint" not in made.data
    assert accesses(isKnown=True)[0].data["granted"] is True


def test_a_clock_that_shows_local_time_is_understood() -> None:
    local = setup("esp-rfid", timezone="Europe/Berlin", options={"clock": "local"})
    assert accesses(local)[0].time == datetime(2026, 3, 2, 7, 1, 27, tzinfo=UTC)
    # 02:30 on the night on which the clocks go back comes twice.
    (twice,) = accesses(local, time=1792895400)
    assert twice.attributes == {"timeflag": "ambiguous"}


def test_before_the_clock_is_set_reads_are_known_by_a_window() -> None:
    """After every start the board shows the same first seconds: they tell nothing apart."""
    first = accesses(time=12)[0]
    assert (first.time, first.attributes) == (None, {"timeflag": "unset_clock"})
    assert accesses(time=13, at=RECEIVED + timedelta(seconds=9))[0].id == first.id
    assert accesses(time=12, at=RECEIVED + timedelta(days=1))[0].id != first.id
    assert accesses(time=..., at=RECEIVED)[0].time is None


def test_two_reads_at_two_moments_are_two() -> None:
    assert accesses()[0].id != accesses(time=1772438488)[0].id
    assert accesses()[0].id != accesses(hostname="door-back")[0].id
    assert accesses()[0].id == accesses(at=RECEIVED + timedelta(days=1))[0].id


def test_the_board_is_the_door_where_none_is_named() -> None:
    assert accesses(doorName=...)[0].data["door"] == "door-main"
    assert accesses(doorName=..., door="by-1.x")[0].data["door"] == "by-1.x"
    assert accesses(doorName=..., hostname=...)[0].data["door"] == "rfid"
    assert accesses(setup("esp-rfid", options={"door": "Front"}))[0].data["door"] == "Front"


def test_a_door_that_was_opened_by_command_is_nobodys() -> None:
    (made,) = accesses(username="MQTT", uid=" ")
    assert made.subject is None
    assert made.data == {"door": "Main", "granted": True, "direction": "in", "by": "command"}
