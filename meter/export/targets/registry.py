"""Every kind of target, by the name that the settings call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meter.export.targets.files import FILES
from meter.export.targets.ledger import LEDGER
from meter.export.targets.quickbooks import QUICKBOOKS
from meter.export.targets.spaces import COBOT, NEXUDUS, OFFICERND
from meter.export.targets.spec import Kind
from meter.export.targets.square import SQUARE
from meter.export.targets.stripe import STRIPE
from meter.export.targets.stripe_meters import STRIPE_METERS
from meter.export.targets.webhook import WEBHOOK
from meter.export.targets.xero import XERO

KINDS: Final[Mapping[str, Kind]] = {
    "cobot": COBOT,
    "files": FILES,
    "ledger": LEDGER,
    "nexudus": NEXUDUS,
    "officernd": OFFICERND,
    "quickbooks": QUICKBOOKS,
    "square": SQUARE,
    "stripe": STRIPE,
    "stripe-meters": STRIPE_METERS,
    "webhook": WEBHOOK,
    "xero": XERO,
}
