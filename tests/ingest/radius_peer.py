"""Whoever sends RADIUS accounting, for tests: packets by pyrad, an endpoint, and a network that loses and repeats."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr
from pyrad.packet import AcctPacket  # type: ignore[import-untyped]

from meter.config import WebhookSettings
from meter.ingest.setups import Sources

SECRETS = ("testing123", "the-next-one")
_NUMBERS = {"Acct-Status-Type": 40, "Acct-Delay-Time": 41, "Acct-Input-Octets": 42, "Acct-Output-Octets": 43,
            "Acct-Session-Time": 46, "Acct-Output-Gigawords": 53, "Event-Timestamp": 55}  # fmt: skip
_TEXTS = {"User-Name": 1, "Called-Station-Id": 30, "Calling-Station-Id": 31, "NAS-Identifier": 32,
          "Acct-Session-Id": 44}  # fmt: skip


def radius_sources(**options: Any) -> Sources:
    """One source, `aps` of berlin."""
    aps = WebhookSettings(secrets=[SecretStr(secret) for secret in SECRETS], site="berlin", options=options)
    return Sources({"radius": {"aps": aps}})


def packet(
    attributes: Mapping[str, Any], *, secret: str = SECRETS[0], number: int = 1, signed: bool = False, **more: Any
) -> AcctPacket:
    """An Accounting-Request; `signed`: with a Message-Authenticator."""
    made = AcctPacket(id=number, secret=secret.encode())
    if signed:
        made.add_message_authenticator()
    for name, value in {**attributes, **more}.items():
        if name in _NUMBERS:
            made[_NUMBERS[name]] = [int(value).to_bytes(4)]
        elif name in _TEXTS:
            made[_TEXTS[name]] = [value.encode()]
        elif name.isdecimal():
            made[int(name)] = list(value)
    return made


class Peer(asyncio.DatagramProtocol):
    """An endpoint that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 -- asyncio's signature
        self.heard.put_nowait(data)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data)

    async def answer(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.heard.get()


@asynccontextmanager
async def peer(address: tuple[str, int]) -> AsyncIterator[Peer]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(Peer, remote_addr=address)
    try:
        yield made
    finally:
        transport.close()


class _Way(asyncio.DatagramProtocol):
    """One client's way through the network, and back."""

    def __init__(self, network: "Network", client: Any) -> None:
        self.network = network
        self.client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 -- asyncio's signature
        self.network.carry(lambda: self.network.near.sendto(data, self.client))


class Network(asyncio.DatagramProtocol):
    """Carries packets to `server` and answers back; by its seed it loses, repeats and holds up some of either."""

    def __init__(self, server: tuple[str, int], seed: int) -> None:
        self.server = server
        self.dice = random.Random(seed)  # noqa: S311 -- repeatable, not secret
        self.near: Any = None
        self.ways: dict[Any, asyncio.Task[Any]] = {}
        self.lost = self.repeated = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.near = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr not in self.ways:
            loop = asyncio.get_running_loop()
            self.ways[addr] = asyncio.create_task(
                loop.create_datagram_endpoint(lambda: _Way(self, addr), remote_addr=self.server)
            )
        self.ways[addr].add_done_callback(lambda way: self.carry(lambda: way.result()[0].sendto(data)))

    def carry(self, send: Any) -> None:
        if self.dice.random() < 0.1:
            self.lost += 1
            return
        copies = 2 if self.dice.random() < 0.2 else 1
        self.repeated += copies - 1
        for _ in range(copies):
            asyncio.get_running_loop().call_later(self.dice.random() * 0.02, send)


@asynccontextmanager
async def network(server: tuple[str, int], *, seed: int) -> AsyncIterator[tuple[tuple[str, int], Network]]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: Network(server, seed), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname"), made
    finally:
        transport.close()
        for way in made.ways.values():
            (await way)[0].close()
