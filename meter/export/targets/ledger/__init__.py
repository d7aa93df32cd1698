"""Plain-text books, for Beancount and for hledger: every entry, as it is (docs/ledger.md)."""

from __future__ import annotations

from typing import Final

from meter.export.gather.at_once import Entries
from meter.export.targets.ledger.target import LedgerTarget
from meter.export.targets.spec import Kind

LEDGER: Final = Kind(
    title="Beancount and hledger files",
    facts="the formats' own documents, and both checkers",
    about="Every entry, as it is, in plain text that both programs read: [ledger.md](ledger.md).",
    shape=lambda _setup: Entries(),
    open=lambda setup, _means: LedgerTarget(setup.data_dir / "ledger"),
    past=True,
    never_resent="the files name entries by the key of their delivery, so a second one would write them twice; move "
    "the ledger's directory away and configure the ledger under a new name: it writes all that was ever booked",
)
