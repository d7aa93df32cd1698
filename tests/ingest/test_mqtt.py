import asyncio
import json
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from meter.ingest.mqtt import MqttIngest
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.sources import cloudevents
from meter.sources.spec import Message, Reading, Setup
from meter.store.engine import Database
from meter.store.tables import events, rejections
from meter.transport.mqtt_address import broker_address
from meter.transport.topics import Topics
from tests.ingest.bodies import NOW, body, poisonous
from tests.ingest.gateway import acks, gateway, message, new_site, publish, until
from tests.ingest.rows import rows


@pytest.fixture(params=["broker_url", "mosquitto_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def door(site: str, number: int, **changes: Any) -> dict[str, Any]:
    return message(site, body(id=f"e-{number}", source=f"{site}/door/main", **changes))


async def ids(database: Database) -> list[str]:
    return sorted(row["id"] for row in await rows(database, events))


async def test_events_are_stored_one_or_many_a_message(url: str, database: Database) -> None:
    site = new_site()
    async with gateway(url, database, operator=site) as gate:
        many = json.dumps([json.loads(body(id=f"m-{n}", source=f"{site}/door/x")) for n in range(3)]).encode()
        await publish(url, [door(site, 1), message(site, many), door(site, 1)])
        await until(lambda: len(gate.statuses) == 5)
        assert await ids(database) == ["e-1", "m-0", "m-1", "m-2"]
        assert sorted(gate.statuses) == ["accepted"] * 4 + ["duplicate"]
    (row, *_) = await rows(database, events)
    assert (row["channel"], row["site"]) == ("mqtt", site)


async def test_each_broker_is_spoken_to_in_the_newest_version_it_knows(
    database: Database, broker_url: str, mosquitto_url: str
) -> None:
    for url, version in ((broker_url, MQTTProtocolVersion.MQTTv311), (mosquitto_url, MQTTProtocolVersion.MQTTv5)):
        async with gateway(url, database, operator=new_site()) as gate:
            assert gate.mqtt._protocol == version


async def test_what_was_not_committed_comes_again_to_the_next_gateway(url: str, database: Database) -> None:
    site = new_site()
    async with gateway(url, database, operator=site) as first:
        first.gate.shut()
        await publish(url, [door(site, n) for n in range(20)])
        await until(lambda: len(first.gate.entered) >= 1)
        first.kill()
    assert await ids(database) == []
    async with gateway(url, database, operator=site) as second:
        await until(lambda: len(second.statuses) == 20)
        assert second.statuses == ["accepted"] * 20
    assert len(await ids(database)) == 20
    await nothing_is_left(url, database, site)


async def nothing_is_left(url: str, database: Database, site: str) -> None:
    """Everything was acknowledged: the broker has nothing for the next gateway but what comes now."""
    async with gateway(url, database, operator=site) as last:
        await publish(url, [door(site, 999_999)])
        await until(lambda: bool(last.statuses))
        assert last.statuses == ["accepted"]


async def test_what_a_gateway_misses_waits_at_the_broker(url: str, database: Database) -> None:
    site = new_site()
    async with gateway(url, database, operator=site):
        pass
    await publish(url, [door(site, n) for n in range(50)])
    async with gateway(url, database, operator=site) as back:
        await until(lambda: len(back.statuses) == 50)
    assert len(await ids(database)) == 50
    await nothing_is_left(url, database, site)


async def test_an_acknowledgement_dies_with_its_connection(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site()
    async with gateway(url, database, operator=site) as gate:
        lost = gate.mqtt._session
        assert lost is not None
        acked: list[tuple[int, int]] = []
        monkeypatch.setattr(lost._client, "ack", lambda mid, qos: acked.append((mid, qos)))
        gate.gate.shut()
        await publish(url, [door(site, 1)])
        await until(lambda: len(gate.gate.entered) == 1)
        lost._client.given.raw.shutdown(2)
        await until(lambda: gate.mqtt.connected.is_set() and gate.mqtt._session is not lost)
        await until(lambda: gate.batcher._events == 2)  # the broker sends it again, on the new connection
        gate.gate.open()
        await until(lambda: len(gate.statuses) == 2)
        assert acked == []
    assert await ids(database) == ["e-1"]
    await nothing_is_left(url, database, site)


async def test_a_lost_connection_is_made_anew(url: str, database: Database) -> None:
    site = new_site()
    async with gateway(url, database, operator=site) as gate:
        for number in range(3):
            before = gate.mqtt._session
            assert before is not None
            before._client.given.raw.shutdown(2)
            await until(lambda old=before: gate.mqtt.connected.is_set() and gate.mqtt._session is not old)  # type: ignore[misc]
            await publish(url, [door(site, number)])
            await until(lambda count=number + 1: len(gate.statuses) == count)  # type: ignore[misc]


async def test_retained_messages_are_counted_and_ignored(url: str, database: Database) -> None:
    site = new_site()
    await publish(url, [message(site, body(id="state", source=f"{site}/x"), retain=True)])
    async with gateway(url, database, operator=site) as gate:
        await until(lambda: gate.telemetry.registry.get_sample_value("meter_mqtt_retained_total") == 1)
        await publish(url, [door(site, 1)])
        await until(lambda: len(gate.statuses) == 1)
    assert await ids(database) == ["e-1"]
    assert await rows(database, rejections) == []
    await publish(url, [message(site, b"", retain=True)])


async def test_a_full_queue_pushes_back_and_loses_nothing(url: str, database: Database) -> None:
    site = new_site()
    async with gateway(url, database, operator=site, queue_events_max=25) as gate:
        gate.gate.shut()
        publishing = asyncio.create_task(publish(url, [door(site, n) for n in range(400)]))
        await until(lambda: gate.mqtt._session is not None and gate.mqtt._session._paused)
        assert gate.batcher._events <= 26
        gate.gate.open()
        await publishing
        await until(lambda: len(set(gate.statuses)) == 1 and len(gate.statuses) >= 400)
        assert len(await ids(database)) == 400
        assert gate.mqtt.connected.is_set()
    await nothing_is_left(url, database, site)


async def test_a_thousand_poisonous_bodies_leave_the_good_ones_alone(url: str, database: Database) -> None:
    site = new_site()
    poison = [poisonous(number, site) for number in range(1000)]
    async with gateway(url, database, operator=site) as gate:
        mixed = [item for n in range(1000) for item in (message(site, poison[n]), door(site, n))]
        await publish(url, mixed)
        await until(lambda: len(gate.statuses) >= 2000)
    assert len(await ids(database)) == 1000
    kept = await rows(database, rejections)
    assert {row["body"] for row in kept} == set(poison)
    assert all(row["code"] and row["detail"] and row["origin"] == f"spaces/{site}/door/main" for row in kept)
    await nothing_is_left(url, database, site)


async def test_agents_are_told_what_was_committed(url: str, database: Database) -> None:
    site = new_site()
    topic = f"spaces/{site}/acks/edge-7"

    def marked(sequence: int, **changes: Any) -> dict[str, Any]:
        return door(site, sequence, edge="edge-7", boot=3, sequence=sequence, **changes)

    async with acks(url, site) as heard, gateway(url, database, operator=site) as gate:
        gate.gate.shut()
        await publish(url, [marked(1), marked(2, type="no type"), marked(4)])
        await until(lambda: len(gate.gate.entered) >= 1)
        assert heard == []
        gate.gate.open()
        await until(lambda: (topic, {"boot": 3, "up_to": 2, "also": [4]}) in heard)
        heard.clear()
        await publish(url, [marked(4)])
        await until(lambda: (topic, {"boot": 3, "up_to": 2, "also": [4]}) in heard)
        await publish(url, [marked(3)])
        await until(lambda: (topic, {"boot": 3, "up_to": 4, "also": []}) in heard)
    # What the gateway says itself is no event.
    assert {row["code"] for row in await rows(database, rejections)} == {"bad_type"}


async def test_an_agent_is_told_the_time_after_each_heartbeat(url: str, database: Database) -> None:
    site = new_site()
    times = {"received": instant_text(NOW), "sent": instant_text(NOW)}
    until_then = {"complete_until": "2026-03-02T08:00:00Z"}

    def heartbeat(number: int, **data: Any) -> dict[str, Any]:
        kind = {"type": "edge.heartbeat", "subject": None, "data": until_then | data}
        return door(site, number, edge="edge-7", boot=3, sequence=number, **kind)

    async with acks(url, site) as heard, gateway(url, database, operator=site) as gate:
        gate.gate.shut()
        await publish(url, [heartbeat(1, asked=123_456_789)])
        await until(lambda: len(gate.gate.entered) >= 1)
        assert heard == []
        gate.gate.open()
        await publish(url, [heartbeat(1, asked=123_456_789), heartbeat(2, asked="09:00"), heartbeat(3)])
        clock = f"spaces/{site}/clocks/edge-7"
        await until(lambda: len([topic for topic, _ in heard if topic == clock]) == 4)
        answered = [told for topic, told in heard if topic == clock]
        asked = [123_456_789, 123_456_789, "09:00", None]
        assert answered == [{"asked": moment} | times for moment in asked]
    assert await rows(database, rejections) == []


async def test_an_agent_is_told_with_the_time_what_is_stored_of_it(url: str, database: Database) -> None:
    """All of it, with what came in the same batch, and nothing of a boot of which nothing ever came."""
    site = new_site()

    def marked(sequence: int, **changes: Any) -> dict[str, Any]:
        return door(site, sequence, edge="edge-7", boot=3, sequence=sequence, **changes)

    data = {"complete_until": "2026-03-02T08:00:00Z", "asked": "q1", "boots": [3, 4]}
    heartbeat = marked(900, type="edge.heartbeat", subject=None, data=data)
    async with acks(url, site) as heard, gateway(url, database, operator=site) as gate:
        await publish(url, [marked(number) for number in (*range(1, 3), *range(5, 500))])
        await until(lambda: len(gate.statuses) == 497)
        await publish(url, [marked(700), heartbeat])
        clock = f"spaces/{site}/clocks/edge-7"
        await until(lambda: any(topic == clock for topic, _ in heard))
        (told,) = [told for topic, told in heard if topic == clock]
        assert told["stored"] == [
            {"boot": 3, "up_to": 2, "beyond": [[5, 499], [700, 700], [900, 900]]},
            {"boot": 4, "up_to": 0, "beyond": []},
        ]


async def test_a_decoder_that_fails_costs_one_message(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site()
    working = cloudevents.read

    def failing(setup: Setup, told: Message) -> Reading:
        if told.payload == b"boom":
            raise RuntimeError("boom")
        return working(setup, told)

    monkeypatch.setattr(cloudevents, "read", failing)
    async with gateway(url, database, operator=site) as gate:
        await publish(url, [message(site, b"boom"), door(site, 1)])
        await until(lambda: len(gate.statuses) == 2)
    assert await ids(database) == ["e-1"]
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["body"]) == ("undecodable", b"boom")


async def test_topics_that_nothing_can_read_are_quarantined(mosquitto_url: str, database: Database) -> None:
    site = new_site()
    async with gateway(mosquitto_url, database, operator=site, filters=[f"{site}/#"]) as gate:
        await publish(mosquitto_url, [{"topic": f"{site}/sensor", "payload": b"21.5", "qos": 1}])
        await until(lambda: len(gate.statuses) == 1)
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["body"], kept["origin"]) == ("unknown_topic", b"21.5", f"{site}/sensor")


async def test_binary_mode_of_mqtt_5(mosquitto_url: str, database: Database) -> None:
    site = new_site()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.UserProperty = [
        ("specversion", "1.0"),
        ("id", "binary"),
        ("source", f"{site}/x"),
        ("type", "x"),
        ("edge", "edge-7"),
        ("boot", "1"),
        ("sequence", "1"),
    ]
    told = {"topic": f"spaces/{site}/x/y", "payload": b'{"a": 1.50}', "qos": 1, "properties": properties}
    async with gateway(mosquitto_url, database, operator=site) as gate:
        await publish_one_v5(mosquitto_url, told)
        await until(lambda: len(gate.statuses) == 1)
    (row,) = await rows(database, events)
    assert (row["id"], row["sequence"], str(row["data"]["a"])) == ("binary", 1, "1.50")


async def publish_one_v5(url: str, told: dict[str, Any]) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    address = broker_address(url)

    def send() -> None:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect(address.host, address.port)
        client.loop_start()
        client.publish(**told).wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    await asyncio.to_thread(send)


async def test_without_a_broker_it_goes_on_trying_until_it_is_stopped(database: Database) -> None:
    from meter.ingest.batcher import Batcher
    from meter.telemetry import Telemetry
    from tests.ingest.bodies import acceptor

    ingest = MqttIngest(
        "mqtt://127.0.0.1:1",
        nonce="n0nce",
        operator="x",
        topics=lambda: Topics(["spaces/+/+/+"]),
        batcher=Batcher(acceptor(database).accept),
        telemetry=Telemetry(),
    )
    running = asyncio.create_task(ingest.run())
    done, _ = await asyncio.wait([running], timeout=0.5)
    assert not done
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


@pytest.mark.parametrize("text", ["", "http://x", "mqtt://", "mqtt://x:port", "mqtt://x:99999"])
def test_wrong_urls_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(BadInput, match="METER_MQTT_URL"):
        broker_address(text)


def test_urls_say_everything() -> None:
    address = broker_address("mqtts://ada:p%40ss@broker.example")
    assert (address.host, address.port, address.tls) == ("broker.example", 8883, True)
    assert (address.user, address.password) == ("ada", "p@ss")
    assert "p@ss" not in repr(address)
