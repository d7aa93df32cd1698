"""The database is restarted at any commit on the way from an event to the books: they agree, and nothing is twice.

booking ─▶ charges, entries ─▶ gatherer ─▶ items ─▶ lane ─▶ ledger
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from meter.booking.earner import Earner
from meter.booking.worker import RatingWorker
from meter.embedded.postgres import EmbeddedPostgres
from meter.export.dispatcher import Lane
from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.ledger.target import LedgerTarget
from meter.model.errors import Unavailable
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.store.migrate import upgrade
from meter.telemetry import Telemetry
from tests.booked import DUES
from tests.booking.space import Space, open_space, pages, void
from tests.export.balances import DIALECTS, ledger_balances
from tests.export.books import files_of
from tests.export.restarts import RESTARTED_AT, At, Restarted

NOW: Final = datetime(2026, 3, 15, 12, tzinfo=UTC)
# A step of each part, and what is read to see that nothing is left.
TRANSACTIONS_MIN: Final = 8


class Way:
    """The way of events to a ledger over one database, by a process that may be begun anew."""

    def __init__(self, space: Space, database: Database, ledger: Path) -> None:
        self.space, self.database, self.ledger = space, database, ledger

    async def go(self) -> None:
        """Book, gather and deliver until there is nothing left to do."""
        telemetry = Telemetry()
        leases = LeaseKeeper(self.space.database)
        worker = RatingWorker(
            database=self.database,
            operator="northside",
            shards=2,
            leases=leases,
            telemetry=telemetry,
            clock=lambda: NOW,
        )
        earner = Earner(
            worker, database=self.database, operator="northside", telemetry=telemetry, clock=lambda: NOW, interval_s=0
        )
        lane = Lane(
            self.database,
            operator="northside",
            target="ledger",
            exporter=LedgerTarget(self.ledger),
            telemetry=telemetry,
        )
        gatherer = Gatherer(
            self.database, operator="northside", target="ledger", shape=Entries(), clock=lambda: NOW, past=True
        )
        await leases.maintain([*worker.shards.lease_names, lane.lease_name])

        async def gathered() -> bool:
            step = await gatherer.step(leases.held([lane.lease_name])[0])
            return step.more or bool(step.items)

        async def delivered() -> bool:
            waits = await lane.step(leases.held([lane.lease_name])[0]) > 0
            return not waits or bool(await self.space.rows(DUE))  # what nobody has heard of is asked about later

        try:
            for step in (worker.step, earner.step, gathered, delivered):
                while await _done(step):
                    pass
        finally:
            await leases.close()


async def _done(step: Callable[[], Awaitable[bool]]) -> bool:
    """Do a step, and again what met a restart, as the loops of the gateway do."""
    try:
        return await step()
    except Unavailable:
        return True


async def agree(space: Space, ledger: Path) -> None:
    """The ledger holds the journal, the journal the charges, and nothing is in any of them twice."""
    rows = await space.rows("SELECT ledger_account, currency, sum(amount) FROM journal GROUP BY 1, 2")
    for dialect in DIALECTS.values():
        journal = {(dialect.account(account), currency): amount for account, currency, amount in rows if amount}
        assert ledger_balances(ledger, dialect) == journal
    [[entries]] = await space.rows("SELECT count(*) FROM entries")
    written = sum(content.count(b"\n2026-") for name, content in files_of(ledger).items() if "main" not in name)
    assert written == entries * len(DIALECTS)
    [[owed]] = await space.rows("SELECT sum(rounded + tax_amount) FROM charges")
    assert {(account, currency): amount for account, currency, amount in rows}["assets:receivable", "EUR"] == owed


EVENTS: Final = [
    *(pages(f"p{n}", f"1{n}T10:00", 40) for n in range(5)),
    void("v1", "15T00:00", "p1", "berlin/print/hall"),
]


DUE: Final = """
    UPDATE outbox SET due_at = clock_timestamp() WHERE state IN ('pending', 'uncertain') AND due_at > clock_timestamp()
    RETURNING id
"""
BOOKS: Final = "SELECT ledger_account, sum(amount) FROM journal GROUP BY 1 ORDER BY 1"


@pytest.mark.parametrize("at", RESTARTED_AT)
async def test_a_restart_at_any_commit_changes_nothing(at: At, database_url: str, tmp_path: Path) -> None:
    async with open_space(database_url, DUES) as space:
        space.now = NOW
        await space.accept(EVENTS)
        plain = Restarted(database_url)
        await Way(space, plain, tmp_path / "plain").go()
        await plain.dispose()
        await agree(space, tmp_path / "plain")
        undisturbed = await space.rows(BOOKS)
        assert plain.transactions >= TRANSACTIONS_MIN
        for number in range(1, plain.transactions + 1):
            await space.forget()
            await space.accept(EVENTS)
            restarted = Restarted(database_url, those={number: at})
            await Way(space, restarted, tmp_path / str(number)).go()
            await restarted.dispose()
            assert restarted.restarts == {at: 1}
            await agree(space, tmp_path / str(number))
            assert await space.rows(BOOKS) == undisturbed, f"restarted at transaction {number}"


async def test_a_server_that_is_killed_and_recovers_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    async with EmbeddedPostgres(data_dir, settings={"scram_iterations": "1"}) as server:
        await upgrade(server.url)

        async def restart() -> None:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGQUIT)  # pg_ctl stop --mode immediate
            await server.stop()
            await server.start()

        async with open_space(server.url, DUES) as space:
            space.now = NOW
            await space.accept(EVENTS)
            killed = Restarted(
                server.url,
                those={2: "before the commit", 4: "after the commit", 7: "before the commit"},
                restart=restart,
            )
            await Way(space, killed, tmp_path).go()
            await killed.dispose()
            await space.database.dispose()  # its connections are gone
            assert killed.restarts.total() == 3
            await agree(space, tmp_path)
