"""Marks are written at sending, and are no part of what an event says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.uplink.clocks import Correction
from edge.uplink.marks import marked, together
from meter.model.wire import WireEvent, read_event, read_message, stand_in

HEARD = datetime(2026, 11, 2, 6, 0, 5, tzinfo=UTC)
RECEIVED = datetime(2026, 11, 9, 12, 0, tzinfo=UTC)
THREE_HOURS_BACK = Correction(offset_ms=-3 * 3_600_000, flag="unsynchronised")
UNTIMED = (
    b'{"specversion":"1.0","id":"a","source":"berlin/door/main","type":"door.access"'
    b',"data":{"door":"main","granted":true,"time":"x"}} \n'
)
TIMED = UNTIMED.replace(b'"type"', b'"time":"2026-11-02T06:00:00Z","type"')


def read(body: bytes) -> WireEvent:
    event = read_event(body)
    assert isinstance(event, WireEvent)
    return event


def test_a_marked_envelope_is_the_same_event_with_its_place() -> None:
    plain, sent = read(TIMED), read(marked(TIMED, edge="hut", boot=7, sequence=3))
    assert (sent.edge, sent.boot, sent.sequence, sent.offset_ms, sent.attributes) == ("hut", 7, 3, None, None)
    assert sent.content_hash == plain.content_hash


def test_an_offset_moves_the_time_and_not_the_content() -> None:
    plain = read(TIMED)
    sent = read(marked(TIMED, edge="hut", boot=7, sequence=3, heard=HEARD, correction=THREE_HOURS_BACK))
    assert sent.time is not None
    assert plain.time is not None
    assert sent.time - plain.time == timedelta(hours=3)
    assert sent.attributes == {"timeflag": "unsynchronised"}
    assert sent.content_hash == plain.content_hash


def test_what_has_no_time_happened_when_the_agent_heard_of_it() -> None:
    """Whenever it was sent, and however often its device said it, it is one event with one content."""
    plain = read(UNTIMED)
    sent = read(marked(UNTIMED, edge="hut", boot=7, sequence=3, heard=HEARD, correction=THREE_HOURS_BACK))
    later = read(marked(UNTIMED, edge="hut", boot=7, sequence=4, heard=HEARD + timedelta(seconds=9)))
    assert sent.time is None
    assert stand_in(sent, RECEIVED) == HEARD + timedelta(hours=3)
    assert stand_in(later, RECEIVED) == HEARD + timedelta(seconds=9)
    assert plain.content_hash == sent.content_hash == later.content_hash


def test_a_device_s_delay_is_taken_off_what_the_agent_says() -> None:
    delayed = UNTIMED.replace(b'"type"', b'"delayms":5000,"type"')
    sent = read(marked(delayed, edge="hut", boot=7, sequence=3, heard=HEARD))
    assert stand_in(sent, RECEIVED) == HEARD - timedelta(seconds=5)


def test_nobody_but_an_agent_says_when_it_heard_of_something() -> None:
    claimed = UNTIMED.replace(b'"type"', b'"edgetime":"2026-01-01T00:00:00Z","type"')
    assert stand_in(read(claimed), RECEIVED) == RECEIVED
    nonsense = UNTIMED.replace(b'"type"', b'"edgetime":"yesterday","edge":"hut","type"')
    assert stand_in(read(nonsense), RECEIVED) == RECEIVED


def test_a_flag_of_the_source_stands() -> None:
    flagged = UNTIMED.replace(b'"type"', b'"timeflag":"fallback","type"')
    sent = read(marked(flagged, edge="hut", boot=7, sequence=3, heard=HEARD, correction=THREE_HOURS_BACK))
    assert (sent.attributes or {})["timeflag"] == "fallback"


def test_a_message_holds_a_batch() -> None:
    bodies = [marked(TIMED, edge="hut", boot=7, sequence=number) for number in (1, 2)]
    found = [event.sequence for event in read_message(together(bodies))]
    assert found == [1, 2]


@pytest.mark.parametrize(
    "extension", ['"sequence":"17"', '"boot":3', '"edgeoffsetms":0', '"edge":null', '"edgetime":null']
)
def test_extensions_of_a_device_s_own_give_way_to_the_marks(extension: str) -> None:
    """CloudEvents has an extension `sequence`: without `edge` the gateway looks at none of these, by either way."""
    body = UNTIMED.replace(b'"type"', extension.encode() + b',"type"')
    sent = read(marked(body, edge="hut", boot=7, sequence=3, heard=HEARD, correction=THREE_HOURS_BACK))
    assert (sent.edge, sent.boot, sent.sequence) == ("hut", 7, 3)
    assert stand_in(sent, RECEIVED) == HEARD + timedelta(hours=3)
    assert sent.content_hash == read(body).content_hash


@pytest.mark.parametrize(("flag", "stands"), [("true", True), ("7", 7), ("null", "unsynchronised")])
def test_what_a_device_says_of_its_time_stands_whatever_it_is(flag: str, stands: object) -> None:
    body = UNTIMED.replace(b'"type"', b'"timeflag":' + flag.encode() + b',"type"')
    sent = read(marked(body, edge="hut", boot=7, sequence=3, heard=HEARD, correction=THREE_HOURS_BACK))
    assert sent.attributes is not None
    assert sent.attributes["timeflag"] == stands
