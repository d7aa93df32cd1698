"""The facts for readers: loaded once a version, without keeping anyone from changing them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.model.errors import BadInput
from meter.rating.fold import AccountFacts
from meter.store.catalogs import load_catalogs
from meter.store.directory import NO_CATALOG, facts_version, load_directory
from meter.store.engine import Database


class FactsReader:
    """The catalog and the directory of one operator, as a reader's snapshot shows them."""

    def __init__(self, db: Database) -> None:
        """Start with nothing loaded."""
        self._db = db
        self._facts: tuple[str, Facts] | None = None

    @asynccontextmanager
    async def snapshot(self, operator: str) -> AsyncIterator[tuple[AsyncConnection, Facts]]:
        """Yield a read-only transaction in which every statement sees the same moment, and the facts of that moment.

        Raises BadInput (`no_catalog`).
        """
        async with self._db.begin() as conn:
            await conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield conn, await self._current(conn, operator)

    async def _current(self, conn: AsyncConnection, operator: str) -> Facts:
        version = await facts_version(conn, operator)
        if self._facts is not None and self._facts[0] == operator and self._facts[1].version == version:
            return self._facts[1]
        catalogs = await load_catalogs(conn, operator)
        if catalogs is None:
            raise BadInput(NO_CATALOG, code="no_catalog")
        facts = Facts(version=version, catalogs=catalogs, directory=await load_directory(conn, operator))
        self._facts = (operator, facts)
        return facts


def account_facts(facts: Facts, account: str, *, closed: frozenset[datetime] = frozenset()) -> AccountFacts:
    """Return what a fold of `account` may know; `closed`: the starts of its closed periods.

    Raises BadInput (`not_found`) for an account that the directory has not.
    """
    found = facts.directory.accounts.get(account)
    if found is None:
        raise BadInput(f"there is no account {account[:60]!r}", code="not_found")
    catalogs = facts.catalogs.of_account(account)
    return AccountFacts(account=found, directory=facts.directory, catalogs=catalogs, closed=closed)
