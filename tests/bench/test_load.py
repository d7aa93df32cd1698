"""The load generator's bytes are what a broker and a gateway read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes

from bench.dataset import make
from bench.load import TIME_MARKER, publish_packet, remaining_length, stamp, topic_of
from meter.catalog.load import read_catalog_text
from meter.model.wire import WireEvent, read_message


@pytest.mark.parametrize(
    ("length", "encoded"),
    # The bounds of MQTT 3.1.1, table 2.4.
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_151, "ffff7f")],
)
def test_lengths_are_written_as_mqtt_wants_them(length: int, encoded: str) -> None:
    assert remaining_length(length) == bytes.fromhex(encoded)


def test_a_packet_holds_topic_number_and_payload() -> None:
    packet = publish_packet(b"spaces/berlin/door/main", 515, b"{}")
    assert packet[0] >> 4 == PacketTypes.PUBLISH
    assert packet[0] & 0x06 == 0x02, "QoS 1"
    assert packet[1] == len(packet) - 2
    assert packet[2:4] == (23).to_bytes(2, "big")
    assert packet[4:27] == b"spaces/berlin/door/main"
    assert packet[27:] == b"\x02\x03{}"


def test_the_data_set_is_the_same_every_time_and_the_gateway_reads_all_of_it() -> None:
    data = make(events=400, live=50, before=date(2026, 11, 22))
    assert data == make(events=400, live=50, before=date(2026, 11, 22))
    assert len(data.events) == 400
    assert len(data.live) == 50
    assert b'"interim"' not in b"".join(data.events)
    read_catalog_text([("bench.yaml", data.catalog)])
    now = datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=UTC)
    sent = [*data.events, *(body.replace(TIME_MARKER, stamp(now.timestamp())) for body in data.live)]
    read = [event for body in sent for event in read_message(body)]
    assert all(isinstance(event, WireEvent) for event in read)
    assert len({(event.source, event.id) for event in read if isinstance(event, WireEvent)}) == 450
    assert {event.time for event in read[400:] if isinstance(event, WireEvent)} == {now}


def test_the_moment_of_sending_fits_where_the_marker_stands() -> None:
    assert len(stamp(0.0)) == len(stamp(1_795_000_000.5)) == len(TIME_MARKER)


def test_an_event_goes_to_the_topic_of_its_device() -> None:
    body = json.dumps({"source": "berlin/door/main"}).encode()
    assert topic_of(body) == b"spaces/berlin/door/main"
    assert MQTTMessage(topic=topic_of(body)).topic == "spaces/berlin/door/main"
