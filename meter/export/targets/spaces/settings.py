"""What the settings of booking systems have in common: options, their faults, and the shape of what is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.spans import Grain
from meter.export.targets.gaps import Needs
from meter.export.targets.options import names, unnamed
from meter.export.targets.spec import Setup
from meter.sources.spec import Option

GRAINS: Final[tuple[Grain, ...]] = ("day", "charge", "period", "hour")
# Ids go into paths, and no vendor's has anything else in it.
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of the settings decides about charges of whatever vendor.

    `currency` is the one that the vendor bills in, for a charge names none. `gross`: amounts are sent with tax.
    `credits`: what gives back is sent, as a charge below zero.
    """

    currency: str
    credits: bool
    gross: bool = False


def needs_items(setup: Setup) -> Needs:
    """Return that each meter needs the vendor's own name, where the settings give any."""
    items = names(setup, "items")
    return Needs(meters=("items", items) if items else None, currency=str(setup.options["currency"]))


def lines(setup: Setup, codes: Codes) -> Lines:
    """Return the shape: none of them is told twice of one line, so what comes late is a further charge."""
    return Lines(
        target=setup.name,
        customers=setup.customers,
        grain=setup.grain or "day",
        codes=codes,
        replaces=False,
        notices=False,
    )


def settings(*, below_zero: str, gross: bool) -> dict[str, Option]:
    """Return the options that each vendor has; `gross`: whether its prices may be with tax."""
    options = {
        "currency": Option(default="", about="The currency that charges are in there; lines in another are refused."),
        "credits": Option(
            default=below_zero,
            about="What becomes of a line that gives back: a charge below zero (send), or a dead delivery (refuse).",
            choices=("send", "refuse"),
        ),
    }
    if gross:
        options["prices"] = Option(
            default="net",
            about="How prices are entered there: without tax (net) or with it (gross), as its own settings say.",
            choices=("net", "gross"),
        )
    return options


def rules_of(setup: Setup) -> Rules:
    """Return the rules of a target whose options are in order."""
    options: Mapping[str, Any] = setup.options
    return Rules(
        currency=options["currency"], credits=options["credits"] == "send", gross=options.get("prices") == "gross"
    )


def faults_in(setup: Setup, *names: str) -> list[str]:
    """Return what is wrong with the options that are shared, and with those that give ids for our names."""
    options: dict[str, Any] = dict(setup.options)
    faults = unnamed(setup, *names)
    if not re.fullmatch("[A-Z]{3}", options["currency"]):
        faults.append(f"options.currency: {options['currency']!r} is no currency; write what charges are in there: EUR")
    if setup.company is not None and not ID.fullmatch(setup.company):
        faults.append(f"company: {setup.company!r} is no name in an address; it has letters, digits and - only")
    return faults
