"""The journal's part of a booking: entries of charges, what days and drawn credit have earned, periods billed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.accounts import AccountFold
from meter.booking.facts import Facts
from meter.export.journal import (
    BookingDay,
    BoughtCredit,
    Earning,
    billed_entries,
    count,
    deferral_of,
    drawing_account,
    earned_entries,
    entries_of,
    named_account,
    touches_credit,
)
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.charge import Charge
from meter.model.journal import Deferral, JournalEntry
from meter.model.money import ZERO
from meter.store.bought import Drawn, credit_charges, drawn_by_revenue
from meter.store.journal import standing_in

_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


async def load_credit(
    connection: AsyncConnection,
    operator: str,
    made: Sequence[tuple[AccountFold, list[Charge]]],
    facts: Facts,
    *,
    opened: frozenset[str] = frozenset(),
) -> None:
    """Read what is booked of the own grants of the accounts that charges touch, where it is not warm.

    That of the `opened` accounts in any case.
    """
    cold = {
        fold.warm.account: fold
        for fold, charges in made
        if (fold.warm.account in opened or any(map(touches_credit, charges)))
        and (fold.warm.credit is None or fold.warm.credit_facts != facts.version)
    }
    if not cold:
        return
    found: dict[str, dict[str, BoughtCredit]] = {account: {} for account in cold}
    for charge in await credit_charges(connection, operator, cold):
        account = charge.line.account
        count(charge, found[account], cold[account].facts.catalogs)
    eras = sorted({version.effective for version in facts.catalogs.versions if version.effective is not None})
    for drawn in await drawn_by_revenue(connection, operator, cold, eras=eras):
        catalog = cold[drawn.account].facts.catalogs.at(eras[drawn.era - 1] if drawn.era else _ALWAYS)
        found[drawn.account].setdefault(drawn.grant, BoughtCredit()).draw(_account_of(drawn, catalog), drawn.amount)
    for account, fold in cold.items():
        fold.warm.credit, fold.warm.credit_facts = found[account], facts.version


def _account_of(drawn: Drawn, catalog: Catalog) -> str:
    earning = Earning(drawn.meter, drawn.site, drawn.plan, drawn.kind, drawn.dimensions)
    return drawing_account(catalog, earning, of_tip=drawn.tip)


def add_entries(
    operator: str, fold: AccountFold, charges: Sequence[Charge], day: BookingDay
) -> tuple[list[JournalEntry], list[Deferral]]:
    """Return the entries of an account's charges with those of days that are over, and schedules for the others.

    The account's sums of bought credit are carried on.
    """
    catalogs, credit = fold.facts.catalogs, fold.warm.credit
    entries: list[JournalEntry] = []
    deferrals: dict[bool, list[Deferral]] = {False: [], True: []}
    for charge in charges:
        catalog = catalogs.at(charge.line.key.time)
        deferral = deferral_of(charge, operator=operator, catalog=catalog, day=day)
        if deferral is not None:
            deferrals[charge.kind == "adjustment"].append(deferral)
        burn = None if credit is None or not touches_credit(charge) else count(charge, credit, catalogs)
        entries += entries_of(charge, catalog=catalog, day=day.of_charge(charge), deferral=deferral, burn=burn)
    for adjusts, those in deferrals.items():
        entries += earned_entries(those, before=day.today, dated=partial(day.of, adjusts=adjusts))
    return entries, [one.moved_to(day.today) for those in deferrals.values() for one in those]


async def add_billed(
    connection: AsyncConnection,
    operator: str,
    fold: AccountFold,
    charges: Sequence[Charge],
    entries: Sequence[JournalEntry],
    *,
    fresh: frozenset[datetime],
    catalog: Catalog,
    day: BookingDay,
) -> list[JournalEntry]:
    """Return what closing the `fresh` periods moves to receivable, by what is booked and what is about to be.

    The latter is `entries`, those of `charges` among them.
    """
    account = fold.facts.account
    unbilled = _unbilled(fold.facts.catalogs)
    if not unbilled:
        return []
    sums = await standing_in(connection, operator, account.id, fresh, unbilled)
    invoiced = {charge.id: charge.invoice_period.start for charge in charges if charge.invoice_period.start in fresh}
    for entry in entries:
        start = invoiced.get(entry.id) if entry.kind == "charge" else None
        for posting in entry.postings if start is not None else ():
            if start is not None and posting.account in unbilled:
                key = (start, posting.account, entry.currency)
                sums[key] = sums.get(key, ZERO) + posting.amount
    return billed_entries(
        sums,
        operator=operator,
        account=account.id,
        periods={start: account.periods.name(account.periods.at(start)) for start in fresh},
        catalog=catalog,
        day=day.today,
    )


def _unbilled(catalogs: CatalogTimeline) -> frozenset[str]:
    """Return the accounts that any version has for what is not billed yet."""
    return frozenset(name for version in catalogs.versions if (name := named_account(version, "unbilled")) is not None)
