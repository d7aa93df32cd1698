"""Who is slow, silent or too fast takes nothing from the others."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meter.api import app as app_module
from meter.api.connections import OTHER_DESCRIPTORS, Connections, raise_descriptors
from meter.api.rates import Rates, network_of
from meter.config import Settings
from meter.telemetry import Telemetry
from tests.api.conftest import ADMIN_KEY, Api, serving, the_services

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /hooks/square/till HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


@asynccontextmanager
async def opened(api: Api, count: int, start: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that have sent `start` and then nothing."""
    port = int(api.base.rpartition(":")[2])
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        for _, writer in made:
            writer.write(start)
        yield [reader for reader, _ in made]
    finally:
        for _, writer in made:
            writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed the connection without an answer."""
    try:
        async with asyncio.timeout(20):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def sample(api: Api, name: str) -> float:
    found = await api.get("/metrics")
    return float(next(line.split()[-1] for line in found.text.splitlines() if line.startswith(f"{name} ")))


@pytest.mark.parametrize("start", [b"", HEAD, POST], ids=["silent", "slow head", "slow body"])
async def test_who_has_waited_longest_gives_way(database_url: str, start: bytes) -> None:
    services = the_services(database_url, settings=Settings(http_connections=16))
    async with serving(services) as api, opened(api, 40, start) as readers:
        assert (await api.get("/health/live")).status == 200
        assert [await ended(reader) for reader in readers[:24]] == [True] * 24
        assert (await api.get("/health/live")).status == 200
        assert await sample(api, "meter_http_connections") <= 16
        assert await sample(api, "meter_http_connections_dropped_total") >= 24


async def test_bodies_on_their_way_keep_nobody_from_being_answered(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "REQUESTS_MAX", 2)
    async with serving(the_services(database_url)) as api, opened(api, 50, POST):
        for _ in range(20):
            assert (await api.get("/health/live")).status == 200


async def test_of_bodies_on_their_way_the_oldest_gives_way() -> None:
    async def pipe() -> tuple[asyncio.BaseTransport, socket.socket]:
        ours, theirs = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        return transport, theirs

    connections = Connections(Telemetry(), connections_max=100, reading_max=2)
    pipes = [await pipe() for _ in range(3)]
    for transport, _ in pipes:
        connections.opened(transport)
        connections.works(transport)
        connections.reads(transport)
    assert [transport.is_closing() for transport, _ in pipes] == [True, False, False]
    for transport, theirs in pipes:
        transport.close()
        theirs.close()


async def test_who_is_being_answered_is_never_closed(database_url: str) -> None:
    async with serving(the_services(database_url, settings=Settings(http_connections=16))) as api:
        held = asyncio.create_task(api.get("/v1/charges?wait=30"))
        async with asyncio.timeout(20):
            while await sample(api, "meter_http_connections") < 2:
                pass
        async with opened(api, 40, HEAD) as readers:
            assert [await ended(reader) for reader in readers[:24]] == [True] * 24
            assert not held.done()
        api.services.stopping.set()
        api.services.booked.notify()
        assert (await held).status == 200


def test_descriptors_are_raised_to_what_is_wanted_and_never_beyond_what_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OTHER_DESCRIPTORS + 300, hard))
        assert raise_descriptors(200) == 200
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == OTHER_DESCRIPTORS + 300
        assert raise_descriptors(400) == 400
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == OTHER_DESCRIPTORS + 400
        assert raise_descriptors(hard + 1) == hard - OTHER_DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_key_has_its_rate_and_others_have_theirs(database_url: str) -> None:
    async with serving(the_services(database_url, settings=Settings(http_rate=1))) as api:
        key, other = await api.key("usage:read"), await api.key("usage:read")
        answers = [await api.get("/v1/charges", key=key) for _ in range(5)]
        assert {answer.status for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.json["code"] == "too_fast"
        assert "1 times a second (METER_HTTP_RATE)" in refused.json["detail"]
        assert int(refused.headers["Retry-After"]) == 1
        assert (await api.get("/v1/charges", key=other)).status == 200
        throttled = [line for line in (await api.get("/metrics")).text.splitlines() if "http_throttled_total{" in line]
        assert [line.split("{")[1].split("}")[0] for line in throttled] == ['reason="key"']


async def test_keys_that_nobody_knows_are_looked_up_so_often_and_known_ones_as_ever(api: Api) -> None:
    key = await api.key("usage:read")
    unknown = [key[:-6] + f"{number:06}" for number in range(100)]
    assert (await api.get("/v1/charges", key=key)).status == 200
    statuses = [(await api.get("/v1/charges", key=secret)).status for secret in unknown]
    assert set(statuses) == {401, 429}
    api.services.keys.heard()
    assert (await api.get("/v1/charges", key=key)).status == 200
    assert (await api.get("/v1/charges", key=ADMIN_KEY)).status == 200


def test_a_bucket_fills_at_its_rate() -> None:
    moment_s = 0.0
    rates = Rates(2.0, clock=lambda: moment_s, callers_max=2)
    assert [rates.take("a") for _ in range(4)] == [0.0] * 4
    assert rates.take("a") == 0.5
    moment_s = 0.5
    assert (rates.take("a"), rates.take("a")) == (0.0, 0.5)
    moment_s = 100.0
    assert [rates.take("a") for _ in range(5)] == [0.0] * 4 + [0.5]
    # Whoever called longest ago is forgotten, so that there are never more than so many.
    rates.take("b")
    rates.take("c")
    assert rates.take("a") == 0.0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("/run/meter.sock", ""),
        (None, ""),
    ],
)
def test_failed_calls_are_counted_by_network(address: str | None, network: str) -> None:
    assert network_of(address) == network
