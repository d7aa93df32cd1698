"""Every period of every account computed again from the stored facts, and held against what is booked and listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from meter.booking.preview import AccountPreview, facts_now, previews
from meter.model.directory import SINCE_ALWAYS
from meter.store.audit import SumFault, Waiting, read_waiting, sum_faults
from meter.store.engine import Database
from meter.store.tables import accounts
from meter.store.unread import UnreadChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found: accounts whose fresh fold differs, sums that do not add up, and work not done yet.

    `unread`: lists of what no meter could count that do not say what a fresh fold says.
    """

    accounts: int
    differing: tuple[AccountPreview, ...]
    unread: tuple[UnreadChange, ...]
    sums: tuple[SumFault, ...]
    waiting: Waiting

    def __bool__(self) -> bool:
        """Tell whether everything agrees."""
        return not (self.differing or self.unread or self.sums)


async def audit(
    database: Database, operator: str, *, at: datetime, checked: Callable[[int, int], None] = lambda _done, _all: None
) -> Audit:
    """Return what a fresh fold of everything says of the books. Reads only; `checked` is told how far it is."""
    async with database.begin() as connection:
        facts = await facts_now(connection, operator)
        names = list(
            (await connection.execute(select(accounts.c.account).where(accounts.c.operator == operator))).scalars()
        )
        waiting = await read_waiting(connection, operator)
        sums = [fault async for fault in sum_faults(connection, operator)]
    differing: list[AccountPreview] = []
    unread: dict[str, UnreadChange] = {}
    seen: set[str] = set()
    async for preview in previews(database, operator, facts, dict.fromkeys(names, SINCE_ALWAYS), at=at):
        seen.add(preview.account)
        checked(len(seen), len(names))
        if preview.charges or preview.fault is not None:
            differing.append(preview)
        if preview.unread is not None and (preview.unread.gone or preview.unread.fresh):
            unread[preview.account] = preview.unread
    return Audit(
        accounts=len(names),
        differing=tuple(differing),
        unread=tuple(unread.values()),
        sums=tuple(sums),
        waiting=waiting,
    )
