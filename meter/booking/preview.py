"""What a change of facts would book, without booking it: the folds of the worker, in a transaction that only reads.

facts that would be ──▶ fold the touched accounts from before the change ──▶ differences ──▶ charges, thrown away
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.accounts import Accounts
from meter.booking.books import keep_books
from meter.booking.facts import Facts
from meter.booking.step import Intake
from meter.catalog.load import LoadedCatalog
from meter.model.charge import Charge
from meter.model.errors import BadInput
from meter.model.money import ZERO
from meter.rating.corrections import Difference
from meter.store.apply import apply_catalog
from meter.store.catalogs import load_catalogs
from meter.store.directory import load_directory
from meter.store.engine import Database
from meter.store.unread import UnreadChange

T = TypeVar("T")

# Accounts that are folded between two looks at who else wants the loop and the memory.
CHUNK_ACCOUNTS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPreview:
    """What would be booked for an account in one currency: nothing where `charges` is empty.

    `differences` are the lines with what stands for them; `unread` is how the account's list of what no meter could
    count would change, which is the same for each of its currencies; `fault` says why the account cannot be folded.
    """

    account: str
    currency: str
    differences: Sequence[Difference]
    charges: Sequence[Charge]
    unread: UnreadChange | None = None
    fault: str | None = None

    @property
    def net(self) -> Decimal:
        """Return by how much the account's rounded lines would change, tax in their amounts included."""
        return sum((charge.rounded for charge in self.charges), ZERO)

    @property
    def tax(self) -> Decimal:
        """Return by how much tax on top of the lines would change."""
        on_top = (c.tax_amount for c in self.charges if c.line.tax is None or not c.line.tax.inclusive)
        return sum(on_top, ZERO)


async def facts_now(connection: AsyncConnection, operator: str) -> Facts:
    """Return the facts as this transaction sees them. Raises BadInput (`no_catalog`)."""
    catalogs = await load_catalogs(connection, operator)
    if catalogs is None:
        raise BadInput("there is no catalog yet; apply one", code="no_catalog")
    return Facts(version=0, catalogs=catalogs, directory=await load_directory(connection, operator))


async def facts_after(
    database: Database, change: Callable[[AsyncConnection], Awaitable[T]], operator: str
) -> tuple[T, Facts]:
    """Return what `change` returns and the facts that it would lead to; it is undone."""
    async with database.begin() as connection:
        undone = await connection.begin_nested()
        result = await change(connection)
        facts = await facts_now(connection, operator)
        await undone.rollback()
    return result, facts


async def facts_with(database: Database, loaded: LoadedCatalog, operator: str, *, at: datetime) -> Facts:
    """Return the facts as they would be with a catalog applied at `at`. Raises CatalogError."""

    async def taken(connection: AsyncConnection) -> None:
        await apply_catalog(connection, loaded, now=at, reason="preview")

    _, facts = await facts_after(database, taken, operator)
    return facts


async def previews(
    database: Database,
    operator: str,
    facts: Facts,
    since: Mapping[str, datetime],
    *,
    at: datetime,
    closing: Mapping[str, frozenset[datetime]] | None = None,
) -> AsyncIterator[AccountPreview]:
    """Give what would be booked at `at` for each account of `since`, folded again from there, in order of accounts.

    All of it as of one moment; nothing is written. `closing`: as if these periods were closed too.
    """
    async with database.begin() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        async for preview in previews_in(connection, operator, facts, since, at=at, closing=closing):
            yield preview


async def previews_in(
    connection: AsyncConnection,
    operator: str,
    facts: Facts,
    since: Mapping[str, datetime],
    *,
    at: datetime,
    closing: Mapping[str, frozenset[datetime]] | None = None,
) -> AsyncIterator[AccountPreview]:
    """Give the same as `previews`, of what the caller's transaction sees."""
    names = sorted(since)
    for start in range(0, len(names), CHUNK_ACCOUNTS):
        chunk = names[start : start + CHUNK_ACCOUNTS]
        intake = Intake()
        for account in chunk:
            intake.again(account, since[account], "preview")
        accounts = Accounts(operator, closing=closing)
        folds = await accounts.fold(connection, facts, intake, {}, until=at)
        for fold in sorted(folds, key=lambda fold: fold.warm.account):
            name, currency = fold.warm.account, fold.facts.currency_at(at)
            if fold.fault is not None:
                yield AccountPreview(
                    account=name, currency=currency, differences=(), charges=(), fault=repr(fold.fault)
                )
                continue
            books = await keep_books(connection, operator, [fold], facts, booked_at=at, closes_of=accounts.closes)
            for one in sorted({charge.line.currency for charge in books.charges}) or [currency]:
                yield AccountPreview(
                    account=name,
                    currency=one,
                    differences=[d for d in fold.differences if _currency(d) == one],
                    charges=[charge for charge in books.charges if charge.line.currency == one],
                    unread=fold.unread,
                )


def _currency(difference: Difference) -> str | None:
    """Return what the line is in, or the one that falls without another in its place."""
    line = difference.line if difference.standing is None else difference.line or difference.standing.line
    return None if line is None else line.currency
