"""The RADIUS accounting port: an answer says that what the packet holds is kept (RFC 2866, section 2).

datagram ─▶ decode ─▶ whose address ─▶ whose secret ─▶ events ─▶ intake ─▶ commit ─▶ Accounting-Response
              │           │               │              └─ none that count: answered at once
              └───────────┴───────────────┴─▶ no answer, counted; a sample is kept

What is not answered, the NAS sends again: with the queue full, after a fault, after a kill. A repetition that comes
while its first is being written is answered with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol, TypeAlias, cast

from meter.clock import Clock, now
from meter.log import log
from meter.model.errors import BadInput
from meter.model.wire import Parsed, Refusal
from meter.sources.make import refused
from meter.sources.spec import Setup
from meter.sources.wifi import radius
from meter.transport.radius_packet import Packet, decode
from meter.transport.reading import guarded
from meter.transport.samples import SAMPLE_BYTES_MAX

VENDOR: Final = "radius"
# Packets that wait for their commit: a second of the most that a process takes apart. Beyond it NASes send again.
PENDING_MAX: Final = 4_096
# Of one packet so many answers, whoever repeats it; a NAS tries three to ten times.
_REPETITIONS_MAX: Final = 16
# A site whose power comes back sends everything at once.
_SOCKET_BYTES: Final = 4 * 1024 * 1024

Address: TypeAlias = tuple[str, int]
_Network: TypeAlias = IPv4Network | IPv6Network
_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


class Intake(Protocol):
    """Where what the port read goes, and who counts it."""

    def take(
        self,
        items: Sequence[Parsed],
        *,
        setup: Setup,
        origin: str,
        received_at: datetime,
        settled: Callable[[bool], None],
    ) -> bool:
        """Tell whether there is room; if so, `settled` is told whether all is stored; at once without items."""

    def sample(self, refusal: Refusal, *, setup: Setup | None, origin: str, received_at: datetime) -> None:
        """Keep what is not answered for the operator, as far as there is room."""

    def count(self, outcome: str) -> None:
        """Count a packet: accepted, overloaded, unknown_client, malformed, bad_authenticator."""


class Clients:
    """Whose packets come from where: by the narrowest network that holds an address."""

    def __init__(self, setups: Iterable[Setup]) -> None:
        """Take the sources of this vendor; `faults` are (source, text) of networks that are none."""
        self.take(setups)

    def take(self, setups: Iterable[Setup]) -> None:
        """Know these from now on."""
        self.faults: list[tuple[str, str]] = []
        self._networks: list[tuple[_Network, Setup]] = []
        for setup in setups:
            if setup.vendor != VENDOR:
                continue
            for written in setup.options["clients"] or _ANYWHERE:
                try:
                    self._networks.append((ip_network(str(written)), setup))
                except ValueError as error:
                    self.faults.append((setup.name, f"clients: {error}"))
        self._networks.sort(key=lambda pair: -pair[0].prefixlen)

    def at(self, host: str) -> list[Setup]:
        """Return the sources that may send from an address, the most particular first."""
        address = _address(host)
        return [setup for network, setup in self._networks if address in network]


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


class RadiusPort(asyncio.DatagramProtocol):
    """Takes packets apart and answers those that are committed."""

    def __init__(self, clients: Clients, *, intake: Intake, clock: Clock = now) -> None:
        """Answer nothing before it has a transport."""
        self._clients = clients
        self._intake = intake
        self._clock = clock
        self._transport: asyncio.DatagramTransport | None = None
        # How often each packet came that is being written.
        self._pending: dict[tuple[Address, bytes], int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer through `transport`."""
        # asyncio's own is one by what it does, not by its class.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, exc: Exception) -> None:
        """A client does not hear its answer: it sends again."""
        log.debug("radius_unheard", detail=str(exc))

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Take one packet; whatever is wrong with it, the next one is taken."""
        address: Address = (str(addr[0]), int(addr[1]))
        try:
            outcome = self._receive(data, address)
        except Exception:  # noqa: BLE001 -- a packet that makes us fail must not stop the port; its NAS sends again
            log.exception("radius_failed")
        else:
            if outcome is not None:
                self._intake.count(outcome)

    def _receive(self, data: bytes, address: Address) -> str | None:
        """Return what became of a packet; None: that is known after the commit."""
        setups = self._clients.at(address[0])
        if not setups:
            message = "no source of RADIUS has clients there; set its option clients"
            self._sample(data, address, BadInput(message, code="bad_signature"), None)
            return "unknown_client"
        try:
            packet = decode(data)
        except BadInput as error:
            self._sample(data, address, error, setups[0])
            return "malformed"
        for setup in setups:
            secret = packet.secret_of(setup.secrets)
            if secret is not None:
                return self._accept(packet, setup, secret, address)
        message = "its authenticator fits no secret; check the shared secret"
        self._sample(data, address, BadInput(message, code="bad_signature"), setups[0])
        return "bad_authenticator"

    def _accept(self, packet: Packet, setup: Setup, secret: str, address: Address) -> str | None:
        key = (address, packet.mark)
        if key in self._pending:
            self._pending[key] = min(_REPETITIONS_MAX, self._pending[key] + 1)
            return None
        if len(self._pending) >= PENDING_MAX:
            return "overloaded"
        received_at = self._clock()
        try:
            sender = str(_address(address[0]))
            read = partial(radius.read, setup, packet.attributes, received_at=received_at, sender=sender)
            items: Sequence[Parsed] = guarded(read, vendor=setup.vendor, source=setup.name)
        except BadInput as error:
            items = [refused(error, packet.body)]  # kept, and answered: it would come again as it is
        self._pending[key] = 1
        settled = partial(self._settled, packet, secret, address)
        if not self._intake.take(items, setup=setup, origin=_origin(address), received_at=received_at, settled=settled):
            del self._pending[key]
            return "overloaded"
        return None

    def _settled(self, packet: Packet, secret: str, address: Address, stored: bool) -> None:  # noqa: FBT001 -- a callback's
        times = self._pending.pop((address, packet.mark), 1)
        if not stored:
            for _ in range(times):
                self._intake.count("overloaded")
            return
        answer = packet.answer(secret)
        for _ in range(times):
            self._intake.count("accepted")
            if self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(answer, address)

    def _sample(self, data: bytes, address: Address, error: BadInput, setup: Setup | None) -> None:
        refusal = refused(error, data[:SAMPLE_BYTES_MAX])
        self._intake.sample(refusal, setup=setup, origin=_origin(address), received_at=self._clock())


def _origin(address: Address) -> str:
    return f"radius/{address[0]}"


@asynccontextmanager
async def radius_port(
    address: Address, *, clients: Clients, intake: Intake, setting: str, clock: Clock = now
) -> AsyncIterator[Address]:
    """Receive at `address` and give the one that was bound. Raises BadInput (`port_taken`) naming `setting`.

    Left after what keeps the events has stopped, so that what it still writes is answered.
    """
    host, port = address
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: RadiusPort(clients, intake=intake, clock=clock), local_addr=(host, port)
        )
    except OSError as error:
        fault = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        message = f"{setting}: cannot listen on {host}:{port} (UDP): {fault}; free it, or take another"
        raise BadInput(message, code="port_taken") from error
    try:
        _widen(transport.get_extra_info("socket"))
        bound = transport.get_extra_info("sockname")
        log.info("radius_listens", host=bound[0], port=bound[1])
        yield str(bound[0]), int(bound[1])
    finally:
        transport.close()


def _widen(bound: socket.socket) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
