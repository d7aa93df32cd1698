"""Closes periods that are complete: sweep after sweep over the accounts whose shards this process holds.

look (marks, clock) ──▶ wait until everything behind the marks is rated ──▶ accounts, some a transaction ──▶ look

Whoever is closed is folded again by the worker, which books what closing makes due.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.closing import Look, blocks, first_due, first_period, look, obstacles, open_periods
from meter.booking.facts import Facts
from meter.booking.shards import Held
from meter.booking.worker import RatingWorker
from meter.clock import Clock, monotonic_s
from meter.model.period import Period
from meter.store.booking import read_cursors
from meter.store.closes import (
    Closes,
    Closing,
    awaiting_refold,
    close_periods,
    closes_of,
    first_services,
    is_rated,
    used_sites,
)
from meter.store.engine import Database
from meter.store.leases import fence
from meter.telemetry import Telemetry

# Nobody waits for a closing by the second, and a sweep looks at every account.
SWEEP_INTERVAL_S: Final = 60.0
# Looked at in one transaction: some tens of milliseconds.
SWEEP_ACCOUNTS_MAX: Final = 200
# Of one account in one transaction: a long past is closed in several sweeps.
PERIODS_MAX: Final = 12


@dataclass(slots=True, kw_only=True)
class _Sweep:
    """One way through the accounts, all by the same look. `accounts` are those still to come."""

    known: Look
    shards: frozenset[int]
    rated: bool = False
    accounts: list[str] | None = None
    closed: int = 0


class Closer:
    """Closes what is complete among the accounts of the shards that a worker's process holds."""

    def __init__(
        self,
        worker: RatingWorker,
        *,
        database: Database,
        operator: str,
        telemetry: Telemetry,
        clock: Clock,
        interval_s: float = SWEEP_INTERVAL_S,
    ) -> None:
        """Prepare to close for `operator`, a sweep each `interval_s`."""
        self._worker = worker
        self._database = database
        self._operator = operator
        self._telemetry = telemetry
        self._clock = clock
        self._interval_s = interval_s
        self._sweep: _Sweep | None = None
        self._next_s = monotonic_s()
        # The used sites of open periods that wait: looked up again once those are complete.
        self._waits: dict[str, dict[Period, frozenset[str]]] = {}
        self._first_due: dict[str, datetime | None] = {}
        self._facts_version = -1

    async def step(self) -> bool:
        """Do a transaction's share of the sweep that is due, if one is; return whether there is more of it.

        Raises Unavailable where the database is away or a lease was lost; nothing of the share was written then.
        """
        with self._worker.shards.holding() as held:
            if not held.shards or (self._sweep is None and monotonic_s() < self._next_s):
                return False
            try:
                return await self._share(held)
            except BaseException:
                self._end(self._interval_s)
                raise

    def _end(self, pause_s: float) -> None:
        self._sweep = None
        self._next_s = monotonic_s() + pause_s

    async def _share(self, held: Held) -> bool:
        shards, leases = held
        async with self._database.begin() as connection:
            sweep = self._sweep
            if sweep is None or sweep.shards != shards:  # a shard taken over may stand far behind
                known = await look(connection, self._operator, at=self._clock())
                sweep = self._sweep = _Sweep(known=known, shards=shards)
            if not sweep.rated:
                cursors = await read_cursors(connection, self._operator, shards)
                below = sweep.known.below_xid
                sweep.rated = await is_rated(connection, self._operator, cursors.values(), below_xid=below)
                if not sweep.rated:
                    return False
            facts = await self._worker.facts.current(connection)
            if facts is None:
                self._end(self._interval_s)
                return False
            if sweep.accounts is None:
                sweep.accounts = sorted(facts.directory.accounts, reverse=True)
            chunk = self._next_accounts(sweep.accounts, facts, shards)
            closings = await self._complete(connection, facts, sweep.known, chunk)
        if closings:
            # By itself: a transaction that shares the facts must not go on to lock them.
            async with self._database.begin() as connection:
                await fence(connection, leases)
                done = await close_periods(connection, self._operator, closings, at=self._clock(), reason=None)
            sweep.closed += len(done)
            self._telemetry.periods_closed(len(done))
        if sweep.accounts:
            return True
        # Where something was closed, there may be more behind it.
        self._end(0.0 if sweep.closed else self._interval_s)
        return False

    def _next_accounts(self, left: list[str], facts: Facts, shards: Collection[int]) -> list[str]:
        """Take the next accounts of these shards from those that are left."""
        chunk: list[str] = []
        while left and len(chunk) < SWEEP_ACCOUNTS_MAX:
            account = left.pop()
            if self._worker.shards.of(account) in shards and account in facts.directory.accounts:
                chunk.append(account)
        return chunk

    async def _complete(
        self, connection: AsyncConnection, facts: Facts, known: Look, accounts: Sequence[str]
    ) -> list[Closing]:
        """Return what of these accounts can be closed: of each its earliest open periods up to the first incomplete."""
        busy = await awaiting_refold(connection, self._operator, accounts)
        services = await first_services(connection, self._operator, accounts)
        closes = await closes_of(connection, self._operator, accounts)
        candidates: dict[str, list[Period]] = {}
        for account in accounts:
            if account not in busy:
                closed = closes.get(account, Closes()).all
                candidates[account] = self._candidates(facts, account, services.get(account), closed, known)
        asked = [Closing(account, p.start, p.end) for account, periods in candidates.items() for p in periods]
        used = await used_sites(connection, self._operator, asked) if known.marks else {}
        found: list[Closing] = []
        for account, periods in candidates.items():
            for period in periods:
                closing = Closing(account, period.start, period.end)
                sites = used.get(closing, frozenset())
                standing = obstacles(period, sites, known)
                if not standing:
                    found.append(closing)
                    continue
                if sites:
                    self._waits.setdefault(account, {})[period] = sites
                if blocks(period, standing, known):
                    break
        return found

    def _candidates(
        self, facts: Facts, account: str, service: datetime | None, closed: Collection[datetime], known: Look
    ) -> list[Period]:
        """Return the account's earliest open periods, up to one that is known to wait still."""
        entry = facts.directory.accounts[account]
        first = first_period(entry, service, self._due(facts, account))
        waits = self._waits.pop(account, {})
        periods: list[Period] = []
        for period in () if first is None else open_periods(entry, first, closed, at=known.at):
            standing = obstacles(period, waits[period], known) if period in waits else ()
            if standing:
                self._waits.setdefault(account, {})[period] = waits[period]
                if blocks(period, standing, known):
                    break
                continue
            periods.append(period)
            if len(periods) == PERIODS_MAX:
                break
        return periods

    def _due(self, facts: Facts, account: str) -> datetime | None:
        if facts.version != self._facts_version:
            self._first_due.clear()
            self._facts_version = facts.version
        if account not in self._first_due:
            self._first_due[account] = first_due(facts, facts.directory.accounts[account])
        return self._first_due[account]
