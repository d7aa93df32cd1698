"""A gateway that serves TLS: to whom it answers, how its certificate changes, who waits in handshakes."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from meter.certificates import Authority
from meter.clock import now
from meter.rundir import admin_key
from tests.authority import DAY, authority, server_pair, trusting, write_new
from tests.e2e.test_badge_changes_hands import CATALOG, visit
from tests.e2e.test_secrets_change import until
from tests.edge.agent import RunningAgent
from tests.gateway import RunningGateway

WITHIN_S = 60
BADGE = "badge:04A2991B5C6D80"
CONNECTIONS = 64
HALF_OPEN = 1000


class Served:
    """A gateway over TLS whose certificate is of an authority of ours."""

    def __init__(self, directory: Path) -> None:
        self.authority: Authority = authority()
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_text(self.authority.pem)
        self.cert_file, self.key_file = directory / "cert.pem", directory / "key.pem"
        self.cert, self.key = server_pair(self.authority)
        self.write(self.cert, self.key)
        (directory / "catalog.yaml").write_text(CATALOG)
        env = {
            "METER_HTTP_TLS__CERT_FILE": str(self.cert_file),
            "METER_HTTP_TLS__KEY_FILE": str(self.key_file),
            "METER_HTTP_CONNECTIONS": str(CONNECTIONS),
        }
        arguments = ("--catalog", str(directory / "catalog.yaml"))
        self.gateway = RunningGateway(directory, arguments=arguments, env=env)

    def write(self, cert: str, key: str) -> None:
        write_new(self.cert_file, cert)
        write_new(self.key_file, key)

    @property
    def url(self) -> str:
        return self.gateway.addresses.http

    def client(self) -> aiohttp.ClientSession:
        """A client for which each call is a handshake of its own."""
        connector = aiohttp.TCPConnector(ssl=trusting(self.authority), force_close=True)
        batch = "application/cloudevents-batch+json"
        headers = {"Authorization": f"Bearer {admin_key(self.directory)}", "Content-Type": batch}
        return aiohttp.ClientSession(self.url, connector=connector, headers=headers)

    async def text(self, path: str) -> str:
        async with self.client() as client, client.get(path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def shown(self) -> str:
        """Return the certificate that a new handshake shows, PEM."""
        port = urlsplit(self.url).port
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port or 0))

    async def figure(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", await self.text("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def half_open(url: str, count: int, start: bytes = b"\x16\x03\x01\x02\x00\x01") -> Iterator[list[socket.socket]]:
    """So many connections that say the beginning of a handshake, or nothing, and wait."""
    made = []
    try:
        for number in range(count):
            peer = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=WITHIN_S)
            made.append(peer)
            if number % 2:
                peer.sendall(start)
        yield made
    finally:
        for peer in made:
            peer.close()


def ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionError:
        return True


async def test_agents_commands_and_callers_are_served_over_tls(data_dir: Path) -> None:
    served = Served(data_dir)
    async with served.gateway:
        assert served.url.startswith("https://")
        async with served.client() as client, client.post("/v1/events", json=[visit("a", "02T10:00:00", BADGE)]) as got:
            assert got.status == 200
            assert got.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with aiohttp.ClientSession(served.url) as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get("/health/live")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSVersion.TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            closing(socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0))) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            await asyncio.to_thread(old.wrap_socket, plain)
        await _agent(served)
        await _simulated(served)
    assert served.key.splitlines()[1] not in served.gateway.log.read_text()


async def _agent(served: Served) -> None:
    env = {
        "METER_EDGE_GATEWAY__HTTP_URL": served.url,
        "METER_EDGE_GATEWAY__API_KEY": admin_key(served.directory),
        "METER_EDGE_GATEWAY__CA_FILE": str(served.ca_file),
    }
    async with RunningAgent(served.directory / "agent", env=env):

        async def known() -> bool:
            return "berlin" in await served.text("/v1/edges")

        await until(known)


async def _simulated(served: Served) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", "simulate", "--to", "http", "--members", "3", "--json",
        env={**served.gateway.env, "METER_DATA_DIR": str(served.directory), "SSL_CERT_FILE": str(served.ca_file)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_half_open_handshakes_keep_nobody_out_and_give_way(data_dir: Path) -> None:
    served = Served(data_dir)
    async with served.gateway:
        with half_open(served.url, HALF_OPEN) as peers:
            for _ in range(20):
                await served.text("/health/live")
            assert [ended(peer) for peer in peers[: HALF_OPEN - CONNECTIONS]] == [True] * (HALF_OPEN - CONNECTIONS)
            assert await served.figure("meter_http_connections") <= CONNECTIONS
            assert await served.figure("meter_http_connections_dropped_total") >= HALF_OPEN - CONNECTIONS
            # The rest are closed by the time that a handshake may take.
            assert all(await asyncio.to_thread(lambda: [ended(peer) for peer in peers]))

        async def gone() -> bool:
            return await served.figure("meter_http_connections") <= 1

        await until(gone)


async def test_a_new_pair_is_shown_and_a_broken_one_is_not(data_dir: Path) -> None:
    served = Served(data_dir)
    async with served.gateway:
        ended_pair = server_pair(served.authority, ends_at=now() - DAY)
        other = server_pair(served.authority)
        for bad, word in (
            ((other[0], served.key), "does not fit"),
            (ended_pair, "ended on"),
            (("-", "-"), "holds no cert"),
        ):
            served.write(*bad)
            served.gateway.process.send_signal(signal.SIGHUP)

            async def kept(word: str = word) -> bool:
                said = word in served.gateway.log.read_text()
                return said and await served.figure("meter_secret_files_kept") == 1

            await until(kept)
            assert await served.shown() == served.cert
        served.write(*other)

        async def taken() -> bool:  # by itself: nobody sends a signal
            return await served.shown() == other[0] and await served.figure("meter_secret_files_kept") == 0

        await until(taken)


async def test_silent_connections_give_way_without_tls_too(data_dir: Path) -> None:
    """On the event loop that gateways run on, whose transports are of no class of asyncio's."""
    gateway = RunningGateway(data_dir, env={"METER_HTTP_CONNECTIONS": str(CONNECTIONS)})
    async with gateway:
        with half_open(gateway.addresses.http, 2 * CONNECTIONS, start=b"") as peers:
            async with aiohttp.ClientSession(gateway.addresses.http) as client, client.get("/health/live") as answer:
                assert answer.status == 200
            assert all(await asyncio.to_thread(lambda: [ended(peer) for peer in peers[:CONNECTIONS]]))
