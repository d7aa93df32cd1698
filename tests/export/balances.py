"""What the books say, to be held against the charges: sums by account and currency, read from the files or computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeAlias

from meter.export.targets.ledger.text import BEANCOUNT, HLEDGER, Dialect, commodity
from meter.model.journal import JournalEntry
from meter.model.money import ZERO

# (account as the format spells it, commodity) -> sum; sums of zero are left out.
Balances: TypeAlias = dict[tuple[str, str], Decimal]

DIALECTS: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in (BEANCOUNT, HLEDGER)}
# A posting as `text` writes it; neither metadata nor a comment ends in a number and a commodity.
_POSTING: Final = re.compile(r"^ {2,4}([^\s;].*?)  (-?\d+(?:\.\d+)?) ([A-Z]+)$", re.MULTILINE | re.ASCII)


def ledger_balances(ledger: Path, dialect: Dialect) -> Balances:
    """Return the balances of every file of one format below the ledger's directory."""
    sums: Balances = {}
    for path in sorted((ledger / dialect.name).glob(f"*/*{dialect.suffix}")):
        for account, amount, currency in _POSTING.findall(path.read_text(encoding="utf-8")):
            sums[account, currency] = sums.get((account, currency), ZERO) + Decimal(amount)
    return _without_zeros(sums)


def entry_balances(entries: Iterable[JournalEntry], dialect: Dialect) -> Balances:
    """Return the balances that a ledger of exactly `entries` has."""
    sums: Balances = {}
    for entry in entries:
        for posting in entry.postings:
            key = dialect.account(posting.account), commodity(entry.currency)
            sums[key] = sums.get(key, ZERO) + posting.amount
    return _without_zeros(sums)


def _without_zeros(sums: Balances) -> Balances:
    return {key: amount for key, amount in sums.items() if amount}
