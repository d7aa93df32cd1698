"""Erasing a member without changing a bill: her accounts are folded before and after, in one transaction.

facts held ──▶ what is still to be booked ──▶ erased ──▶ what would be booked now: the same, or nothing is done
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.preview import facts_now, previews_in
from meter.catalog.touch import Touch
from meter.model.directory import SINCE_ALWAYS
from meter.model.errors import BadInput
from meter.store.directory import load_directory
from meter.store.directory_write import lock_facts, raise_facts_version, write_refolds
from meter.store.erasing import Erased, accounts_of, erase_member

_REASON = "a member was erased"
_Bill: TypeAlias = dict[str, list[tuple[str, Decimal, Decimal, Decimal]]]


async def erase(connection: AsyncConnection, operator: str, member: str, *, at: datetime) -> Erased:
    """Erase a member, as the owner of the tables, within the caller's transaction. Rating and changes of facts wait.

    Raises BadInput: `unknown_member`; `deliveries_under_way`; `bill_would_change`, what she is called decides on a
    price.
    """
    await lock_facts(connection, operator)
    known = await accounts_of(connection, operator, member)
    before = await _bill(connection, operator, known, at)
    done = await erase_member(connection, operator, member, await load_directory(connection, operator))
    after = await _bill(connection, operator, done.accounts, at)
    await raise_facts_version(connection, operator)
    for account, wanted in after.items():
        # An account beside hers is one in whose events she is named.
        if wanted != before.get(account, []):
            message = (
                f"erasing would change what is billed to account {account}: something that she is called by decides "
                "on a price, a seat or a session. Nothing is erased; see whether `meter check --deep` finds the "
                "account as it should be, and end her claims and links before erasing"
            )
            raise BadInput(message, code="bill_would_change")
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
