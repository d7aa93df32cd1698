"""What tests of the books share: entries, items, and the two checkers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

from beancount import loader
from beancount.core.data import Transaction

from meter.export.gather.at_once import Entries
from meter.export.gather.gatherer import items_from
from meter.export.gather.shape import Booked
from meter.model.journal import JournalEntry, Posting
from meter.store.outbox import OutboxItem
from tests.export.gathering import known
from tests.tools import need_tool

DAY = date(2026, 3, 2)


def entry(
    name: str,
    *,
    amount: str = "0.15",
    day: date = DAY,
    site: str = "berlin",
    account: str = "acme",
    currency: str = "EUR",
    debit: str = "assets:receivable",
    credit: str = "income:print-pages",
    narration: str = "print-pages 3 page",
) -> JournalEntry:
    return JournalEntry(
        id=name,
        day=day,
        currency=currency,
        narration=narration,
        postings=(
            Posting(account=debit, amount=Decimal(amount)),
            Posting(account=credit, amount=-Decimal(amount)),
        ),
        dimensions={"site": site, "account": account, "meter": "print-pages", "kind": "usage"},
    )


def items_of(*entries: JournalEntry) -> list[OutboxItem]:
    """One item for each entry, as if each had been gathered by itself."""
    return [item for one in entries for item in gathered([one])]


def gathered(
    entries: Sequence[JournalEntry], *, operator: str = "northside", target: str = "ledger"
) -> list[OutboxItem]:
    """The items of entries that are gathered together."""
    drafts = Entries().at_once(Booked(entries=entries), known())
    return items_from(drafts, operator=operator, target=target)


def files_of(ledger: Path) -> dict[str, bytes]:
    """Every file that a checker could be given."""
    found = sorted([*ledger.rglob("*.beancount"), *ledger.rglob("*.journal")])
    return {str(path.relative_to(ledger)): path.read_bytes() for path in found}


def check_every_file(ledger: Path) -> None:
    """Both checkers accept every file, the main ones and each day's by itself."""
    hledger = need_tool("hledger")
    for name in files_of(ledger):
        if name.endswith(".beancount"):
            argv = [str(Path(sys.executable).with_name("bean-check")), "--no-cache", name]
        else:
            argv = [hledger, "check", "--strict", "ordereddates", "payees", "-f", name]
        # hledger reads files in the locale's encoding.
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        run = subprocess.run(argv, cwd=ledger, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{argv}:\n{run.stdout}{run.stderr}\n{(ledger / name).read_text()}"


def beancount_totals(main_file: Path) -> dict[tuple[str, str], Decimal]:
    """The balance of each account and currency of a Beancount book; the book must be without fault."""
    entries, errors, _ = loader.load_file(str(main_file))
    assert errors == []
    totals: dict[tuple[str, str], Decimal] = {}
    for transaction in (entry for entry in entries if isinstance(entry, Transaction)):
        for posting in transaction.postings:
            assert posting.units is not None
            assert posting.units.number is not None
            key = (posting.account, posting.units.currency)
            totals[key] = totals.get(key, Decimal(0)) + posting.units.number
    return {key: total for key, total in sorted(totals.items()) if total}
