"""What the tests of QuickBooks have in common."""

from __future__ import annotations

from collections.abc import Callable

from meter.export.targets.quickbooks.exporter import QuickBooksTarget
from meter.export.targets.quickbooks.rules import rules_of
from tests.targets.cases.quickbooks import setup

Make = Callable[..., QuickBooksTarget]
BATCH = "k" * 32
RULES = rules_of(setup("https://unused"))
