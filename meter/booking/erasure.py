"""Erasing a member without changing a bill: her accounts are folded before and after, in one transaction.

rating waits ──▶ one moment ──▶ erased ──▶ what would be booked now ──┬── the same, or nothing is done
                     └────────▶ what was still to be booked then ─────┘

Events go on coming in meanwhile. They are of a later moment: neither fold sees them.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.preview import facts_now, previews_in
from meter.catalog.touch import Touch
from meter.model.directory import SINCE_ALWAYS
from meter.model.errors import BadInput
from meter.store.directory import load_directory
from meter.store.directory_write import raise_facts_version, write_refolds
from meter.store.erasing import Erased, erase_member

_REASON = "a member was erased"
_Bill: TypeAlias = dict[str, list[tuple[str, Decimal, Decimal, Decimal]]]


async def stop_rating(connection: AsyncConnection) -> None:
    """Have a transaction, before anything else, see one moment, in which nobody rates, changes facts or delivers.

    Whoever does is waited for, and whoever would waits; those of another operator, too, for one moment is all of it.
    """
    await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    # The moment is that of the first query, which locking is not.
    await connection.exec_driver_sql("LOCK TABLE operators, outbox IN EXCLUSIVE MODE")


async def erase(connection: AsyncConnection, operator: str, member: str, *, at: datetime) -> Erased:
    """Erase a member, as the owner of the tables, within the caller's transaction, which has begun by `stop_rating`.

    Raises BadInput: `unknown_member`; `merged_member`; `deliveries_under_way`; `bill_would_change`, what she is called
    decides on a price; `unfolded_account`.
    """
    # What is looked at beside it takes as long as it takes.
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    moment = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
    done = await erase_member(connection, operator, member, await load_directory(connection, operator))
    async with connection.engine.begin() as beside:
        await beside.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await beside.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{moment}'")
        before = await _bill(beside, operator, done.accounts, at)
    after = await _bill(connection, operator, done.accounts, at)
    for account in done.accounts:
        # An account beside hers is one in whose events she is named.
        if after.get(account, []) != before.get(account, []):
            message = (
                f"erasing would change what is billed to account {account}: something that she is called by decides "
                "on a price, a seat or a session. Nothing is erased; see whether `meter check --deep` finds the "
                "account as it should be, and end her claims and links before erasing"
            )
            raise BadInput(message, code="bill_would_change")
    await raise_facts_version(connection, operator)
    await write_refolds(connection, operator, [Touch(account, SINCE_ALWAYS, _REASON) for account in done.accounts])
    return done


async def _bill(connection: AsyncConnection, operator: str, accounts: Collection[str], at: datetime) -> _Bill:
    """Return what folding the accounts from their beginning would book: in the order of charges, without who."""
    facts = await facts_now(connection, operator)
    found: _Bill = {}
    since = dict.fromkeys((one for one in accounts if one in facts.directory.accounts), SINCE_ALWAYS)
    async for one in previews_in(connection, operator, facts, since, at=at):
        if one.fault is not None:
            raise BadInput(f"account {one.account} cannot be folded: {one.fault}", code="unfolded_account")
        found.setdefault(one.account, []).extend(
            (charge.line.key.meter, charge.line.amount, charge.rounded, charge.tax_amount) for charge in one.charges
        )
    return {account: sorted(charges) for account, charges in found.items()}
