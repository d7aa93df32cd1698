"""Names: of documents as people read them, which follow from what they name; and a target's own for ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from meter.store.outbox import name_of

_MARK_CHARS: Final = 8
# What an option calls all that it does not name.
ANYTHING: Final = "*"


def document_number(day: date, *parts: str | int, part: int = 1) -> str:
    """Return the number of a document of `day`: `20261130-K7Q2M4XA`, further parts `...-2`; 21 characters at most.

    QuickBooks' DocNumber has no more. Eight characters of base32 tell a trillion documents of one day apart.
    """
    mark = name_of(*parts)[:_MARK_CHARS].upper()
    return f"{day:%Y%m%d}-{mark}" + (f"-{part}" if part > 1 else "")


def either(known: Mapping[str, str], name: str) -> str | None:
    """Return what an option gives for `name`, or for all that it does not name."""
    return known.get(name) or known.get(ANYTHING)
