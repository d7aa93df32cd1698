"""A card reader that types what it reads, at USB (a keyboard) or at a serial port: each number is a door.access event.

device ─▶ keys or characters ─▶ a number and the clock's word ─▶ held ─▶ intake ─▶ commit

A reader keeps nothing and hears no answer: what the spool has no room for is held in memory, a thousand cards of it.
What an agent that starts hears at once may be the end of a number whose beginning the last one heard: it is no card.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import termios
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from edge.clock import Clock, Reading
from edge.collect.keys import Characters, Keys, Typed
from edge.config.settings import ReaderSettings
from edge.heartbeat import CollectorState, State
from edge.intake import Intake, Origin
from meter.log import log
from meter.model.credential import badge_from
from meter.model.errors import BadInput, Unavailable
from meter.model.wire import Parsed
from meter.sources.doors.access import access
from meter.sources.make import digest, refused
from meter.sources.spec import Setup

# Linux: _IOW('E', 0x90, int). What the reader types then goes to nobody else, no console and no desktop.
_EVIOCGRAB: Final = 0x40044590
_INPUT: Final = "/dev/input/"
# A reader types a number within a tenth of a second; half of one after so long is of a cable that was touched.
HALF_S: Final = 1.0
# So long after it was opened a reader must have been silent, or what it types is taken for the rest of a number.
SETTLED_S: Final = 0.3
# It may be plugged in again at any moment.
_GONE_S: Final = 1.0
_FULL_S: Final = 5.0
# A busy door's hour.
HELD_MAX: Final = 1_000
_READ_BYTES: Final = 4_096
_BADGE: Final = "badge"


class ReaderCollector:
    """Hears one card reader. `dropped` counts the cards for which there was no room."""

    def __init__(self, name: str, settings: ReaderSettings, *, site: str, intake: Intake, clock: Clock) -> None:
        """Open nothing yet."""
        self.name = f"reader:{name}"
        self._settings = settings
        self._setup = Setup(vendor="reader", name=name, site=site)
        self._keyboard = settings.device.startswith(_INPUT)
        self._intake = intake
        self._clock = clock
        self._held: deque[tuple[str, Reading]] = deque()
        self._news = asyncio.Event()
        self._detail: str | None = "not opened yet"
        self._full: str | None = None
        self._last: datetime | None = None
        self.dropped = 0

    @property
    def state(self) -> CollectorState:
        """Return how it is; complete up to the oldest card that is held."""
        lost = f"{self.dropped} cards had no room" if self.dropped else None
        detail = self._detail or self._full or lost
        state: State = "failing" if self._detail else "waiting" if self._full else "running"
        until = self._held[0][1].wall if self._held else None
        return CollectorState(state=state, detail=detail, last=self._last, complete_until=until)

    async def run(self) -> None:
        """Hear the reader, and open it again when it was gone, until cancelled. Raises SpoolFailed."""
        keeping = asyncio.create_task(self._keep())
        hearing = asyncio.create_task(self._hear())
        try:
            await asyncio.wait([keeping, hearing], return_when=asyncio.FIRST_COMPLETED)
            for task in (keeping, hearing):
                if task.done():
                    task.result()
        finally:
            keeping.cancel()
            hearing.cancel()
            await asyncio.gather(keeping, hearing, return_exceptions=True)

    async def _hear(self) -> None:
        while True:
            try:
                with opened(self._settings, keyboard=self._keyboard) as device:
                    log.info("reader_opened", reader=self.name, device=self._settings.device)
                    self._detail = None
                    await self._read(device)
            except OSError as error:
                detail = f"{self._settings.device}: {error.strerror or error}; plug it in, or mend its settings"
                if detail != self._detail:
                    log.warning("reader_gone", reader=self.name, detail=detail)
                self._detail = detail
            await asyncio.sleep(_GONE_S)

    async def _read(self, device: int) -> None:
        """Take what the device gives until it is gone. Raises OSError."""
        typed: Typed = Keys() if self._keyboard else Characters()
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(device, ready.set)
        rest = True
        wait_s: float | None = SETTLED_S
        try:
            while True:
                try:
                    async with asyncio.timeout(wait_s):
                        await ready.wait()
                except TimeoutError:
                    if typed.half:
                        typed.drop()
                    rest, wait_s = False, None
                    continue
                ready.clear()
                numbers = typed.feed(_available(device))
                if rest and numbers:
                    log.info("reader_rest_dropped", reader=self.name)
                    rest = False
                    del numbers[0]
                for number in numbers:
                    self._hold(number)
                wait_s = HALF_S if rest or typed.half else None
        finally:
            loop.remove_reader(device)

    def _hold(self, number: str) -> None:
        if len(self._held) >= HELD_MAX:
            self.dropped += 1
            return
        self._held.append((number, self._clock.read()))
        self._news.set()

    async def _keep(self) -> None:
        """Have what is held committed, in its order. Raises SpoolFailed."""
        while True:
            if not self._held:
                self._news.clear()
                await self._news.wait()
            number, heard = self._held[0]
            try:
                await self._intake.keep([self._event(number, heard)], origin=Origin(name=self.name, same_clock=True))
            except Unavailable as error:
                self._full = error.detail
                await asyncio.sleep(_FULL_S)
                continue
            self._full, self._last = None, heard.wall
            self._held.popleft()

    def _event(self, number: str, heard: Reading) -> Parsed:
        settings = self._settings
        try:
            spelled = badge_from(number, settings.form, length=settings.bytes) if settings.kind == _BADGE else number
        except BadInput as error:
            return refused(error, number.encode())
        return access(
            self._setup,
            # No two cards are read at one moment of a machine's life.
            id=digest(heard.machine_boot, heard.boottime_ns),
            door=settings.door,
            granted=True,
            subject=f"{settings.kind}:{spelled}",
            time=heard.wall,
            direction=settings.direction,
        )


@contextmanager
def opened(settings: ReaderSettings, *, keyboard: bool) -> Iterator[int]:
    """Open the device for this process alone, and give its file descriptor. Raises OSError."""
    device = os.open(settings.device, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if keyboard:
            fcntl.ioctl(device, _EVIOCGRAB, 1)
        else:
            _set_up_line(device, settings.baud)
        yield device
    finally:
        os.close(device)


def _set_up_line(device: int, baud: int) -> None:
    speed = getattr(termios, f"B{baud}")
    try:
        tty.setraw(device)
        attributes = termios.tcgetattr(device)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(device, termios.TCSANOW, attributes)
    except termios.error as error:
        raise OSError(errno.ENOTTY, "is no serial port") from error


def _available(device: int) -> bytes:
    """Return what there is to read. Raises OSError, also where nothing will ever come."""
    try:
        found = os.read(device, _READ_BYTES)
    except BlockingIOError:
        return b""
    if not found:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return found
