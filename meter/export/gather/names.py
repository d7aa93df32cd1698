"""Names as people read them: of documents, of what was used and where; and a target's own for ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from meter.model.catalog import Catalog
from meter.rating.calendar import MEMBERSHIP
from meter.rating.sale import POS
from meter.store.outbox import name_of

_MARK_CHARS: Final = 8
# What an option calls all that it does not name.
ANYTHING: Final = "*"
# Of a meter of ours that does not say what it is.
_NAMES: Final[Mapping[str, str]] = {POS: "Purchase"}


def document_number(day: date, *parts: str | int, part: int = 1) -> str:
    """Return the number of a document of `day`: `20261130-K7Q2M4XA`, further parts `...-2`; 21 characters at most.

    QuickBooks' DocNumber has no more. Eight characters of base32 tell a trillion documents of one day apart.
    """
    mark = name_of(*parts)[:_MARK_CHARS].upper()
    return f"{day:%Y%m%d}-{mark}" + (f"-{part}" if part > 1 else "")


def line_name(catalog: Catalog, meter: str, plan: str | None) -> str:
    """Return what people call a line: a membership by its plan, usage by its meter (`print-pages`: `Print pages`)."""
    if meter == MEMBERSHIP and plan is not None and plan in catalog.plans:
        return catalog.plans[plan].name
    words = meter.replace("-", " ").replace("_", " ").strip() or meter
    return _NAMES.get(meter, words[:1].upper() + words[1:])


def either(known: Mapping[str, str], name: str) -> str | None:
    """Return what an option gives for `name`, or for all that it does not name."""
    return known.get(name) or known.get(ANYTHING)
