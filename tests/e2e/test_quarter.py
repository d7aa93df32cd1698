"""The books of a quarter: accepted by both checkers, and the same in the files, in SQL, by the API and by hand."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from beancount import loader
from beancount.core.data import Transaction

from meter.export.targets.ledger.text import BEANCOUNT, HLEDGER, Dialect
from tests.api.conftest import Api, serving, the_services
from tests.e2e.quarter import BOUGHT, FIRST, catalog, happened
from tests.e2e.quarter_figures import Sums, books_of, cents_of
from tests.e2e.quarter_life import Life, a_life, night_after
from tests.export.balances import DIALECTS, ledger_balances
from tests.export.books import files_of
from tests.tools import need_tool

MONTHS_END = (date(2026, 7, 31), date(2026, 8, 31), date(2026, 9, 30))
# All that was late has come, and the last period in which something was used is closed.
LATE = datetime(2026, 10, 20, 9, tzinfo=UTC)
END = datetime(2026, 11, 17, 9, tzinfo=UTC)
# What has a balance only if something rare happened.
RARE = (
    "assets:clearing:kiosk",
    "equity:suspense",
    "equity:suspense:4400:Erlöse WLAN",
    "expenses:rounding",
    "income:breakage",
    "income:kitchen",
    "income:minimums",
    "liabilities:tax",
    "liabilities:tips",
)
# hledger reads files in the locale's encoding.
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


class Posting(NamedTuple):
    """A line of a book as another program reads it."""

    day: date
    account: str
    currency: str
    amount: Decimal


@pytest.mark.slow
async def test_the_books_of_a_quarter(database_url: str, tmp_path: Path) -> None:
    async with (
        a_life(database_url, tmp_path / "lived") as life,
        serving(the_services(database_url, clock=lambda: life.space.now)) as api,
    ):
        locked = await _live(life, api)
        charges = await _charges(api)
        _has_everything(charges)
        expected = await _agreed(life, api)
        assert set(expected) >= {*((account, "EUR") for account in RARE), ("income:breakage", "CHF")}
        check_files(life.ledger)
        read = {BEANCOUNT.name: _by_beancount(life.ledger), HLEDGER.name: _by_hledger(life.ledger)}
        for at in (*MONTHS_END, END.date()):
            sums = await _agreed_until(life, api, at, read)
            assert sums == locked.get(at, sums), "a month that the accountant had closed has changed"

        await life.forget(tmp_path / "heard of late")
        await _hear_late(life)
        assert await _agreed(life, api) == expected
        assert len(await _charges(api)) != len(charges), "it was the same quarter, heard of in the same way"


async def _live(life: Life, api: Api) -> dict[date, Sums]:
    """A night at a time, with what the accountant does in between; return the months as they were locked."""
    due, locked = list(happened()), dict[date, Sums]()
    for n in range(95):
        day = FIRST + timedelta(days=n)
        night = night_after(day)
        heard = [one.body for one in due if one.arrives <= night]
        due = due[len(heard) :]
        await life.until(night, heard)
        match day:
            case date(month=8, day=5):
                await life.apply(catalog(locked="2026-07-31"))
                locked[MONTHS_END[0]] = await _until(api, MONTHS_END[0])
            case date(month=8, day=20):
                await life.claim()
            case date(month=8, day=25):
                await life.apply(catalog(effective="2026-09-01", locked="2026-07-31"))
            case date(month=9, day=4):
                await life.apply(catalog(locked="2026-08-31"))
                locked[MONTHS_END[1]] = await _until(api, MONTHS_END[1])
        if day.weekday() == 0:
            await life.deliver()
        if day in MONTHS_END:
            sums = await _agreed(life, api)
            assert sums["assets:unbilled", "EUR"] > 0
    await life.until(LATE, [one.body for one in due])
    await life.until(END)
    return locked


async def _hear_late(life: Life) -> None:
    """Months end and are closed without an event; then all come, in no order."""
    for month in (8, 9, 10):
        await life.until(datetime(2026, month, 3, 9, tzinfo=UTC))
    bodies = [one.body for one in happened()]
    random.Random(7).shuffle(bodies)  # noqa: S311 -- the same order each time
    parts = 4
    for n in range(parts):
        await life.until(LATE + timedelta(hours=n), bodies[n::parts])
    await life.until(END)


async def _agreed(life: Life, api: Api) -> Sums:
    """Return the trial balance of now: of the API, of SQL, of both formats, and computed of the charges."""
    await life.deliver()
    charges = await _charges(api)
    booked, rounded = cents_of(charges)
    assert booked == rounded
    sums = _sums((await api.get("/v1/journal/balances")).json)
    assert sums == books_of(charges, now=life.space.now, bought=BOUGHT)
    _sum_to_nothing(sums)
    rows = await life.space.rows("SELECT ledger_account, currency, sum(amount) FROM journal GROUP BY 1, 2")
    assert sums == _summed((account, currency, amount) for account, currency, amount in rows)
    for dialect in DIALECTS.values():
        assert ledger_balances(life.ledger, dialect) == _spelled(sums, dialect)
    return sums


async def _agreed_until(life: Life, api: Api, at: date, read: Mapping[str, Sequence[Posting]]) -> Sums:
    """Return the trial balance at the end of a day: of the API, of SQL, and of both programs by what they `read`."""
    sums = await _until(api, at)
    _sum_to_nothing(sums)
    rows = await life.space.rows(
        f"SELECT ledger_account, currency, sum(amount) FROM journal WHERE day <= '{at}' GROUP BY 1, 2"  # noqa: S608
    )
    assert sums == _summed((account, currency, amount) for account, currency, amount in rows)
    for dialect in DIALECTS.values():
        found = ((one.account, one.currency, one.amount) for one in read[dialect.name] if one.day <= at)
        assert _summed(found) == _spelled(sums, dialect)
    return sums


def _has_everything(charges: Sequence[Mapping[str, Any]]) -> None:
    """What the quarter is about happened in it."""
    assert {charge["kind"] for charge in charges} == {"usage", "fee", "minimum", "refund", "adjustment"}
    assert {charge["role"] for charge in charges} == {"original", "reversal", "replacement"}
    assert {charge["currency"] for charge in charges} == {"EUR", "CHF"}
    assert {charge["site"] for charge in charges} == {"berlin", "lisbon", None}
    taxes = {(charge["tax"]["name"], charge["tax"]["inclusive"]) for charge in charges if charge["tax"]}
    assert taxes >= {("vat19", False), ("vat7", False), ("vat7-in", True)}
    assert {grant["grant"] for charge in charges for grant in charge["draws"]} >= {*BOUGHT, "gift"}
    shares = {(share["party"], share["role"]) for charge in charges for share in charge["shares"]}
    assert shares == {("mitte", "principal"), ("baixa", "agent"), ("brand", "principal")}
    deposits = [charge for charge in charges if charge["meter"] == "deposit"]
    assert sum(Decimal(one["rounded"]) for one in deposits if one["currency"] == "CHF") == 0
    assert sum(Decimal(one["rounded"]) for one in deposits if one["currency"] == "EUR") == 600


def check_files(ledger: Path) -> None:
    """Both checkers accept every file: the main ones, and each day's by itself."""
    hledger, beancheck = need_tool("hledger"), str(Path(sys.executable).with_name("bean-check"))
    programs = [[beancheck, "--no-cache", "beancount/main.beancount"]]
    for name in files_of(ledger):
        if name.endswith(HLEDGER.suffix):
            programs.append([hledger, "check", "--strict", "ordereddates", "payees", "-f", name])
        elif name != "beancount/main.beancount":
            # What bean-check does, without a start of Python for each of hundreds of files.
            assert loader.load_file(str(ledger / name))[1] == [], name
    for argv in programs:
        run = subprocess.run(argv, cwd=ledger, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{argv}:\n{run.stdout}{run.stderr}"


def _by_beancount(ledger: Path) -> list[Posting]:
    """What Beancount reads from the main file."""
    entries, errors, _ = loader.load_file(str(ledger / "beancount" / "main.beancount"))
    assert errors == []
    found = []
    for entry in entries:
        for posting in entry.postings if isinstance(entry, Transaction) else ():
            assert posting.units is not None
            assert posting.units.number is not None
            found.append(Posting(entry.date, posting.account, posting.units.currency, posting.units.number))
    return found


def _by_hledger(ledger: Path) -> list[Posting]:
    """What hledger reads from the main file."""
    argv = [need_tool("hledger"), "print", "-f", "hledger/main.journal", "-O", "csv"]
    run = subprocess.run(argv, cwd=ledger, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return [
        Posting(date.fromisoformat(row["date"]), row["account"], row["commodity"], Decimal(row["amount"]))
        for row in csv.DictReader(run.stdout.splitlines())
    ]


async def _charges(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": ""}
    while page.get("charges", True):
        page = (await api.get(f"/v1/charges?limit=1000&cursor={page['next']}")).json
        found += page["charges"]
    return found


async def _until(api: Api, at: date) -> Sums:
    return _sums((await api.get(f"/v1/journal/balances?at={at}")).json)


def _summed(postings: Iterable[tuple[str, str, Decimal]]) -> Sums:
    sums: dict[tuple[str, str], Decimal] = {}
    for account, currency, amount in postings:
        sums[account, currency] = sums.get((account, currency), Decimal(0)) + amount
    return {key: amount for key, amount in sums.items() if amount}


def _sums(answer: Mapping[str, Any]) -> Sums:
    return {(one["account"], one["currency"]): Decimal(one["amount"]) for one in answer["balances"]}


def _spelled(sums: Sums, dialect: Dialect) -> Sums:
    return {(dialect.account(account), currency): amount for (account, currency), amount in sums.items()}


def _sum_to_nothing(sums: Sums) -> None:
    for currency in {currency for _, currency in sums}:
        assert sum(amount for (_, of), amount in sums.items() if of == currency) == 0, currency
