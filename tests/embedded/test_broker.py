"""The embedded broker keeps sessions and acknowledged messages through a kill, and serves nobody that it should not."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from meter.embedded.broker import ACK_WAIT_S, EmbeddedBroker
from meter.embedded.partdir import LOOPBACK
from meter.model.errors import Unavailable
from tests.embedded.mqtt import WAIT_S, Client, client
from tests.embedded.running import is_alive, listening

PAYLOADS = [f"event {n}".encode() for n in range(500)]


def _leave_session(url: str) -> None:
    """A session that stays and has nothing delivered yet."""
    with client(url, "gateway", clean=False) as gateway:
        gateway.subscribe("spaces/#")


def _publish(url: str) -> None:
    with client(url, "door") as door:
        door.publish("spaces/berlin/door/main", PAYLOADS)


def _take(url: str, *, acknowledge: bool) -> list[bytes]:
    with client(url, "gateway", clean=False) as gateway:
        return gateway.take(len(PAYLOADS), acknowledge=acknowledge)


async def test_acknowledged_messages_wait_through_a_restart_for_an_absent_session(data_dir: Path) -> None:
    async with EmbeddedBroker(data_dir) as broker:
        await asyncio.to_thread(_leave_session, broker.url)
        await asyncio.to_thread(_publish, broker.url)
    async with EmbeddedBroker(data_dir) as again:
        assert again.url == broker.url
        assert await asyncio.to_thread(_take, again.url, acknowledge=True) == PAYLOADS


async def test_a_killed_broker_delivers_again_what_was_not_acknowledged(data_dir: Path) -> None:
    async with EmbeddedBroker(data_dir) as broker:
        await asyncio.to_thread(_leave_session, broker.url)
        await asyncio.to_thread(_publish, broker.url)
        assert await asyncio.to_thread(_take, broker.url, acknowledge=False) == PAYLOADS
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="broker ended by SIGKILL"):
            await broker.watch()
    async with EmbeddedBroker(data_dir) as again:
        assert sorted(await asyncio.to_thread(_take, again.url, acknowledge=True)) == sorted(PAYLOADS)


async def test_a_client_that_stays_connected_is_sent_it_again_after_the_wait(broker_url: str) -> None:
    def twice() -> list[bytes]:
        with client(broker_url, "slow") as slow:
            slow.subscribe("spaces/again/#")
            slow.publish("spaces/again/door/main", [b"once"])
            return slow.take(2, acknowledge=False)

    assert WAIT_S > 2 * ACK_WAIT_S
    assert await asyncio.to_thread(twice) == [b"once", b"once"]


async def test_a_broker_left_by_a_killed_gateway_is_ended_first(data_dir: Path) -> None:
    killed = EmbeddedBroker(data_dir)
    await killed.start()
    left = killed.pid
    assert left is not None
    killed._dir.unlock()  # as the kernel does for a killed gateway
    async with EmbeddedBroker(data_dir):
        assert not is_alive(left)
    await killed.stop()


async def test_it_listens_on_loopback_only(data_dir: Path) -> None:
    async with EmbeddedBroker(data_dir) as broker:
        assert broker.pid is not None
        assert listening(broker.pid) == {LOOPBACK}


async def test_it_listens_elsewhere_when_told_and_only_for_mqtt(data_dir: Path) -> None:
    async with EmbeddedBroker(data_dir, host="0.0.0.0") as broker:  # noqa: S104 -- that is the point
        assert broker.pid is not None
        assert listening(broker.pid) == {LOOPBACK, "::"}  # for IPv4 as well
        assert broker.url == f"mqtt://{LOOPBACK}:{broker.port}"


async def test_the_protocol_of_nats_itself_is_closed_to_everybody(data_dir: Path) -> None:
    async with EmbeddedBroker(data_dir) as broker:
        log = (data_dir / "broker" / "broker.log").read_text()
        port = int(log.split(f"client connections on {LOOPBACK}:")[1].split()[0])
        with socket.create_connection((LOOPBACK, port), timeout=WAIT_S) as stranger:
            stranger.sendall(b'CONNECT {"verbose":true}\r\nPUB spaces.berlin.door.main 2\r\nhi\r\n')
            said = b""
            while chunk := stranger.recv(4096):
                said += chunk
        assert b'"auth_required":true' in said
        assert b"Authorization Violation" in said
        assert port != broker.port


@pytest.mark.parametrize("password", ["pass word", 'quote"brace}\\$HOME', "ä€"])
async def test_with_a_user_it_takes_nobody_else(data_dir: Path, password: str) -> None:
    async with EmbeddedBroker(data_dir, user="till@berlin", password=password) as broker:
        for url, answer in (
            (broker.url, "Success"),
            (f"mqtt://till%40berlin:wrong@{LOOPBACK}:{broker.port}", "Not authorized"),
            (f"mqtt://{LOOPBACK}:{broker.port}", "Not authorized"),
        ):
            it = Client(url, "till")
            assert await asyncio.to_thread(it.connected.get, timeout=WAIT_S) == answer
            it.paho.disconnect()
            it.paho.loop_stop()


async def test_a_session_holds_sixteen_wildcards_and_says_so_beyond(broker_url: str) -> None:
    def granted() -> list[bool]:
        with client(broker_url, "many") as many:
            return [many.subscribe(f"spaces/site-{n}/#") for n in range(17)]

    assert await asyncio.to_thread(granted) == [True] * 16 + [False]
