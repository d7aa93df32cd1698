"""From the spool to the gateway over one connection after the other, and the gateway's word back (decision 0015).

spool ─▶ window says what ─▶ marked, together ─▶ channel ─▶ gateway
  ▲                                                             │ committed
  └──────────── let go ◀── acknowledgement ◀── channel ◀────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, Protocol

from edge.clock import monotonic_s
from edge.spool.keeper import Keeper
from edge.spool.records import Place, Stored
from edge.uplink.clocks import UNSYNCHRONISED, Correction
from edge.uplink.marks import MESSAGE_BYTES_MAX, NO_CORRECTION, marked, together
from edge.uplink.timekeeper import Timekeeper
from edge.uplink.window import NOWHERE, Limits, Message, Window
from meter.log import log
from meter.model.errors import Unavailable

# The question was lost, or a broker keeps it for a gateway that is away, and its answer will say too little.
_TIME_WAIT_S: Final = 30.0
# Nothing is due: look around all the same, for what a hook may have missed.
_IDLE_S: Final = 5.0
_RETRY_S: Final = 1.0
# Events do not wait longer for what had better come before them.
_BEFORE_S: Final = 5.0
# Nothing is sent before its boot is measured; were it sent all the same, everybody would see that.
UNMEASURED: Final = Correction(flag=UNSYNCHRONISED)


class Channel(Protocol):
    """One connection to the gateway. Raises Unavailable once it is gone."""

    @property
    def limits(self) -> Limits:
        """Return how much may be in flight."""

    async def send(self, body: bytes, places: Sequence[Place]) -> None:
        """Hand a message on; that it was handed on says nothing about the gateway."""

    async def ask_time(self) -> None:
        """Have the gateway asked what time it is, and what it holds, unless heartbeats ask along."""

    async def ended(self) -> str:
        """Wait for the connection's end and return its reason."""


