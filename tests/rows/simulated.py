"""A gateway's insides whose process ends between any two of its steps, with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.export.dispatcher import Lane
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.ledger.target import LedgerTarget
from meter.model.errors import Unavailable
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from tests.booking.closes import Closes
from tests.booking.journals import new_earner
from tests.booking.space import Space
from tests.export.books import beancount_totals
from tests.owning import as_owner

When = Literal["before the commit", "after the commit"]
WHENS: Final[tuple[When, ...]] = ("before the commit", "after the commit")

# Of a delivery that is asked about, sent again, and gives way to a newer one; more is a delivery that never ends.
ROUNDS_MAX: Final = 10
_MADE_DUE: Final = """
    UPDATE outbox SET due_at = clock_timestamp() WHERE state IN ('pending', 'sending', 'uncertain') RETURNING id
"""


class Ended(BaseException):
    """The process ends here."""


class Ending(Database):
    """A database in which the `due`th transaction from now is the process's last, before or after it commits."""

    def __init__(self, url: str) -> None:
        super().__init__(url, operator="northside")
        self.due = 0
        self.when: When = "before the commit"

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        self.due -= 1
        ends = self.due == 0
        async with super().begin() as connection:
            yield connection
            if ends and self.when == "before the commit":
                raise Ended
        if ends:
            raise Ended


class Gateway:
    """All that one process does, until it ends and another goes on."""

    def __init__(self, database: Ending, space: Space, closes: Closes, ledger: Path) -> None:
        self.database = database
        self.space = space
        self.closes = closes
        self.ledger = ledger
        self.ends = 0

    async def until_it_ends(self, step: Any, *, due: int, when: When) -> None:
        """Do a step in which the `due`th transaction is the process's last; 0: it lives on."""
        self.database.due, self.database.when = due, when
        try:
            await step
        except Ended:
            self.ends += 1
            self.database.due = 0
            await self.space.leases.close()
            await self.begin_anew()
        finally:
            self.database.due = 0

    async def begin_anew(self) -> None:
        """A process that remembers nothing."""
        self.space.leases = LeaseKeeper(self.database)
        self.space.new_worker()
        self.closes.new_closer()

    async def overtaken(self, bodies: Sequence[bytes]) -> None:
        """The process hangs as events come, another takes over and rates; when the first goes on it writes nothing."""
        await self.space.rate()
        await self.told(bodies)
        zombie, old = self.space.worker, self.space.leases
        before = old.held(zombie.shards.lease_names)
        async with as_owner(self.database) as connection:
            await connection.execute(text("UPDATE leases SET expires_at = clock_timestamp() - interval '1 second'"))
        await self.begin_anew()
        await self.space.rate()
        count = "SELECT (SELECT count(*) FROM charges), (SELECT count(*) FROM journal)"
        booked = await self.space.rows(count)
        if before:
            try:
                while await zombie.step():
                    pass
            except Unavailable:
                pass
        assert await self.space.rows(count) == booked, "whoever was overtaken has written"
        await old.close()

    async def sweep(self) -> None:
        """Rate, close what is complete, enter the days that have ended."""
        await self.closes.sweep()
        earner = new_earner(self.space)
        while await earner.step():
            pass

    async def deliver(self) -> None:
        """Gather what was booked and write it to the ledger's files."""
        exporter = LedgerTarget(self.ledger)
        lane = Lane(
            self.database, operator="northside", target="ledger", exporter=exporter, telemetry=self.space.telemetry
        )
        leases = LeaseKeeper(self.database)
        try:
            await leases.maintain([lane.lease_name])
            [lease] = leases.held([lane.lease_name])
            gatherer = Gatherer(
                self.database,
                operator="northside",
                target="ledger",
                shape=Entries(),
                clock=lambda: self.space.now,
                past=True,
            )
            while (await gatherer.step(lease)).more:
                pass
            while await lane.step(lease) == 0:
                pass
        finally:
            await leases.close()

    async def deliver_all(self) -> None:
        """Deliver until nothing is open: what an ended process had begun is asked about, and then waits a while."""
        for _ in range(ROUNDS_MAX):
            await self.deliver()
            if not await self.space.rows(_MADE_DUE):
                return

    async def told(self, bodies: Sequence[bytes]) -> None:
        """Let events in; each is new or was there."""
        receipts = await self.space.accept(bodies)
        assert {receipt.status for receipt in receipts} <= {"accepted", "duplicate"}

    async def books(self) -> dict[str, Any]:
        """Everything that must not depend on the way: bill, draws, journal, and what the ledger's files hold."""
        books = await self.space.books()
        undelivered = await self.space.rows("SELECT count(*) FROM outbox WHERE state <> 'delivered'")
        return books | {
            "events": await self.space.rows("SELECT count(*) FROM events"),
            "undelivered": undelivered,
            "ledger": beancount_totals(self.ledger / "beancount" / "main.beancount"),
        }
