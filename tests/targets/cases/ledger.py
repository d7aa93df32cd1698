"""Plain-text books of some days and sites, in both formats."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from meter.export.contract import Exporter, Limits
from meter.export.payload import JournalBatch, thawed
from meter.export.targets.ledger.target import LedgerTarget
from meter.export.targets.registry import KINDS
from meter.export.targets.spec import Means, Setup
from meter.store.outbox import OutboxItem
from tests.booked import OPERATOR
from tests.export.balances import DIALECTS
from tests.export.books import entry, gathered
from tests.targets.case import Books, TargetCase

SITES = ("berlin", "hamburg", "köln's", "")
ITEMS_MAX = 8
TAX = "liabilities:tax"
_BATCH = re.compile(r"^; batch (\w+)\n(.*?)^; end \1\n", re.MULTILINE | re.DOTALL)
_POSTING = re.compile(r"^ {2,4}([^\s;].*?)  (-?\d+(?:\.\d+)?) [A-Z]+$", re.MULTILINE | re.ASCII)


@dataclass
class Ledger:
    """Where the files are."""

    directory: Path = field(default_factory=lambda: Path("/nowhere"))


def setup(url: str) -> Setup:
    return Setup(operator=OPERATOR, name="ledger", kind="ledger", data_dir=Path(url))


def open_in_small_steps(given: Setup, means: Means) -> Exporter:
    """The target with fewer items a call than it takes, so that a run has many of them."""
    target = KINDS["ledger"].open(given, means)
    assert isinstance(target, LedgerTarget)
    target.limits = Limits(items_max=ITEMS_MAX)
    return target


def items(n: int, seed: int) -> list[OutboxItem]:
    """Entries of some days and sites, each gathered by itself: usage, and the tax on it."""
    dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
    made = []
    for number in range(n):
        one = entry(
            f"ch_{number:05d}",
            amount=f"{Decimal(dice.randrange(-500_00, 500_00) or 1).scaleb(-2):f}",
            day=date(2026, 3, 1) + timedelta(days=dice.randrange(1 + n // 20)),
            site=dice.choice(SITES),
            account=f"account-{dice.randrange(7)}",
            credit=dice.choice(["income:print-pages", "income:rooms", TAX]),
        )
        made += gathered([one], operator=OPERATOR)
    return made


def wanted(made: list[OutboxItem]) -> Books:
    """What each item debits, and what of that is tax, by its key."""
    sums = {}
    for item in made:
        content = thawed(item.operation, item.payload)
        assert isinstance(content, JournalBatch)
        postings = [posting for one in content.entries for posting in one.postings]
        debits = sum((one.amount for one in postings if one.amount > 0), Decimal(0))
        tax = -sum((one.amount for one in postings if one.account == TAX), Decimal(0))
        sums[item.key] = (debits, tax)
    return sums


def books(held: Ledger) -> Books:
    """What the files hold by batch, the same in both formats; a batch that is held twice counts twice."""
    found: list[Books] = []
    for name, dialect in DIALECTS.items():
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for path in sorted((held.directory / "ledger" / name).glob(f"*/*{dialect.suffix}")):
            for key, text in _BATCH.findall(path.read_text(encoding="utf-8")):
                debits, tax = sums.get(key, (Decimal(0), Decimal(0)))
                for account, amount in _POSTING.findall(text):
                    debits += max(Decimal(amount), Decimal(0))
                    tax -= Decimal(amount) if account == dialect.account(TAX) else 0
                sums[key] = (debits, tax)
        found.append(sums)
    assert found[0] == found[1], "the two formats differ"
    return found[0]


CASE = TargetCase(
    kind="ledger",
    fake=Ledger,
    setup=setup,
    open=open_in_small_steps,
    items=items,
    books=books,
    wanted=wanted,
)
