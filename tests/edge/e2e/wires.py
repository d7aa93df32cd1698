"""A wire that a test cuts: TCP to one server, reset, silent in either direction, or alive on one side alone."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from meter.embedded.partdir import LOOPBACK

# reset: both sides are told at once. silent_up, silent_down, silent: what is sent that way arrives nowhere. half_open:
# the server's side is gone, and nobody tells the client.
Cut: TypeAlias = Literal["reset", "silent_up", "silent_down", "silent", "half_open"]
CUTS: Final[tuple[Cut, ...]] = ("reset", "silent_up", "silent_down", "silent", "half_open")
_RECEIVE_BYTES: Final = 64 * 1024
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Link:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    deaf: bool = False


class Wire:
    """Listens on `port` and passes everything on to `target`, a port of this machine, until it is cut."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.cut = False
        self._links: set[_Link] = set()
        self._open = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.heal()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        await self._server.wait_closed()

    def break_(self, how: Cut) -> None:
        """Cut it; `heal` makes it whole."""
        self.cut = True
        if how == "reset":
            self._reset()
        elif how == "half_open":
            for link in self._links:
                link.deaf = True
                _abort(link.far)
        for direction in ("up", "down"):
            if how in {"silent", f"silent_{direction}"}:
                self._open[direction].clear()

    def heal(self, *, lost: bool = True) -> None:
        """Let new connections pass; what was underway in the old ones is lost with them, or arrives late."""
        self.cut = False
        if lost:
            self._reset()
        for gate in self._open.values():
            gate.set()

    def _reset(self) -> None:
        for link in self._links:
            _abort(link.near)
            _abort(link.far)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            _abort(writer)
            return
        link = _Link(near=writer, far=far)
        self._links.add(link)
        up = asyncio.create_task(self._pump(reader, far, "up"))
        down = asyncio.create_task(self._pump(far_reader, writer, "down"))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if link.deaf:
                await writer.wait_closed()
        except OSError:
            pass  # closed by a reset
        finally:
            self._links.discard(link)
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            _abort(writer)
            _abort(far)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        try:
            while data := await reader.read(_RECEIVE_BYTES):
                await self._open[direction].wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # either side was reset


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close without a farewell: the peer sees a reset, and what was not sent yet is lost."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    writer.transport.abort()
