"""A listener that speaks TLS: each connection counts from the moment it is accepted, not from when it is secured.

    accept ─▶ handshake ─▶ HTTP          in a handshake it waits for its peer, and gives way as any that waits does
                  └── HANDSHAKE_S ─▶ closed

What asyncio does by itself (`create_server(ssl=...)`) counts, and so limits, nothing before the handshake is done.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from meter.api.connections import Connections, ProtocolFactory
from meter.clock import now
from meter.log import log
from meter.model.errors import BadInput
from meter.telemetry import Telemetry
from meter.transport.serving_tls import ServingPair, serving_pair

# Two round trips of a bad line take a second.
HANDSHAKE_S: Final = 10.0
# Out of descriptors: others have to be closed first. asyncio waits as long.
_EXHAUSTED_S: Final = 1.0
# A name may have an address of a family that this machine is without, such as ::1 where IPv6 is off.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Certificate:
    """What the listener shows of itself: the newest pair that was sound."""

    def __init__(self, cert_pem: str, key_pem: str, *, telemetry: Telemetry) -> None:
        """Begin with this pair, ended or not. Raises BadInput (`bad_certificate`)."""
        self._given = cert_pem, key_pem
        self._telemetry = telemetry
        self.pair: ServingPair = serving_pair(cert_pem, key_pem)
        self.kept = False
        if (fault := self.pair.fault(now())) is not None:
            log.error("certificate_refused", detail=fault)

    def take(self, cert_pem: str, key_pem: str) -> None:
        """Show this pair from the next handshake on; the one before stays where this is none, or has ended."""
        if self._given == (cert_pem, key_pem):
            return
        self._given = cert_pem, key_pem
        try:
            pair = serving_pair(cert_pem, key_pem)
            fault = pair.fault(now())
        except BadInput as error:
            fault = error.detail
        else:
            if fault is None:
                self.pair, self.kept = pair, False
                log.info("certificate_taken", detail=pair.shown)
                return
        self.kept = True
        self._telemetry.secret_changed(outcome="kept")
        log.error("certificate_kept", detail=f"{fault}; the pair before it is still shown")


class _Handshake(asyncio.WriteTransport):
    """A connection that is not secured yet, as Connections takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        if self.task is not None:
            self.task.cancel()


@asynccontextmanager
async def secured(
    server: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    *,
    connections: Connections,
    certificate: Certificate,
    backlog: int,
) -> AsyncIterator[int]:
    """Serve over TLS at every address of the host; give the port. Raises OSError where it cannot listen."""
    loop = asyncio.get_running_loop()
    shaking: set[asyncio.Task[None]] = set()
    with ExitStack() as listening:
        listeners = await _listeners(host, port, backlog, listening)

        async def accept(listener: socket.socket) -> None:
            while True:
                try:
                    peer, _ = await loop.sock_accept(listener)
                except ConnectionError:  # it went before it was accepted
                    continue
                except OSError as error:
                    log.error("accept_failed", detail=str(error))
                    await asyncio.sleep(_EXHAUSTED_S)
                    continue
                handshake = _Handshake()
                handshake.task = asyncio.create_task(_secure(peer, handshake, server, connections, certificate))
                shaking.add(handshake.task)
                handshake.task.add_done_callback(shaking.discard)
                connections.opened(handshake)

        accepting = [asyncio.create_task(accept(listener)) for listener in listeners]
        try:
            yield _port(listeners[0])
        finally:
            tasks = [*accepting, *shaking]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _listeners(host: str, port: int, backlog: int, listening: ExitStack) -> list[socket.socket]:
    """Listen at each address of the host that this machine has, all on one port; `listening` closes them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    for family, address in dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found):
        try:
            # A port that was not named is chosen once.
            listener = socket.create_server((address, _port(made[0]) if made else port), family=family, backlog=backlog)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            log.warning("address_not_here", address=address, detail=str(error))
            continue
        made.append(listening.enter_context(listener))
        listener.setblocking(False)
    if not made:
        raise OSError(errno.EADDRNOTAVAIL, f"none of the addresses of {host} is this machine's")
    return made


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def _secure(
    peer: socket.socket,
    handshake: _Handshake,
    server: ProtocolFactory,
    connections: Connections,
    certificate: Certificate,
) -> None:
    """Bring a connection through its handshake; it is HTTP's from then on, or closed."""
    try:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().connect_accepted_socket(
            connections.door(server, instead_of=handshake),
            peer,
            ssl=certificate.pair.context,
            ssl_handshake_timeout=HANDSHAKE_S,
        )
    except OSError:  # it went, was too slow, or spoke no TLS that we speak
        peer.close()
    except asyncio.CancelledError:
        peer.close()
        raise
    finally:
        connections.closed(handshake)
