"""Readers as a catalog's `mqtt:` section maps them: from a topic and bytes to accesses."""

from meter.model.catalog import TopicMap
from meter.transport.topics import Topics
from tests.sources.case import events, message
from tests.sources.cases.esp_rfid import shown

MAPS = (
    TopicMap(topic="rfid/+", decoder="esp-rfid", site="berlin"),
    TopicMap(topic="tele/+/SENSOR", decoder="tasmota-rfid", site="berlin", name="kiosks", timezone="Europe/Berlin"),
    TopicMap(topic="rc522/#", decoder="esphome-tag", site="berlin", options={"door": "Studio", "direction": "out"}),
    TopicMap(topic="zigbee2mqtt/berlin-tag", decoder="zigbee2mqtt", site="berlin"),
    TopicMap(topic="home/tags", decoder="home-assistant-tag", site="berlin"),
)
DAY = (
    ("rfid/send", shown()),
    ("rfid/send", shown(time=1772438530, access=["Always", "Disabled"], doorName=["Main", "Studio"])),
    ("rfid/send", shown(isKnown="false", access="Denied", uid="deadbeef")),
    ("rfid/send", b'{"type":"boot","time":12,"uptime":0,"hostname":"door-main"}'),
    ("tele/kiosk/SENSOR", b'{"Time":"2026-03-02T09:13:52","RC522":{"UID":"BA839D07","Data":""}}'),
    ("tele/plug/SENSOR", b'{"Time":"2026-03-02T09:13:52","ENERGY":{"Total":3.185}}'),
    ("rc522/tag", b"74-10-37-94"),
    ("rc522/status", b"online"),
    ("zigbee2mqtt/berlin-tag", b'{"action":"disarm","action_code":"+1A2B3C4D","action_transaction":9}'),
    ("zigbee2mqtt/berlin-tag", b'{"occupancy":true}'),
    ("home/tags", b'{"tag_id":"04-A2-99-1B","device_id":"0d5c2a7e"}'),
)


def test_a_day_of_readers_becomes_the_accesses_of_their_doors() -> None:
    topics = Topics(filters=(), maps=MAPS)
    accesses = []
    for topic, payload in DAY:
        reading = topics.reading(topic)
        assert reading is not None
        sent = message(topic, payload)
        accesses += [
            (event.source, event.data["door"], event.subject, event.data["granted"])
            for event in events(reading.decode(reading.setup, sent).items)
        ]
    assert accesses == [
        ("berlin/door/esp-rfid-rfid", "Main", "badge:04A2B3C4D5", True),
        ("berlin/door/esp-rfid-rfid", "Main", "badge:04A2B3C4D5", True),
        ("berlin/door/esp-rfid-rfid", "Studio", "badge:04A2B3C4D5", False),
        ("berlin/door/esp-rfid-rfid", "Main", "badge:DEADBEEF", False),
        ("berlin/door/tasmota-rfid-kiosks", "kiosk", "badge:BA839D07", True),
        ("berlin/door/esphome-tag-rc522", "Studio", "badge:74103794", True),
        ("berlin/door/zigbee2mqtt-berlin-tag", "berlin-tag", "badge:1A2B3C4D", True),
        ("berlin/door/home-assistant-tag-tags", "0d5c2a7e", "badge:04A2991B", True),
    ]
