"""The real worker against a second rater, over random spaces, orders of arrival, changes of facts and restarts."""

from __future__ import annotations

import json
import os
import random
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from meter.api.accounts import read_balances
from meter.api.explain import explained, find_charge
from meter.booking.facts import FactsCache
from meter.catalog.load import read_catalog_text
from meter.store.apply import apply_catalog, read_known_to
from meter.store.closes import Closing, close_periods
from meter.store.readers import charge_by_id
from tests.booking.space import Space, open_space
from tests.reference.adapter import differences, of_reference
from tests.reference.bill import balances
from tests.reference.books import (
    adjusted,
    receivable,
    receivable_of,
    rounded,
    rounded_of,
    shared,
    shared_of,
    standing,
    tax,
    tax_of,
    torn,
)
from tests.reference.credit import Instance
from tests.reference.rater import Facts, Rater
from tests.reference.scenario import Maker, Scenario, wire
from tests.reference.turns import Turns
from tests.reference.values import decimal

# METER_DIFFERENTIAL=FIRST:COUNT:EVENTS runs as many seeds as wanted.
FIRST, COUNT, EVENTS = map(int, os.environ.get("METER_DIFFERENTIAL", "1:5:40").split(":"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
async def test_the_books_are_those_of_a_second_rater(database_url: str, seed: int) -> None:
    scenario = Maker(seed, events=EVENTS).make()
    async with open_space(database_url, _document(scenario, 0, scenario.puts[0])) as space:
        space.now = scenario.now
        facts = Facts(scenario.versions, scenario.puts, scenario.events, now=scenario.now, closes=scenario.closes)
        await play(space, scenario, facts, random.Random(seed))  # noqa: S311 -- the same way for the same seed
        bill = Rater(facts, scenario.events).bill
        lines = of_reference(bill.lines)
        found = differences(lines, adjusted(lines, await standing(space)))
        assert not found, "\n".join(found)
        assert await torn(space) == []
        assert await rounded(space) == rounded_of(bill.lines)
        assert await tax(space) == tax_of(bill.lines)
        assert await shared(space) == shared_of(bill.lines)
        assert await receivable(space) == receivable_of(bill.lines)
        for name, account in bill.accounts.items():
            ours = {
                grant: (decimal(one.amount), decimal(one.used), decimal(one.remaining))
                for grant, one in balances(facts, account, scenario.now).items()
                if _shown(facts, name, account.credit.seen[grant], scenario.now)
            }
            assert await _balances(space, name, scenario.now) == ours
        await _explains(space)


def _shown(facts: Facts, account: str, one: Instance, at: datetime) -> bool:
    """Balances are of what is in force, for the account and for those who are its members at the time."""
    return one.in_force(at) and (one.member is None or facts.account_at(one.member, at) == account)


def _document(scenario: Scenario, version: int, put: dict[str, Any], *, dated: bool = True) -> str:
    effective, body = scenario.versions[version]
    document = body | put | ({"effective": effective} if dated and effective else {})
    return json.dumps(document)


async def _apply(space: Space, document: str) -> None:
    async with space.database.begin() as connection:
        loaded = read_catalog_text([("catalog.yaml", document)], known=await read_known_to(connection))
        await apply_catalog(connection, loaded, now=space.now, reason="test")


async def _close(space: Space, closes: list[tuple[str, datetime]], facts: Facts) -> None:
    closings = [Closing(name, start, facts.period(name, start).end) for name, start in closes]
    async with space.database.begin() as connection:
        await close_periods(connection, "northside", closings, at=space.now, reason="test")


def _changes(scenario: Scenario, chance: random.Random) -> list[tuple[str, Any]]:
    """Versions and parts of the directory, each in their own order; terms wait for something of their own."""
    todo: list[tuple[str, Any]] = [("version", n) for n in range(1, len(scenario.versions))]
    puts = [("put", put) for put in scenario.puts[1:] if "terms" not in put]
    found: list[tuple[str, Any]] = []
    while todo or puts:
        found.append((todo if todo and (not puts or chance.random() < 0.3) else puts).pop(0))
    return found


async def play(space: Space, scenario: Scenario, facts: Facts, chance: random.Random) -> None:
    """Bring everything in, in an order that has nothing to do with time."""
    bodies = [wire(event) for event in scenario.events]
    bodies += [chance.choice(bodies) for _ in bodies[::4]]
    chance.shuffle(bodies)
    turns, changes = Turns(space, facts, chance), _changes(scenario, chance)
    late = sorted(chance.randint(0, len(bodies)) for _ in changes)
    applied = [0]
    closing = chance.randint(0, len(bodies))
    # Now and then a worker that never forgets, so that it trims what it keeps.
    pace, restarts = chance.choice([0.1, 0.5]), chance.choice([0, 0.02, 0.1])
    for n in range(len(bodies) + 1):
        while late and late[0] <= n:
            late.pop(0)
            kind, what = changes.pop(0)
            if kind == "version":
                applied.append(what)
                await _apply(space, _document(scenario, what, {}))
            else:
                # The version in force now, so that only people change.
                order = {v: (scenario.versions[v][0] or "", v) for v in applied}
                version = max(applied, key=order.__getitem__)
                await _apply(space, _document(scenario, version, turns.written(what), dated=False))
        if chance.random() < 3 / len(bodies):
            await turns.step()
        if n == closing:
            # A period under terms to come cannot be closed before they are known.
            await _close(space, [one for one in scenario.closes if one[1] < turns.begins(one[0])], facts)
        if n < len(bodies):
            await space.accept([bodies[n]])
        if chance.random() < pace:
            await space.rate()
        if chance.random() < restarts:
            space.new_worker()
    await space.rate()
    await turns.finish()
    if chance.random() < 0.5:
        await space.rate()
    await _close(space, scenario.closes, facts)
    await space.rate()


async def _balances(space: Space, account: str, at: datetime) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    async with space.database.begin() as connection:
        facts = await FactsCache("northside").current(connection)
        assert facts is not None
        found = await read_balances(connection, facts, "northside", account, at)
    for grant in found.grants:
        assert Decimal(grant.remaining) == Decimal(grant.amount) - Decimal(grant.used)
        assert Decimal(grant.remaining) >= 0
        assert Decimal(grant.used) >= 0
    return {
        grant.id: (Decimal(grant.amount), Decimal(grant.used), Decimal(grant.remaining))
        for grant in found.grants
        if Decimal(grant.amount)
    }


async def _explains(space: Space) -> None:
    """Some charges, whatever their role, explained: what is computed again is what stands booked."""
    for (name,) in await space.rows("SELECT id FROM charges ORDER BY id LIMIT 15"):
        async with space.database.begin() as connection:
            facts = await FactsCache("northside").current(connection)
            charge = await charge_by_id(connection, "northside", name)
            assert facts is not None
            assert charge is not None
            explanation = explained(await find_charge(connection, facts, "northside", charge, until=space.now))
        assert explanation.agrees, explanation.text()
        assert json.dumps(explanation.as_json(), default=str)