class Pump:
    """Moves events from one spool; `serve` it with one channel at a time."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        edge: str,
        timekeeper: Timekeeper,
        window: Window | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Send nothing yet. `before`: what had better reach the gateway before events do, over each connection."""
        self._keeper = keeper
        self._edge = edge
        self._timekeeper = timekeeper
        self._window = window or Window(last=keeper.last or Place(keeper.boot, 0))
        self._before = before
        self._wake = asyncio.Event()
        self.ready = asyncio.Event()  # the time is known, so that events may go
        self._acknowledged: dict[int, tuple[int, set[int]]] = {}
        self._heard = asyncio.Event()
        self._start_over = False
        keeper.on_commit.append(self._committed)

    def acknowledged(self, boot: int, up_to: int, also: Collection[int]) -> None:
        """Take the gateway's word that these are committed there."""
        self._window.acknowledged(boot, up_to, also)
        before, more = self._acknowledged.get(boot, (0, set()))
        self._acknowledged[boot] = (max(before, up_to), more | set(also))
        self._heard.set()
        self._wake.set()

    def answered(self) -> None:
        """Take note that the gateway answers: it is not away, so what it was sent is acknowledged soon or was lost."""
        self._window.answered(at_s=monotonic_s())
        self._wake.set()

    def start_over(self) -> None:
        """Go through all that waits from its beginning: something waits again that was passed."""
        self._start_over = True
        self._wake.set()

    async def let_go(self) -> None:
        """Tell the spool what was acknowledged, as much as came during one commit with the next. Runs for ever."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            told, self._acknowledged = self._acknowledged, {}
            for boot, (up_to, also) in told.items():
                try:
                    await self._keeper.acknowledge(boot, up_to, sorted(also))
                except Unavailable as error:
                    # They are sent again and acknowledged again: nothing is lost by not having noted it.
                    log.warning("acknowledgement_not_kept", code=error.code, detail=error.detail)
                    await asyncio.sleep(_RETRY_S)

    async def serve(self, channel: Channel) -> str:
        """Send over `channel` until it ends, and return why."""
        self._begin(channel)
        ended = asyncio.create_task(channel.ended())
        sending = asyncio.create_task(self._send_on(channel))
        try:
            await asyncio.wait([ended, sending], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            return await ended
        finally:
            self._window.disconnected()
            for task in (ended, sending):
                task.cancel()
            await asyncio.gather(ended, sending, return_exceptions=True)

    def _begin(self, channel: Channel) -> None:
        self._window.connected(self._keeper.last or Place(self._keeper.boot, 0), channel.limits)

    def _committed(self) -> None:
        self._window.committed(self._keeper.last or NOWHERE)
        self._wake.set()

    async def _send_on(self, channel: Channel) -> None:
        await self._timekeeper.trust_ntp()
        while not self._timekeeper.known.is_set():
            await channel.ask_time()
            try:
                async with asyncio.timeout(_TIME_WAIT_S):
                    await self._timekeeper.known.wait()
            except TimeoutError:
                log.warning("time_unknown", detail="the gateway does not say what time it is; events wait for that")
        self.ready.set()
        if self._before is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEFORE_S):
                    await self._before()
        while True:
            self._wake.clear()
            if self._start_over:
                # Here, and not where it is asked for: a message that is being read would pass what waits again.
                self._start_over = False
                self._begin(channel)
            await self._fill(channel)
            await self._again(channel)
            due_s = self._window.next_due_s()
            wait_s = _IDLE_S if due_s is None else min(_IDLE_S, max(0.0, due_s - monotonic_s()))
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _fill(self, channel: Channel) -> None:
        """Send as long as there is something and room for it."""
        held = False
        while (lane := self._window.wants(held=held)) is not None:
            # Asked before reading: the gateway's first word may come meanwhile, and what was held back was not read.
            proven = self._keeper.proven
            found = await self._read(*self._window.span(lane), events_max=channel.limits.events_max)
            if not found and not proven:
                if held or lane == "backlog":
                    return
                held = True  # the spool holds back what is newer until then; what it had before goes
                continue
            message = self._window.sent(lane, [stored.place for stored in found], at_s=monotonic_s())
            if message is not None:
                await self._send(channel, found)

    async def _again(self, channel: Channel) -> None:
        """Send again what was not acknowledged in time."""
        for message in self._window.overdue(monotonic_s()):
            found = await self._left(message)
            self._window.forget(message.left - {stored.place for stored in found})
            if found:
                self._window.again(message, at_s=monotonic_s())
                await self._send(channel, found)

    async def _left(self, message: Message) -> list[Stored]:
        found: list[Stored] = []
        for boot in {place.boot for place in message.left}:
            of_boot = [place.sequence for place in message.left if place.boot == boot]
            first, last = min(of_boot), max(of_boot)
            span = await self._keeper.unsent(
                boot, first - 1, events_max=last - first + 1, bytes_max=2 * MESSAGE_BYTES_MAX
            )
            found += [stored for stored in span if stored.place in message.left]
        return found

    async def _read(self, after: Place, up_to: Place, *, events_max: int) -> list[Stored]:
        """Return the next events between two places that wait, of one boot and for one message."""
        for boot in sorted({*self._keeper.waiting_boots, self._keeper.boot}):
            if not after.boot <= boot <= up_to.boot:
                continue
            first = after.sequence if boot == after.boot else 0
            found = await self._keeper.unsent(boot, first, events_max=events_max, bytes_max=MESSAGE_BYTES_MAX)
            within = [stored for stored in found if stored.place <= up_to]
            if within:
                return within
        return []

    async def _send(self, channel: Channel, found: Sequence[Stored]) -> None:
        await channel.send(together(self.envelope(stored) for stored in found), [stored.place for stored in found])

    def envelope(self, stored: Stored) -> bytes:
        """Return an event as it is sent."""
        corrected = self._timekeeper.correction(stored.heard) if stored.stamped else NO_CORRECTION
        return marked(
            stored.body,
            edge=self._edge,
            boot=stored.place.boot,
            sequence=stored.place.sequence,
            heard=stored.heard.wall if stored.stamped else None,
            correction=UNMEASURED if corrected is None else corrected,
        )
