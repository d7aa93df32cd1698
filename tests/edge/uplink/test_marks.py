"""Marks are written at sending, and are no part of what an event says."""

from __future__ import annotations

from edge.uplink.clocks import Correction
from edge.uplink.marks import marked, together
from meter.model.wire import WireEvent, read_event, read_message

BODY = b'{"specversion":"1.0","id":"a","source":"berlin/door/main","type":"door.access","time":"2026-11-02T09:00:00Z"'
BARE = BODY + b',"data":{"door":"main","granted":true}} \n'


def read(body: bytes) -> WireEvent:
    event = read_event(body)
    assert isinstance(event, WireEvent)
    return event


def test_a_marked_envelope_is_the_same_event_with_its_place() -> None:
    plain, sent = read(BARE), read(marked(BARE, edge="hut", boot=7, sequence=3))
    assert (sent.edge, sent.boot, sent.sequence, sent.offset_ms) == ("hut", 7, 3, None)
    assert sent.content_hash == plain.content_hash


def test_an_offset_moves_the_time_and_not_the_content() -> None:
    corrected = Correction(offset_ms=-3_600_000, flag="unsynchronised")
    plain, sent = read(BARE), read(marked(BARE, edge="hut", boot=7, sequence=3, correction=corrected))
    assert sent.time is not None
    assert plain.time is not None
    assert (sent.time - plain.time).total_seconds() == 3600
    assert sent.attributes == {"timeflag": "unsynchronised"}
    assert sent.content_hash == plain.content_hash


def test_a_flag_of_the_source_stands() -> None:
    flagged = BARE.replace(b'"specversion"', b'"timeflag":"fallback","specversion"')
    sent = read(marked(flagged, edge="hut", boot=7, sequence=3, correction=Correction(flag="unsynchronised")))
    assert sent.attributes == {"timeflag": "fallback"}


def test_a_message_holds_a_batch() -> None:
    bodies = [marked(BARE, edge="hut", boot=7, sequence=number) for number in (1, 2)]
    found = [event.sequence for event in read_message(together(bodies))]
    assert found == [1, 2]
