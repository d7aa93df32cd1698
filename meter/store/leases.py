"""Leases: at most one holder writes under a name, and one that was overtaken writes nothing (decision 0006).

    free ──take──▶ held(epoch e) ──release, connection lost, or expired──▶ can be taken as epoch e+1

A lease is a row and an advisory lock over (name, epoch) on the holder's own connection. The lock tells at once when a
holder is gone; the expiry is for one that hangs with its connection open; the epoch, checked inside each of the
holder's transactions, is what keeps the books right when both mislead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter import failpoints
from meter.clock import monotonic_s
from meter.log import log
from meter.model.errors import Unavailable
from meter.store.engine import Database, reason_of

# A holder that hangs is replaced after this long; one that dies is replaced at once.
LEASE_TTL_S: Final = 15
RENEW_INTERVAL_S: Final = 4
# A connection on which nothing comes back for so long is replaced. The leases have run out before.
KEEP_TIMEOUT_S: Final = LEASE_TTL_S + RENEW_INTERVAL_S
# Nobody takes a lease for longer than its time: one that is said to last much longer was renewed before the server's
# clock was set back, and whoever hangs with it would otherwise keep it until the clock has caught up.
_EXPIRED: Final = (
    f"expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '{2 * LEASE_TTL_S} seconds'"
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write under `name` as long as `epoch` is the newest."""

    name: str
    epoch: int


class LeaseLost(Unavailable):
    """Another holder has taken over: whatever was under way must not be written."""

    default_code = "lease_lost"


_TAKE: Final = text(
    """
    INSERT INTO leases (name, holder, epoch, expires_at)
    VALUES (:name, :holder, 1, clock_timestamp() + make_interval(secs => :ttl))
    ON CONFLICT (name) DO UPDATE
       SET holder = :holder, epoch = leases.epoch + 1, expires_at = clock_timestamp() + make_interval(secs => :ttl)
     WHERE leases.epoch = :seen
    RETURNING epoch
    """
)
_RENEW: Final = text(
    """
    UPDATE leases AS l SET expires_at = clock_timestamp() + make_interval(secs => :ttl)
      FROM unnest(CAST(:names AS text[]), CAST(:epochs AS bigint[])) AS mine (name, epoch)
     WHERE l.name = mine.name AND l.epoch = mine.epoch AND l.holder = :holder
    RETURNING l.name
    """
)
_FENCE: Final = text(
    """
    SELECT l.name FROM leases AS l
      JOIN unnest(CAST(:names AS text[]), CAST(:epochs AS bigint[])) AS mine (name, epoch) USING (name, epoch)
       FOR SHARE OF l
    """
)


def _lock_key(name: str, epoch: int) -> int:
    digest = sha256(f"{epoch}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def fence(connection: AsyncConnection, leases: Iterable[Lease]) -> None:
    """Make the transaction's fate depend on still holding `leases`. Raises LeaseLost.

    The rows stay share-locked until the transaction ends, so a taker waits for it.
    """
    mine = sorted(leases, key=lambda lease: lease.name)
    rows = await connection.execute(
        _FENCE, {"names": [lease.name for lease in mine], "epochs": [lease.epoch for lease in mine]}
    )
    kept = set(rows.scalars())
    lost = [lease.name for lease in mine if lease.name not in kept]
    if lost:
        message = f"the lease of {', '.join(lost)} was taken over; nothing was written, the new holder goes on"
        raise LeaseLost(message)


_OVERTAKE: Final = text("UPDATE leases SET epoch = epoch + 1 WHERE name = ANY(CAST(:names AS text[]))")


async def free_all(connection: AsyncConnection, names: Sequence[str]) -> bool:
    """Return whether nobody holds any of `names`; whoever believes to is fenced out once this is committed."""
    rows = await connection.execute(
        text(
            f"SELECT name, epoch, {_EXPIRED} AS expired FROM leases"  # noqa: S608 -- a constant
            " WHERE name = ANY(CAST(:names AS text[])) ORDER BY name"
        ),
        {"names": list(names)},
    )
    for row in rows.all():
        key = {"key": _lock_key(row.name, row.epoch)}
        lock = await connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key)
        if not lock.scalar_one() and not row.expired:
            return False
    await connection.execute(_OVERTAKE, {"names": list(names)})
    return True


