"""What the tests of Xero have in common."""

from __future__ import annotations

from collections.abc import Callable

from meter.export.targets.xero.exporter import XeroTarget
from meter.export.targets.xero.rules import rules_of
from tests.targets.cases.xero import setup

Make = Callable[..., XeroTarget]
BATCH = "k" * 32
RULES = rules_of(setup("https://unused"))
