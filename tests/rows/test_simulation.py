"""The one law, step by step: the same events, however they come and wherever processes end, give the same books.

Hypothesis chooses what is done next: events in any order and more than once, rating, closing, delivering, changes of
the catalog, a clock that runs on, a process that ends before or after any of its commits, one that is overtaken.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy.exc import IntegrityError

from meter.booking import worker
from meter.embedded.postgres import EmbeddedPostgres
from tests.booking.closes import ACME_APRIL, ACME_FEBRUARY, ACME_MARCH, Closes
from tests.booking.months import a_month
from tests.booking.space import CATALOG, Space
from tests.rows.simulated import WHENS, Ending, Gateway, When
from tests.rows.sizes import LONG, SEED, sized

EXAMPLES = sized(2, 100)
STEPS = sized(12, 40)
# 28 events and revisions: so few that most of them touch each other.
BODIES = a_month(SEED, events=24)
BOUGHT = """
grants:
  - {id: pack, account: acme, unit: page, amount: "40", meters: [print-pages], effective: 2026-03-12,
     expires: 2026-05-02, bought: {price: "10.00", tax: vat19}}
"""
FIRST = CATALOG + BOUGHT
CLAIMED = FIRST.replace('["badge:EFE1"]', '["badge:EFE1", "badge:NEW1"]')
DEARER = CLAIMED.replace('unit_price: "0.05"', 'unit_price: "0.10"').replace(
    "operator: northside", "operator: northside\neffective: 2026-03-10"
)
CHANGES = (CLAIMED, DEARER)
CLOSINGS = (ACME_MARCH, ACME_APRIL)
END = datetime(2026, 8, 3, tzinfo=UTC)
DUE = st.sampled_from((0, 0, 1, 2, 3, 4, 5))
WHEN = st.sampled_from(WHENS)


class Simulation(RuleBasedStateMachine):
    """One operator's gateway."""

    def __init__(self, server: str, template: str, expected: dict[str, Any] | None) -> None:
        super().__init__()
        self.expected = expected
        self.changed = 0
        self.loop = asyncio.Runner()
        self.server, self.name = server, f"simulated_{secrets.token_hex(6)}"
        self.directory = tempfile.TemporaryDirectory()
        self.loop.run(self._admin(f"CREATE DATABASE {self.name} TEMPLATE {template} STRATEGY file_copy"))
        self.gateway = self.loop.run(self._begin())

    async def _admin(self, sql: str) -> None:
        connection = await asyncpg.connect(self.server)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def _begin(self) -> Gateway:
        database = Ending(self.server.rpartition("/")[0] + f"/{self.name}")
        space = Space(database)
        await space.apply(FIRST)
        closes = await Closes.of(space, since=ACME_FEBRUARY.start)
        return Gateway(database, space, closes, Path(self.directory.name))

    def _do(self, step: Any, *, due: int = 0, when: When = "before the commit") -> None:
        self.loop.run(self.gateway.until_it_ends(step, due=due, when=when))

    @rule(numbers=st.lists(st.integers(0, len(BODIES) - 1), min_size=1, max_size=12), due=DUE, when=WHEN)
    def events_come(self, numbers: list[int], due: int, when: When) -> None:
        self._do(self.gateway.told([BODIES[number] for number in numbers]), due=min(due, 1), when=when)

    @rule(due=DUE, when=WHEN)
    def rate(self, due: int, when: When) -> None:
        self._do(self.gateway.space.rate(), due=due, when=when)

    @rule(due=DUE, when=WHEN)
    def sweep(self, due: int, when: When) -> None:
        self._do(self.gateway.sweep(), due=due, when=when)

    @rule(due=DUE, when=WHEN)
    def deliver(self, due: int, when: When) -> None:
        self._do(self.gateway.deliver(), due=due, when=when)

    @rule(number=st.integers(0, len(CLOSINGS) - 1), due=DUE, when=WHEN)
    def close_a_period(self, number: int, due: int, when: When) -> None:
        async def close() -> None:
            await self.gateway.closes.close(CLOSINGS[number])

        self._do(close(), due=min(due, 1), when=when)

    @rule(due=DUE, when=WHEN)
    def change_the_catalog(self, due: int, when: When) -> None:
        if self.changed < len(CHANGES):
            self._do(self.gateway.space.apply(CHANGES[self.changed]), due=min(due, 1), when=when)
            # Whoever does not know whether it was applied applies it again.
            self._do(self.gateway.space.apply(CHANGES[self.changed]))
            self.changed += 1

    @rule(numbers=st.lists(st.integers(0, len(BODIES) - 1), min_size=1, max_size=12))
    def another_takes_over(self, numbers: list[int]) -> None:
        self._do(self.gateway.overtaken([BODIES[number] for number in numbers]))

    @rule(days=st.integers(0, 20))
    def time_passes(self, days: int) -> None:
        space = self.gateway.space
        space.now = min(space.now + timedelta(days=days), END)

    def finish(self) -> dict[str, Any]:
        """Everything that has not come comes, nothing fails any more; return the books."""
        while self.changed < len(CHANGES):
            self.change_the_catalog(due=0, when="before the commit")
        self._do(self.gateway.told(BODIES))
        self.gateway.space.now = END
        self._do(self.gateway.sweep())
        for number in range(len(CLOSINGS)):
            self.close_a_period(number=number, due=0, when="before the commit")
        self._do(self.gateway.sweep())
        self._do(self.gateway.deliver_all())
        return self.loop.run(self.gateway.books())

    def teardown(self) -> None:
        try:
            if self.expected is not None:
                found = self.finish()
                for name, value in self.expected.items():
                    assert found[name] == value, name
        finally:
            self.loop.run(self.gateway.space.leases.close())
            self.loop.run(self.gateway.database.dispose())
            self.loop.run(self._admin(f"DROP DATABASE {self.name} WITH (FORCE)"))
            self.loop.close()
            self.directory.cleanup()


def _expected(server: str, template: str) -> dict[str, Any]:
    """The books of a month in which everything comes at once and nothing fails."""
    straight = Simulation(server, template, None)
    try:
        return straight.finish()
    finally:
        straight.teardown()


def _search(server: str, template: str, expected: dict[str, Any]) -> None:
    found = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        suppress_health_check=list(HealthCheck),
        phases=tuple(Phase) if LONG else (Phase.generate,),
        database=None,
        derandomize=not LONG,
    )
    make = partial(Simulation, server, template, expected)
    run_state_machine_as_test(make, settings=found)  # type: ignore[arg-type]  # it is only called


def test_the_books_do_not_depend_on_the_way(pg_server: EmbeddedPostgres, migrated_template: str) -> None:
    expected = _expected(pg_server.url, migrated_template)
    assert len(expected["sums"]) > 5, "the month has become too quiet to show anything"
    assert expected["undelivered"] == [(0,)]
    _search(pg_server.url, migrated_template, expected)


def test_a_missing_fence_is_found(
    pg_server: EmbeddedPostgres, migrated_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: whoever was overtaken writes; all that stops it is the key of the charges."""

    async def nothing(*_: Any) -> None:
        """Ask nobody."""

    expected = _expected(pg_server.url, migrated_template)
    monkeypatch.setattr(worker, "fence", nothing)
    with pytest.raises((IntegrityError, AssertionError)):
        _search(pg_server.url, migrated_template, expected)
