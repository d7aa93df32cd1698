"""How many connections there may be, and which ones go when there are too many (decision 0019).

    waiting ──head──▶ working ──▶ waiting      what waits for its peer gives way, the longest first;
                │        ▲                     what is being answered never does
                └▶ reading ─┘

A peer that opens a connection and says nothing, or says it slowly, costs a socket and is closed when another needs it.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, cast

from meter.telemetry import Telemetry

# Files, the database, the broker and vendors need some of the process's descriptors.
OTHER_DESCRIPTORS: Final = 256
# Each may hold up to 1 MiB of a body that is not complete.
READING_MAX: Final = 512

Transport: TypeAlias = asyncio.BaseTransport
ProtocolFactory: TypeAlias = Callable[[], asyncio.Protocol]


def raise_descriptors(wanted: int) -> int:
    """Return how many connections the process's descriptors allow, at most `wanted`; raises its soft limit for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_DESCRIPTORS))


class Connections:
    """Every connection of one server, by what it waits for."""

    def __init__(self, telemetry: Telemetry, *, connections_max: int, reading_max: int = READING_MAX) -> None:
        """Keep at most `connections_max` connections, and of these at most `reading_max` with a body on the way."""
        self._telemetry = telemetry
        self._connections_max = connections_max
        self._reading_max = reading_max
        self._open: set[Transport] = set()
        self._waiting: OrderedDict[Transport, None] = OrderedDict()
        self._reading: OrderedDict[Transport, None] = OrderedDict()
        self._working: set[Transport] = set()

    @property
    def working(self) -> int:
        """Return how many requests are being answered."""
        return len(self._working)

    def door(self, server: ProtocolFactory, *, instead_of: Transport | None = None) -> ProtocolFactory:
        """Return a factory as `create_server` takes it: each connection of `server` is counted here.

        `instead_of`: what was counted until it is made (a handshake).
        """
        return lambda: _Counted(server(), self, instead_of)

    def opened(self, transport: Transport) -> None:
        """Count a new connection; where there are too many, the one that has waited longest is closed."""
        self._open.add(transport)
        self._waiting[transport] = None
        if len(self._open) > self._connections_max:
            # The new one has waited least: it goes only where every other one is being answered.
            self._close(next(iter(self._waiting)) if len(self._waiting) > 1 else next(iter(self._reading), transport))
        self._telemetry.http_connected(len(self._open))

    def closed(self, transport: Transport) -> None:
        """Forget a connection."""
        self._open.discard(transport)
        self._waiting.pop(transport, None)
        self._reading.pop(transport, None)
        self._working.discard(transport)
        self._telemetry.http_connected(len(self._open))

    def works(self, transport: Transport | None) -> None:
        """Keep a connection from being closed: its request is here, or its body."""
        if transport is not None:
            self._waiting.pop(transport, None)
            self._reading.pop(transport, None)
            self._working.add(transport)

    def reads(self, transport: Transport | None) -> None:
        """A body is on the way; where too many are, the one that has been longest is closed."""
        if transport is not None:
            self._working.discard(transport)
            self._reading[transport] = None
            if len(self._reading) > self._reading_max:
                self._close(next(iter(self._reading)))

    def waits(self, transport: Transport | None) -> None:
        """An answer is out: the peer has the word."""
        if transport is not None:
            self._working.discard(transport)
            self._reading.pop(transport, None)
            if transport in self._open:
                self._waiting[transport] = None

    def _close(self, transport: Transport) -> None:
        self.closed(transport)
        self._telemetry.http_dropped()
        # Asked for by its method: what uvloop makes is of no class of asyncio's.
        cast("_Abortable", transport).abort()


class _Abortable(Protocol):
    def abort(self) -> None: ...


class _Counted(asyncio.Protocol):
    """A protocol that tells when its connection comes and goes."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections, instead_of: Transport | None) -> None:
        self._inner = inner
        self._connections = connections
        self._instead_of = instead_of
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)
        if self._instead_of is not None:
            self._connections.closed(self._instead_of)
            self._instead_of = None
        self._connections.opened(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.closed(self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
