"""What time it truly is: asked of the gateway, kept with the spool (decision 0015)."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from edge.clock import Clock, Reading
from edge.spool.records import Measurement
from edge.uplink.clocks import Correction, better, correction, error_ms_at, measured, true_at
from meter.log import log
from meter.model.errors import Unavailable

# Answers that may still come; an older question's answer says too little.
_ASKED_MAX: Final = 16
# NTP steps a clock that is off by more than 128 ms; a second is what nobody bills by.
_NTP_ERROR_MS: Final = 1_000
# An answer to a question that a broker kept for a gateway that was away is off by up to half of that. No working link
# takes ten seconds there and back.
_ERROR_MS_MAX: Final = 5_000
# What is known is as good as that for hours; kept anew with every event, it would cost an fsync each.
_KNOWN_WELL_MS: Final = 2 * _NTP_ERROR_MS
# For a machine where nothing happens. It asks the kernel, not the network.
_LOOK_S: Final = 5.0


class Timekeeper:
    """Knows the measurements of machines' boots. `known` is set once the running boot is measured."""

    def __init__(
        self,
        measurements: Mapping[str, Measurement],
        *,
        clock: Clock,
        keep: Callable[[Measurement], Awaitable[None]],
    ) -> None:
        """Begin with what the spool has; `keep` stores a better one."""
        self._measurements = dict(measurements)
        self._clock = clock
        self._keep = keep
        self._asked: OrderedDict[str, int] = OrderedDict()
        # An answer to an earlier process's question may come now, and would put the clock wrong.
        self._name = secrets.token_hex(4)
        self._count = 0
        self._unkept: Measurement | None = None
        self.known = asyncio.Event()
        self.look = asyncio.Event()  # set it where a commit shows that time has passed
        if clock.read().machine_boot in self._measurements:
            self.known.set()

    def ask(self) -> str:
        """Return the mark of a question that is asked now."""
        self._count += 1
        mark = f"{self._name}-{self._count}"
        self._asked[mark] = self._clock.read().boottime_ns
        if len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)
        return mark

    async def answered(self, mark: str, *, received: datetime, sent: datetime | None = None) -> None:
        """Take the gateway's answer to a question: when it was received there, and when the answer left."""
        asked_ns, now = self._asked.pop(mark, None), self._clock.read()
        if asked_ns is None:
            return
        found = measured(now.machine_boot, asked_ns=asked_ns, heard_ns=now.boottime_ns, received=received, sent=sent)
        if found is not None and found.error_ms <= _ERROR_MS_MAX:
            await self._take(found)

    async def watch_ntp(self) -> None:
        """Keep NTP's word for the running boot, should the gateway not be reached before its end. Runs for ever."""
        while True:
            self.look.clear()
            await self.trust_ntp()
            await self._keep_found()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self.look.wait()

    async def trust_ntp(self) -> None:
        """Take the machine's own clock for true while NTP holds it and nothing better is known."""
        now = self._clock.read()
        known = self._measurements.get(now.machine_boot)
        if not now.synchronised or (known is not None and error_ms_at(known, now.boottime_ns) <= _KNOWN_WELL_MS):
            return
        await self._take(
            Measurement(
                machine_boot=now.machine_boot,
                boottime_ns=now.boottime_ns,
                true=now.wall,
                error_ms=_NTP_ERROR_MS,
                ntp=True,
            )
        )

    async def _take(self, found: Measurement) -> None:
        known = self._measurements.get(found.machine_boot)
        if better(known, found) is not found:
            return
        self._measurements[found.machine_boot] = self._unkept = found
        self.known.set()
        await self._keep_found()

    async def _keep_found(self) -> None:
        """Store what was found; what the spool has no room for serves all the same, and is stored at another look."""
        found = self._unkept
        if found is None:
            return
        try:
            await self._keep(found)
        except Unavailable as error:
            log.warning("measurement_not_kept", code=error.code, detail=error.detail)
        else:
            self._unkept = None if self._unkept is found else self._unkept

    def correction(self, stamp: Reading) -> Correction | None:
        """Return with what an event stamped by the agent is sent; None: it has to wait."""
        running = self._clock.read().machine_boot
        return correction(stamp, self._measurements.get(stamp.machine_boot), running=running)

    def offset_ms(self) -> int | None:
        """Return by how much the wall clock is ahead of the true time; None: not known."""
        now = self._clock.read()
        known = self._measurements.get(now.machine_boot)
        return (
            None if known is None else round((now.wall - true_at(known, now.boottime_ns)) / timedelta(milliseconds=1))
        )
