"""Where TLS is listened: at every address of a name, on one port; and the certificate is shown at each."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from meter.api.app import create_app, serve
from meter.api.listening import Certificate
from meter.telemetry import Telemetry
from tests.api.conftest import the_services
from tests.authority import authority, server_pair, trusting


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have the name that is listened at mean these addresses."""

    async def found(_host: str, port: int, **_: Any) -> list[Any]:
        families = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in families]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "198.51.100.1", "127.0.0.1", "127.0.0.2")]
)
async def test_every_address_of_the_name_answers_on_one_port(
    database_url: str, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    """Of an address that is not this machine's the rest is told nothing."""
    signer = authority()
    certificate = Certificate(*server_pair(signer), telemetry=Telemetry())
    services = the_services(database_url)
    with monkeypatch.context() as named:
        resolve(named, *addresses)
        serving = serve(create_app(services), "gateway.example", 0, shutdown_timeout=10, certificate=certificate)
        port = await serving.__aenter__()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(signer))) as session:
            for address in ("127.0.0.1", "127.0.0.2"):
                url = f"https://{address}:{port}/health/live"
                async with session.get(url, server_hostname="127.0.0.1") as answer:
                    assert answer.status == 200
    finally:
        await serving.__aexit__(None, None, None)
        await services.db.dispose()
    for address in ("127.0.0.1", "127.0.0.2"):
        with pytest.raises(ConnectionRefusedError), socket.create_connection((address, port)):
            pass


async def test_where_no_address_is_this_machines_nothing_is_served(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(*server_pair(authority()), telemetry=Telemetry())
    services = the_services(database_url)
    resolve(monkeypatch, "198.51.100.1", "203.0.113.9")
    with pytest.raises(OSError, match=r"none of the addresses of gateway\.example"):
        async with serve(create_app(services), "gateway.example", 0, shutdown_timeout=10, certificate=certificate):
            pass
    await services.db.dispose()