class LeaseKeeper:
    """The leases of one process: `run` takes and renews what is wanted, `held` is what it holds."""

    def __init__(self, database: Database, *, holder: str | None = None) -> None:
        """Keep leases for `holder` (a name for people; a random part is always added)."""
        self._database = database
        self._holder = f"{holder or 'meter'}-{uuid4()}"
        self._connection: AsyncConnection | None = None
        self._held: dict[str, Lease] = {}
        self._renewed_at_s = 0.0
        self._wanted: list[tuple[tuple[str, ...], Callable[[], None]]] = []
        self._changed = asyncio.Event()

    def held(self, names: Iterable[str]) -> list[Lease]:
        """Return the leases held among `names`; none once they have run out, before another process has them.

        Holding is settled by `fence`, inside a transaction.
        """
        if monotonic_s() > self._renewed_at_s + LEASE_TTL_S:
            return []
        return [self._held[name] for name in names if name in self._held]

    @contextmanager
    def holding(self, names: Iterable[str]) -> Iterator[list[Lease]]:
        """Give the leases held among `names`, as `held` does; where a fence inside finds one lost, forget them."""
        leases = self.held(names)
        try:
            yield leases
        except LeaseLost:
            for lease in leases:
                self._held.pop(lease.name, None)
            raise

    async def maintain(self, names: Sequence[str]) -> None:
        """Renew what is held and take what is free among `names`.

        Raises Unavailable where the database does not answer; everything counts as lost then.
        """
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_S):
                connection = await self._lock_connection()
                started_s = monotonic_s()
                await self._renew(connection)
                self._renewed_at_s = started_s
                for name in names:
                    if name not in self._held:
                        await self._try_take(connection, name)
        except (OSError, SQLAlchemyError) as error:
            await self._forget_all()
            message = f"leases cannot be kept: {reason_of(error)}; PostgreSQL must answer"
            raise Unavailable(message, code="database_unavailable") from error

    def want(self, names: Sequence[str], *, gained: Callable[[], None]) -> None:
        """Have `run` take and renew `names` too; `gained` is called whenever more of them are held than before."""
        self._wanted.append((tuple(names), gained))
        self._changed.set()

    async def run(self) -> None:
        """Keep what is wanted until cancelled."""
        while True:
            self._changed.clear()
            before = [len(self.held(names)) for names, _ in self._wanted]
            try:
                await self.maintain([name for names, _ in self._wanted for name in names])
            except Unavailable as error:
                log.warning("leases_unkept", detail=error.detail)
            for (names, gained), count in zip(list(self._wanted), before, strict=False):
                if len(self.held(names)) > count:
                    gained()
            try:
                async with asyncio.timeout(RENEW_INTERVAL_S):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def keep(self, names: Sequence[str], *, gained: Callable[[], None]) -> None:
        """Keep just `names` until cancelled."""
        self.want(names, gained=gained)
        await self.run()

    async def close(self) -> None:
        """Give everything back, so that another process can go on at once."""
        await self._forget_all()

    async def _lock_connection(self) -> AsyncConnection:
        """Return the connection that carries the advisory locks; it stays out of transactions."""
        if self._connection is None:
            connection = await self._database.engine.connect()
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        return self._connection

    async def _renew(self, connection: AsyncConnection) -> None:
        if not self._held:
            return
        mine = sorted(self._held.values(), key=lambda lease: lease.name)
        rows = await connection.execute(
            _RENEW,
            {
                "names": [lease.name for lease in mine],
                "epochs": [lease.epoch for lease in mine],
                "holder": self._holder,
                "ttl": LEASE_TTL_S,
            },
        )
        kept = set(rows.scalars())
        self._held = {name: lease for name, lease in self._held.items() if name in kept}

    async def _try_take(self, connection: AsyncConnection, name: str) -> None:
        found = (
            await connection.execute(
                text(f"SELECT epoch, {_EXPIRED} AS expired FROM leases WHERE name = :name"),  # noqa: S608 -- a constant
                {"name": name},
            )
        ).one_or_none()
        seen = 0 if found is None else int(found.epoch)
        if found is not None and not found.expired and not await self._holder_is_gone(connection, name, seen):
            return
        # The lock comes first: whoever sees the new row finds it locked.
        if not await self._lock(connection, name, seen + 1):
            return
        epoch = (
            await connection.execute(_TAKE, {"name": name, "holder": self._holder, "ttl": LEASE_TTL_S, "seen": seen})
        ).scalar_one_or_none()
        if epoch == seen + 1:
            failpoints.reach("lease_taken")
            self._held[name] = Lease(name, epoch)
        else:
            await self._unlock(connection, name, seen + 1)

    async def _holder_is_gone(self, connection: AsyncConnection, name: str, epoch: int) -> bool:
        if not await self._lock(connection, name, epoch):
            return False
        await self._unlock(connection, name, epoch)
        return True

    @staticmethod
    async def _lock(connection: AsyncConnection, name: str, epoch: int) -> bool:
        row = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _lock_key(name, epoch)})
        return bool(row.scalar_one())

    @staticmethod
    async def _unlock(connection: AsyncConnection, name: str, epoch: int) -> None:
        await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _lock_key(name, epoch)})

    async def _forget_all(self) -> None:
        """Drop the connection, and with it every advisory lock."""
        self._held.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()
