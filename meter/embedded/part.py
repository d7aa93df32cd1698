"""What both embedded parts do alike: hold the directory, clear leftovers, choose user and port, start, wait, stop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self

from meter.embedded.child import Child, Program, stop_leftovers
from meter.embedded.partdir import PartDir, choose_port
from meter.embedded.runas import RunAs, ways
from meter.model.errors import BadInput, Unavailable

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from pathlib import Path

# A server that recovers from a crash replays its log first: minutes on a slow disk, and it says so in its log.
READY_TIMEOUT_S: Final = 180.0
_PROBE_INTERVAL_S: Final = 0.03
_STARTS_MAX: Final = 3  # another process may take a free port between choosing it and listening on it
_VERSION_TIMEOUT_S: Final = 30.0


class EmbeddedPart(ABC):
    """A server as a child of this process; an async context manager, or `start` and `stop`.

    One gateway at a time per data directory: a second gets Unavailable with the holder's process id.
    """

    name: str
    command: str  # as the kernel names the process
    stop_signals: Sequence[tuple[signal.Signals, float]]

    def __init__(self, data_dir: Path, *, host: str, port: int | None) -> None:
        self.host = host
        self._given_port = port
        self._port: int | None = None
        self._dir = PartDir(data_dir, self.name)
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """Where it listens; known once it has started."""
        if self._port is None:
            raise Unavailable(f"{self.name} has not been started")
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process, or None when it does not run."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Return when it answers. Raises BadInput (directory), Unavailable (in use, port taken, did not answer)."""
        self._dir.lock()
        try:
            await stop_leftovers(self._dir.home, self.command, self.stop_signals)
            run_as = await self._choose_user()
            await self._prepare(run_as)
            for attempt in range(1, _STARTS_MAX + 1):
                if await self._try_start(run_as, last=attempt == _STARTS_MAX):
                    break
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server in order and let go of the directory; harmless when it does not run."""
        child, self._child = self._child, None
        try:
            if child is not None:
                await child.stop()
        finally:
            self._dir.unlock()

    async def watch(self) -> None:
        """Run until cancelled, keeping the log bounded; raise Unavailable with its last words if it ends by itself."""
        if self._child is None:
            raise Unavailable(f"{self.name} has not been started")
        await self._child.watch()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    def _binary(self) -> Path:
        """The server's program file."""

    async def _prepare(self, run_as: RunAs) -> None:  # noqa: B027 -- the broker needs nothing
        """Make what must be there before the first start; at later ones it is there already."""

    @abstractmethod
    def _arguments(self, port: int, run_as: RunAs) -> Sequence[str]:
        """The server's command line after its name, with the files that it names written."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether it serves, asked over a real connection."""

    def _program(self, argv: Sequence[str], run_as: RunAs, *, log: str) -> Program:
        return Program(
            name=self.name,
            argv=argv,
            cwd=self._dir.home,
            log=self._dir.path / log,
            run_as=run_as,
            stop=self.stop_signals,
        )

    async def _choose_user(self) -> RunAs:
        """The first way in which the program runs at all and reaches its directory."""
        tried = ways(self._dir.home)
        if tried == [RunAs()]:
            return tried[0]
        failures = []
        for run_as in tried:
            run_as.own(self._dir.home)
            probe = Child(self._program([str(self._binary()), "--version"], run_as, log="probe.log"))
            probe.start()
            try:
                if await probe.ended(within_s=_VERSION_TIMEOUT_S) == 0:
                    return run_as
                failures.append(f"{run_as}: {probe.last_words()}")
            finally:
                await probe.stop()
        raise BadInput(
            f"{self.name} must not run as root, and no other user can be had for it: {'; '.join(failures)}. "
            "Keep the program and the data directory where every user may pass (not below a home of mode 0700), run as "
            "an ordinary user, or name a server that runs already in the settings",
            code="no_user_for_embedded_part",
        )

    async def _try_start(self, run_as: RunAs, *, last: bool) -> bool:
        """Whether it answers; False when it ended because its port was taken meanwhile and another may be tried."""
        port = choose_port(self.host, given=self._given_port, remembered=self._dir.state().get("port"))
        argv = [str(self._binary()), *self._arguments(port, run_as)]
        child = Child(self._program(argv, run_as, log=f"{self.name}.log"))
        self._child, self._port = child, port
        child.start()
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await self._answers():
            if await child.ended(within_s=_PROBE_INTERVAL_S) is not None:
                if self._given_port is None and not last and "ddress already in use" in child.last_words():
                    return False
                raise Unavailable(child.obituary(), code="embedded_part_ended")
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable(
                    f"{self.name} does not answer on {self.host}:{port} after {READY_TIMEOUT_S:.0f} s. "
                    f"Its last words:\n{child.last_words()}",
                    code="embedded_part_silent",
                )
        self._dir.keep({**self._dir.state(), "port": port})
        return True
