"""Journal entries as they leave, whole or as rows of a table: one row a posting (docs/ledger.md)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import msgspec

from meter.export.csv_text import Column
from meter.model.journal import EntryKind, JournalEntry
from meter.model.money import plain
from meter.model.texts import DecimalText
from meter.store.engine import encode_json


class PostingJson(msgspec.Struct, kw_only=True):
    """One leg of an entry on a ledger account; debit positive, credit negative."""

    account: str
    amount: DecimalText


class EntryJson(msgspec.Struct, kw_only=True):
    """A balanced entry of one currency. `id` is the charge's where `kind` is `charge`.

    `day` is the operator's local day that it is about, `dimensions` site, account, member, meter and so on. `suspense`:
    a posting waits for an account that fits.
    """

    id: str
    kind: EntryKind
    day: date
    currency: str
    narration: str
    postings: list[PostingJson]
    dimensions: dict[str, str]
    suspense: bool


ENTRY_COLUMNS: Final = (
    Column(name="entry"),
    Column(name="kind"),
    Column(name="day", kind="day"),
    Column(name="posting", kind="count"),
    Column(name="ledger_account", guarded=True),
    Column(name="amount", kind="number"),
    Column(name="currency"),
    Column(name="site", guarded=True),
    Column(name="account", guarded=True),
    Column(name="member", guarded=True),
    Column(name="meter", guarded=True),
    Column(name="narration", guarded=True),
    Column(name="dimensions", kind="json"),
    Column(name="suspense", kind="flag"),
)


def entry_json(entry: JournalEntry) -> EntryJson:
    """Return the entry as it leaves."""
    return EntryJson(
        id=entry.id,
        kind=entry.kind,
        day=entry.day,
        currency=entry.currency,
        narration=entry.narration,
        postings=[PostingJson(account=leg.account, amount=plain(leg.amount)) for leg in entry.postings],
        dimensions=dict(entry.dimensions),
        suspense=entry.suspense,
    )


def entry_values(entry: JournalEntry) -> Iterator[dict[str, Any]]:
    """Give the value of each column, for each posting; these count from 1."""
    told = {
        **{name: entry.dimensions.get(name) or None for name in ("site", "account", "member", "meter")},
        "entry": entry.id,
        "kind": entry.kind,
        "day": entry.day.isoformat(),
        "currency": entry.currency,
        "narration": entry.narration,
        "dimensions": encode_json(entry.dimensions),
        "suspense": entry.suspense,
    }
    for number, leg in enumerate(entry.postings, start=1):
        yield {**told, "posting": number, "ledger_account": leg.account, "amount": plain(leg.amount)}
