"""The real worker against a second rater, over random spaces, orders of arrival, changes of facts and restarts."""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from meter.api.accounts import read_balances
from meter.api.explain import explained, find_charge
from meter.booking.facts import FactsCache
from meter.catalog.load import read_catalog_text
from meter.store.apply import apply_catalog, read_known_to
from meter.store.readers import charge_by_id
from tests.booking.space import Space, open_space
from tests.rating.arithmetic import adds_up
from tests.reference.rater import PLACES, Facts, Line, Rater, balances, rounded
from tests.reference.scenario import ACCOUNTS, DAYS, START, Maker, Scenario, wire

# METER_DIFFERENTIAL=FIRST:COUNT:EVENTS runs as many seeds as wanted.
FIRST, COUNT, EVENTS = map(int, os.environ.get("METER_DIFFERENTIAL", "1:5:40").split(":"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
async def test_the_books_are_those_of_a_second_rater(database_url: str, seed: int) -> None:
    scenario = Maker(seed, events=EVENTS).make()
    async with open_space(database_url, _document(scenario, 0, scenario.puts[0])) as space:
        await play(space, scenario, random.Random(seed))  # noqa: S311 -- the same way for the same seed
        facts = Facts(scenario.versions, scenario.puts, scenario.events)
        bill = Rater(facts, scenario.events).bill
        assert await _unresolved(space) == bill.unresolved
        assert await _standing(space) == _lines(bill.lines)
        assert await _sums_are_of_what_stands(space)
        assert await _rounded(space) == _rounded_of(bill.lines)
        assert await _tax(space) == _tax_of(bill.lines)
        assert await _journal(space) == _journal_of(bill.lines)
        for account in ACCOUNTS:
            for day in range(0, DAYS + 1, 10):
                at = START + timedelta(days=day, hours=5)
                assert await _balances(space, account, at) == balances(facts, bill.lines, account, at)
        await _explains(space)


def _document(scenario: Scenario, version: int, put: dict[str, Any], *, dated: bool = True) -> str:
    effective, body = scenario.versions[version]
    document = body | put | ({"effective": effective} if dated and effective else {})
    return json.dumps(document)


async def _apply(space: Space, document: str) -> None:
    async with space.database.begin() as connection:
        loaded = read_catalog_text([("catalog.yaml", document)], known=await read_known_to(connection))
        await apply_catalog(connection, loaded, now=space.now, reason="test")


async def play(space: Space, scenario: Scenario, chance: random.Random) -> None:
    """Bring everything in, in an order that has nothing to do with time."""
    bodies = [wire(event) for event in scenario.events]
    bodies += [chance.choice(bodies) for _ in bodies[::4]]
    chance.shuffle(bodies)
    todo: list[tuple[str, Any]] = [("version", n) for n in range(1, len(scenario.versions))]
    puts = [("put", put) for put in scenario.puts[1:]]
    late = sorted(chance.randint(0, len(bodies)) for _ in [*todo, *puts])
    changes: list[tuple[str, Any]] = []
    while todo or puts:
        changes.append((todo if todo and (not puts or chance.random() < 0.3) else puts).pop(0))
    applied = [0]
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
                await _apply(space, _document(scenario, max(applied, key=order.__getitem__), what, dated=False))
        if n < len(bodies):
            await space.accept([bodies[n]])
        if chance.random() < pace:
            await space.rate()
        if chance.random() < restarts:
            space.new_worker()
    await space.rate()


async def _unresolved(space: Space) -> set[tuple[Any, ...]]:
    return set(await space.rows("SELECT source, id, identity FROM unresolved"))


async def _standing(space: Space) -> dict[Any, Any]:
    rows = await space.rows(
        """
        SELECT * FROM (
            SELECT DISTINCT ON (account, event_time, source, event_id, meter, element, part)
                   account, event_time, source, event_id, meter, element, part, member, site, plan, price,
                   trim_scale(quantity), trim_scale(covered), trim_scale(billable), trim_scale(amount), unpriced,
                   settlement, currency, tax_name, trim_scale(tax_rate), tax_inclusive, period_start, role,
                   (SELECT jsonb_object_agg(d.grant, d.n) FROM (SELECT "grant", sum(amount) AS n FROM draws
                     WHERE charge = c.id GROUP BY 1) AS d)
              FROM charges AS c
             ORDER BY account, event_time, source, event_id, meter, element, part, revision DESC) AS last
         WHERE role <> 'reversal'
        """
    )
    return {
        row[:7]: (*row[7:22], {name: Decimal(str(n)) for name, n in (_json(row[23]) or {}).items()}) for row in rows
    }


def _json(value: Any) -> Any:
    return json.loads(value, parse_float=Decimal) if isinstance(value, str) else value


def _lines(lines: list[Line]) -> dict[Any, Any]:
    found = {}
    for line in lines:
        drawn: dict[str, Decimal] = defaultdict(Decimal)
        for name, amount in line.draws:
            drawn[name] += amount
        tax = line.tax or (None, None, None)
        found[line.account, *line.key] = (
            line.member, line.site, line.plan, line.price, line.quantity, line.covered, line.quantity - line.covered,
            line.amount, line.unpriced, line.settlement, line.currency, *tax, line.period.start,
            dict(drawn),
        )  # fmt: skip
    return found


async def _sums_are_of_what_stands(space: Space) -> bool:
    """Reversals take back what they reverse, draws included, and every entry of the journal balances."""
    rows = await space.rows(
        """
        SELECT account, event_time, source, event_id, meter, element, part
          FROM charges GROUP BY 1, 2, 3, 4, 5, 6, 7
        HAVING (array_agg(role ORDER BY revision DESC))[1] = 'reversal' AND (sum(amount) <> 0 OR sum(quantity) <> 0)
            OR (array_agg(role ORDER BY revision DESC))[1] <> 'reversal'
               AND sum(amount) <> (array_agg(amount ORDER BY revision DESC))[1]
        """
    )
    drawn = await space.rows('SELECT account, "grant" FROM draws GROUP BY 1, 2 HAVING sum(amount) < 0')
    torn = await space.rows("SELECT entry FROM journal GROUP BY 1, currency HAVING sum(amount) <> 0")
    return rows == drawn == torn == []


def _group(line: Line) -> tuple[Any, ...]:
    return (line.account, line.period.start, line.key[3], line.site, line.settlement, line.currency,
            line.tax or (None, None, None))  # fmt: skip


def _groups(lines: list[Line]) -> dict[Any, Decimal]:
    exact: dict[Any, Decimal] = defaultdict(Decimal)
    for line in lines:
        exact[_group(line)] += line.amount
    return {group: rounded(amount, PLACES[group[5]]) for group, amount in exact.items()}


def _some(found: dict[Any, Decimal]) -> dict[Any, Decimal]:
    return {key: amount for key, amount in found.items() if amount}


def _rounded_of(lines: list[Line]) -> dict[Any, Decimal]:
    return _some(_groups(lines))


async def _rounded(space: Space) -> dict[Any, Decimal]:
    rows = await space.rows(
        "SELECT account, period_start, meter, site, settlement, currency, tax_name, trim_scale(tax_rate),"
        " tax_inclusive, sum(rounded) FROM charges GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 HAVING sum(rounded) <> 0"
    )
    return {(*row[:6], (row[6], row[7], row[8])): row[9] for row in rows}


def _taxes(lines: list[Line]) -> dict[Any, Decimal]:
    base: dict[Any, Decimal] = defaultdict(Decimal)
    for group, amount in _groups([line for line in lines if line.settlement == "account" and line.tax]).items():
        base[group[0], group[1], group[6][1], group[6][2], group[5]] += amount
    found = {}
    for group, amount in base.items():
        rate, inclusive = group[2], group[3]
        found[group] = rounded(amount * rate / (1 + rate) if inclusive else amount * rate, PLACES[group[4]])
    return found


def _tax_of(lines: list[Line]) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = defaultdict(Decimal)
    for (account, start, rate, inclusive, currency), amount in _taxes(lines).items():
        found["account", account, start, rate, inclusive, currency] += amount
    for line in lines:
        if line.till_tax:
            assert line.tax is not None
            found["paid", line.account, line.period.start, line.tax[1], False, line.currency] += line.till_tax
    return _some(found)


async def _tax(space: Space) -> dict[Any, Decimal]:
    rows = await space.rows(
        "SELECT settlement, account, period_start, trim_scale(tax_rate), tax_inclusive, currency, sum(tax_amount)"
        " FROM charges GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(tax_amount) <> 0"
    )
    return {row[:6]: row[6] for row in rows}


def _journal_of(lines: list[Line]) -> dict[Any, Decimal]:
    """Balances by ledger account; income and tax in one, since a cent of inclusive tax may lie on either line."""
    found: dict[Any, Decimal] = defaultdict(Decimal)
    tips = [line for line in lines if line.key[5] == "tip"]
    for group, amount in _groups([line for line in lines if line.settlement == "account"]).items():
        found["receivable", group[5]] += amount
        found["earned", group[5]] -= amount
    for group, amount in _taxes(lines).items():
        if not group[3]:
            found["receivable", group[4]] += amount
            found["earned", group[4]] -= amount
    for line in tips:
        found["earned", line.currency] += line.amount
        found["tips", line.currency] -= line.amount
    for group, amount in _groups([line for line in lines if line.settlement == "paid"]).items():
        found["earned", group[5]] -= amount
        found["rounding", group[5]] += amount
    for line in lines:
        if line.settlement == "paid":
            assert line.till_tax is not None
            assert line.total is not None
            found["clearing", line.currency] += line.total
            found["earned", line.currency] -= line.till_tax
            found["tips", line.currency] -= line.tip
            found["rounding", line.currency] += line.till_tax + line.tip - line.total
    return _some(found)


async def _journal(space: Space) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = defaultdict(Decimal)
    for account, currency, amount in await space.rows(
        "SELECT ledger_account, currency, sum(amount) FROM journal GROUP BY 1, 2"
    ):
        name = account.partition(":")[2]
        earned = account.startswith("income:") or account == "liabilities:tax"
        found["earned" if earned else name, currency] += amount
    return _some(found)


async def _balances(space: Space, account: str, at: datetime) -> dict[str, tuple[Decimal, Decimal]]:
    async with space.database.begin() as connection:
        facts = await FactsCache("northside").current(connection)
        assert facts is not None
        found = await read_balances(connection, facts, "northside", account, at)
    for grant in found.grants:
        assert Decimal(grant.remaining) == Decimal(grant.amount) - Decimal(grant.used)
        assert Decimal(grant.remaining) >= 0
        assert Decimal(grant.used) >= 0
    return {grant.id: (Decimal(grant.amount), Decimal(grant.used)) for grant in found.grants}


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
        told = json.loads(json.dumps(explanation.as_json(), default=str))
        assert told["arithmetic_of"] == "recomputed" or adds_up(told)
