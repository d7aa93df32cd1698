"""Agents that show certificates to Mosquitto: each is let in, to its own topic, until it is revoked."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest_asyncio

from edge.config.loading import load_settings
from edge.config.settings import EdgeSettings
from meter.embedded.partdir import LOOPBACK, choose_port
from tests.deploy.mqtt_client import Peer
from tests.deploy.parts import REPOSITORY, Mosquitto, block
from tests.edge.agent import RunningAgent
from tests.edge.e2e.test_way import CATALOG, door
from tests.gateway import RunningGateway
from tests.tools import need_tool

DENIED = "Not authorized"


@dataclass(kw_only=True)
class Place:
    """A broker with the documented listeners, a gateway, and machines on site."""

    broker: Mosquitto
    gateway: RunningGateway
    port: int
    root: Path

    def meter(self, *arguments: str) -> str:
        """What a command of the operator's prints."""
        command = [sys.executable, "-m", "meter", *arguments]
        return subprocess.run(command, env=self.gateway.env, check=True, capture_output=True, text=True).stdout

    def tell_broker(self) -> None:
        """What docs/deployment.md says to type, but for the restart."""
        script = [REPOSITORY / "deploy/mosquitto/agents.sh", self.broker.home / "certs", sys.executable, "-m", "meter"]
        subprocess.run(["sh", *map(str, script)], env=self.gateway.env, check=True)

    async def restart_broker(self) -> None:
        await self.broker.stop()
        await self.broker.start()

    async def enrol(self, edge: str, *options: str) -> Path:
        """Have a machine on site enrolled by the printed command; return its data directory."""
        words = self.meter("edges", "enroll", "berlin", "--edge", edge).split()
        assert words[:2] == ["meter-edge", "enroll"]
        directory = self.root / edge
        env = {**os.environ, "METER_EDGE_DATA_DIR": str(directory)}
        command = [sys.executable, "-m", "edge", *words[1:], *options]
        await asyncio.to_thread(subprocess.run, command, env=env, check=True, capture_output=True)
        return directory

    def settings(self, edge: str) -> EdgeSettings:
        return load_settings(environment={"METER_EDGE_DATA_DIR": str(self.root / edge)})

    def context(self, edge: str) -> ssl.SSLContext:
        """What shows the machine's certificate."""
        gateway = self.settings(edge).gateway
        context = ssl.create_default_context(cafile=gateway.ca_file)
        # 1.3 tells a client of its certificate's fault with the first read only.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(gateway.cert_file or "", gateway.key_file)
        return context


@pytest_asyncio.fixture
async def place(data_dir: Path, stopped_mosquitto: Mosquitto, passwords: dict[str, str]) -> AsyncIterator[Place]:
    broker, certs = stopped_mosquitto, stopped_mosquitto.home / "certs"
    for name in ("server.crt", "server.key"):
        broker.append(f"certs/{name}", "")
    made = [
        need_tool("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    files = [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(certs / "server.key"),
        "-out",
        str(certs / "server.crt"),
    ]
    subprocess.run([*made, *files], check=True, capture_output=True)  # noqa: ASYNC221 -- brief
    await broker.start()
    port = choose_port(LOOPBACK, given=None, remembered=None)
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    env = {
        "METER_CATALOG": str(catalog),
        "METER_DATA_DIR": str(data_dir / "gateway"),
        "METER_MQTT_URL": f"mqtt://gateway:{passwords['gateway']}@{LOOPBACK}:{broker.port}",
        "METER_EDGES__MQTT_URL": f"mqtts://localhost:{port}",
        "METER_EDGES__TRUST_FILE": str(certs / "server.crt"),
    }
    (data_dir / "gateway").mkdir()
    async with RunningGateway(data_dir / "gateway", env=env) as gateway:
        gateway.env["METER_EDGES__HTTP_URL"] = gateway.addresses.http
        found = Place(broker=broker, gateway=gateway, port=port, root=data_dir)
        found.tell_broker()
        listener = block("conf", containing="require_certificate")
        broker.append("config/listeners/agents.conf", listener.replace("listener 8884", f"listener {port} {LOOPBACK}"))
        await found.restart_broker()
        yield found
        await broker.stop()


def enters(place: Place, context: ssl.SSLContext) -> bool:
    """Tell whether the broker lets somebody in, as far as TLS goes."""
    with socket.create_connection((LOOPBACK, place.port), timeout=20) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost"):
                return True
        except OSError:
            return False


@asynccontextmanager
async def running(place: Place, edge: str) -> AsyncIterator[RunningAgent]:
    async with RunningAgent(place.root / edge, env={}) as agent:
        yield agent


async def reached(agent: RunningAgent, *, over: str) -> None:
    """Wait until the agent is connected in this way."""
    async with asyncio.timeout(60):
        while True:
            status = await agent.get("/v1/status")
            if status["online"] and status["over"] == over:
                return
            await asyncio.sleep(0.05)


async def test_an_agent_sends_with_its_certificate_until_it_is_revoked_and_loses_nothing(place: Place) -> None:
    await place.enrol("desk")
    place.tell_broker()
    await place.restart_broker()
    async with running(place, "desk") as agent:
        await reached(agent, over="mqtt")
        await agent.post([door(number) for number in range(20)])
        await agent.drained()

        place.meter("edges", "revoke", "berlin", "desk", "--reason", "a mistake")
        assert (await agent.post([door(20), door(21)]))[1]["status"] == "accepted"
        async with asyncio.timeout(60):
            refused = "SELECT count(*) FROM rejections WHERE code = 'edge_revoked'"
            while (await place.gateway.rows(refused))[0][0] < 2:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.05)
        place.tell_broker()
        await place.restart_broker()
        async with asyncio.timeout(60):
            while (await agent.get("/v1/status"))["online"]:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.05)
        await agent.post([door(22)])
        assert (await agent.get("/v1/status"))["spooled"] >= 3
        assert await place.gateway.rows("SELECT count(*) FROM events WHERE type = 'door.access'") == [(20,)]

    await place.enrol("desk", "--force")
    place.tell_broker()
    await place.restart_broker()
    async with running(place, "desk") as agent:
        await reached(agent, over="mqtt")
        await agent.drained()
    stored = await place.gateway.rows("SELECT id FROM events WHERE type = 'door.access'")
    assert sorted(row[0] for row in stored) == sorted(f"d-{number}" for number in range(23))


