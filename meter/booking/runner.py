"""Drives the rating worker: step after step while there is work, else until a hint or a short while."""

from __future__ import annotations

import asyncio
from typing import Final

from meter.booking.closer import Closer
from meter.booking.earner import Earner
from meter.booking.forgetting import Forgetter
from meter.booking.worker import RatingWorker
from meter.log import log
from meter.model.errors import Unavailable
from meter.store.leases import LeaseKeeper
from meter.store.shards import ShardsDiffer

# Without a hint (events accepted by another process, a hint lost) the tail is looked at so often.
POLL_INTERVAL_S: Final = 0.2
# Where nothing was found so many times, hints are relied on, which come from other processes, too (store/hints.py);
# what only the clock makes due is that much later.
EMPTY_LOOKS_MAX: Final = 10
IDLE_INTERVAL_S: Final = 2.0
# After the database was away, or another gateway took over.
RECOVERY_PAUSE_S: Final = 1.0
# After a fault of ours, which the same events may well meet again.
FAULT_PAUSE_S: Final = 10.0


class RatingRunner:
    """Rates until cancelled; `wake` after events or facts were committed."""

    def __init__(
        self,
        worker: RatingWorker,
        leases: LeaseKeeper,
        closer: Closer | None = None,
        earner: Earner | None = None,
        forgetter: Forgetter | None = None,
    ) -> None:
        """Prepare to drive `worker` under `leases`, and the others beside it."""
        self._worker = worker
        beside = (("closing_failed", closer), ("earning_failed", earner), ("forgetting_failed", forgetter))
        self._beside: list[tuple[str, Closer | Earner | Forgetter]] = [
            (fault, one) for fault, one in beside if one is not None
        ]
        self._woken = asyncio.Event()
        self._leases = leases

    def wake(self) -> None:
        """Look at the tail now: a hint, without which it is looked at a little later."""
        self._woken.set()

    async def run(self) -> None:
        """Rate until cancelled. A step that is cut off has written nothing or everything.

        Raises ShardsDiffer where another gateway has taken over with another number of shards.
        """
        await self._settle()
        self._leases.want(self._worker.shards.lease_names, gained=self.wake)
        empty = 0
        while True:
            if self._woken.is_set():
                empty = 0
            self._woken.clear()
            try:
                more = await self._worker.step()
                more = await self._go_on_beside() or more
            except ShardsDiffer:
                raise
            except Unavailable as error:
                log.warning("rating_stalled", detail=error.detail)
                await asyncio.sleep(RECOVERY_PAUSE_S)
                continue
            except Exception:  # noqa: BLE001 -- what is accepted waits in the log; taking in more must not end with rating
                log.exception("rating_failed")
                await asyncio.sleep(FAULT_PAUSE_S)
                continue
            empty = 0 if more else empty + 1
            if not more:
                try:
                    async with asyncio.timeout(IDLE_INTERVAL_S if empty > EMPTY_LOOKS_MAX else POLL_INTERVAL_S):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    async def _settle(self) -> None:
        """Wait until no gateway rates in another number of shards, which may be until somebody stops it."""
        told = ""
        while True:
            try:
                await self._worker.settle()
            except Unavailable as error:
                if error.detail != told:
                    log.warning("rating_waits", detail=error.detail)
                told = error.detail
                await asyncio.sleep(RECOVERY_PAUSE_S)
            else:
                return

    async def _go_on_beside(self) -> bool:
        """Go on with closing, earning and forgetting; a fault of theirs does not hold up rating. Raises Unavailable."""
        more = False
        for fault, one in self._beside:
            try:
                more = await one.step() or more
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 -- what is not closed, entered or removed stays to be done, and is tried again
                log.exception(fault)
        return more
