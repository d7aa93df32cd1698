"""What closing a period moves from unbilled to receivable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256

import msgspec

from meter.export.journal.charges import Legs, postings_of
from meter.export.journal.chart import role_account
from meter.model.catalog import Catalog
from meter.model.journal import JournalEntry


def billed_entries(
    unbilled: Mapping[tuple[datetime, str, str], Decimal],
    *,
    operator: str,
    account: str,
    periods: Mapping[datetime, str],
    catalog: Catalog,
    day: date,
) -> list[JournalEntry]:
    """Return an entry for each period and currency of `unbilled`: (invoice period's start, ledger account, currency).

    `periods` names each period by its start; `day` is the day of booking.
    """
    legs: dict[tuple[datetime, str], Legs] = {}
    for (start, ledger_account, currency), amount in sorted(unbilled.items()):
        moved = legs.setdefault((start, currency), [])
        moved += [(role_account(catalog, "receivable"), amount), (ledger_account, -amount)]
    found = []
    for (start, currency), both in legs.items():
        postings = postings_of(both)
        if postings:
            name = msgspec.json.encode([operator, account, start, currency])
            found.append(
                JournalEntry(
                    id="bl_" + sha256(name).hexdigest()[:32],
                    kind="billed",
                    day=day,
                    currency=currency,
                    narration=f"billed {periods[start]}",
                    postings=postings,
                    dimensions={"site": "", "account": account, "meter": "", "kind": "billed"},
                )
            )
    return found
