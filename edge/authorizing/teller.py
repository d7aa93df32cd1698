"""Tells the gateway what was answered without it, and what was let go: until it has it, through kills, each once.

owed (rows, the oldest first) ─▶ gateway ─▶ noted in one transaction ─▶ owed
                                   │
                                   ├─ no answer: later, after a pause that grows
                                   └─ will not have it: kept, shown in the heartbeat, not told again
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from edge.authorizing import book, rows
from edge.authorizing.book import Told
from edge.authorizing.gateway import FAILED, AskedGateway, Declined, is_final
from edge.authorizing.rows import RELEASE, TELL, Given
from edge.clock import Clock
from edge.spool.keeper import Keeper
from edge.uplink.timekeeper import Timekeeper
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import instant_text
from meter.model.strict_json import strict_json

# Noted together: as much is told once more after a kill.
_AT_ONCE: Final = 20
_PAUSE_FIRST_S: Final = 0.5
_PAUSE_MAX_S: Final = 60.0
# What risks nothing any more is looked for so often; nobody waits for it.
_LOOK_S: Final = 60.0
_SHOWN_MAX: Final = 3
# By then the gateway has said what time it is, unless it cannot be told anything either.
_TIME_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How the answers stand: untold ones, those that the gateway will not have with why, and what is at risk."""

    untold: int = 0
    refused: int = 0
    refusals: tuple[str, ...] = ()
    risk: Mapping[str, Decimal] = field(default_factory=dict)


class Teller:
    """Runs beside. `figures` are as of the last look."""

    def __init__(self, keeper: Keeper, gateway: AskedGateway, *, timekeeper: Timekeeper, clock: Clock) -> None:
        """Tell nothing yet."""
        self._keeper = keeper
        self._gateway = gateway
        self._timekeeper = timekeeper
        self._clock = clock
        self._woken = asyncio.Event()
        self._tried = asyncio.Event()
        self.figures = Figures()

    def wake(self) -> None:
        """Look for something to tell now: there is something, or the gateway can be heard again."""
        self._woken.set()

    async def catch_up(self) -> None:
        """Wait until everything was told that there was, or the gateway has not answered."""
        self._tried.clear()
        self.wake()
        await self._tried.wait()

    async def run(self) -> None:
        """Tell until cancelled."""
        pause_s = _PAUSE_FIRST_S
        while True:
            self._woken.clear()
            wait_s = _LOOK_S
            try:
                while await self._some():
                    pause_s = _PAUSE_FIRST_S
            except Unavailable as error:
                log.warning("answers_not_told", code=error.code, detail=error.detail)
                wait_s, pause_s = pause_s, min(pause_s * 2, _PAUSE_MAX_S)
            await self._look()
            self._tried.set()
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _some(self) -> bool:
        """Tell some of what is owed, and return whether there may be more. Raises Unavailable."""
        owed = await self._keeper.read(partial(rows.owed, rows_max=_AT_ONCE))
        if owed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TIME_WAIT_S):
                    await self._timekeeper.known.wait()  # when they were asked is told but once
        told: list[Told] = []
        fault: Unavailable | None = None
        for given in owed:
            try:
                told.append(await self._tell(given))
            except Unavailable as error:
                fault = error
                if error.code != FAILED:
                    break
        if told:
            await self._keeper.act(partial(book.note_told, told=told))
        if fault is not None:
            raise fault
        return len(owed) == _AT_ONCE

    async def _tell(self, given: Given) -> Told:
        """Return what became of telling one. Raises Unavailable."""
        refusal = await self._tell_answer(given) if given.owes & TELL else None
        if given.owes & RELEASE and refusal is None:
            await self._release(given.id)
        return Told(id=given.id, told=given.owes, refusal=refusal)

    async def _tell_answer(self, given: Given) -> str | None:
        """Return why the gateway will never have it. Raises Unavailable."""
        said = strict_json(given.answer)
        offline = {
            "asked_at": instant_text(self._asked_at(given)),
            "allowed": given.allowed,
            "reasons": said["reasons"],
        }
        try:
            there = (await self._gateway.tell(given.body(offline))).answer
        except Declined as declined:
            if not is_final(declined):
                raise Unavailable(declined.detail, code=declined.code) from declined
            log.error("answer_refused", id=given.id, code=declined.code, detail=declined.detail)
            return f"{declined.code}: {declined.detail}"
        if there.allowed and not there.offline and not given.allowed:
            # It had said yes when nobody waited for it any more, and the device was told no.
            await self._release(given.id)
        return None

    async def _release(self, id: str) -> None:
        try:
            await self._gateway.let_go(id)
        except Declined as declined:
            if not is_final(declined):
                raise Unavailable(declined.detail, code=declined.code) from declined
            log.warning("release_refused", id=id, code=declined.code, detail=declined.detail)

    def _asked_at(self, given: Given) -> datetime:
        """Return when it was asked, as well as it is known by now; never ahead of the time that it is."""
        correction, now = self._timekeeper.correction(given.at), self._clock.read()
        offset_ms = None if correction is None else correction.offset_ms
        asked_at = given.at.wall - timedelta(milliseconds=offset_ms or 0)
        return min(asked_at, now.wall - timedelta(milliseconds=self._timekeeper.offset_ms() or 0))

    async def _look(self) -> None:
        now = self._clock.read()
        risky = await self._keeper.read(rows.risky)
        if any(one.known is not None for one in risky):
            try:
                await self._keeper.act(book.close_settled)
            except Unavailable as error:
                log.warning("answers_not_closed", code=error.code, detail=error.detail)
        untold, refused = await self._keeper.read(lambda connection, _: rows.counts(connection))
        shown = await self._keeper.read(partial(rows.refused, rows_max=_SHOWN_MAX)) if refused else []
        self.figures = Figures(
            untold=untold,
            refused=refused,
            refusals=tuple(f"{one.id}: {one.refusal}" for one in shown),
            risk=rows.sums(risky, now),
        )
