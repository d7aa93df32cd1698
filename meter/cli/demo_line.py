"""The line between the demo's site and its broker: bytes pass, until it is cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 64 * 1024


class Line:
    """Passes bytes on from `port` of `host` to another address. An async context manager."""

    def __init__(self, host: str, *, to: tuple[str, int]) -> None:
        """Listen nowhere yet."""
        self._host = host
        self._to = to
        self._is_cut = False
        self._passing: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen, at any free port."""
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Cut it for good."""
        self.cut()
        await asyncio.gather(*self._passing, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self) -> None:
        """End every connection, and each that is made until `mend`."""
        self._is_cut = True
        for task in self._passing:
            task.cancel()

    def mend(self) -> None:
        """Let bytes pass again."""
        self._is_cut = False

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until one side ends."""
        writers = [writer]
        try:
            if self._is_cut:
                return
            far_reader, far_writer = await asyncio.open_connection(*self._to)
            writers.append(far_writer)
            ways = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # nobody answers there: the site hears of it as of a line that is down
        finally:
            for end in writers:
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