async def test_a_certificate_opens_its_agents_topic_alone(place: Place, passwords: dict[str, str]) -> None:
    await place.enrol("desk")
    await place.enrol("till")
    place.tell_broker()
    await place.restart_broker()
    with Peer(port=place.port, host="localhost", context=place.context("desk")) as desk:
        assert desk.refused is None
        for topic in (
            *(f"spaces/hamburg/{rest}" for rest in ("edge/desk", "door/main", "acks/desk")),
            *(f"spaces/berlin/{rest}" for rest in ("edge/till", "door/main", "acks/till", "acks/desk", "clocks/desk")),
        ):
            assert desk.publish(topic) == [DENIED], topic
        assert desk.publish("spaces/berlin/edge/desk") != [DENIED]
        for topic in ("#", "spaces/berlin/#", "$share/all/spaces/#"):
            desk.subscribe(topic)
        with Peer(port=place.broker.port, user="gateway", password=passwords["gateway"]) as gateway:
            for site, edge in (("berlin", "till"), ("hamburg", "desk"), ("berlin", "desk")):
                for kind in ("acks", "clocks"):
                    assert gateway.publish(f"spaces/{site}/{kind}/{edge}") != [DENIED]
        desk.subscribe("behind")
        assert {message.topic for message in desk.heard()} == {"spaces/berlin/acks/desk", "spaces/berlin/clocks/desk"}
        # Once it is revoked, a reload ends what an open connection may, and a restart the connection.
        place.meter("edges", "revoke", "berlin", "desk", "--reason", "stolen")
        place.tell_broker()
        await place.restart_broker()
    assert not enters(place, place.context("desk"))
    assert enters(place, place.context("till"))


async def test_nobody_comes_in_there_without_a_certificate(place: Place) -> None:
    context = ssl.create_default_context(cafile=str(place.broker.home / "certs" / "server.crt"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert not enters(place, context)


async def test_an_agent_that_the_broker_does_not_know_yet_sends_over_http(place: Place) -> None:
    directory = await place.enrol("desk")
    async with running(place, "desk") as agent:
        await agent.post([door(0)])
        await agent.drained()
        assert (await agent.get("/v1/status"))["over"] == "http"
        key = place.settings("desk").gateway.api_key
        place.meter("edges", "revoke", "berlin", "desk", "--reason", "stolen")
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as client,
            asyncio.timeout(60),
        ):
            while True:
                async with client.get(f"{place.gateway.addresses.http}/v1/clock") as answer:
                    if answer.status == 401:
                        break
                await asyncio.sleep(0.2)
        await agent.post([door(1)])
        assert (await agent.get("/v1/status"))["spooled"] >= 1
    assert directory.is_dir()
