"""Names that follow from what they name: of batches, and of documents as people read them. Pure."""

from __future__ import annotations

from datetime import date
from typing import Final

from meter.store.outbox import name_of

_MARK_CHARS: Final = 8


def document_number(day: date, *parts: str | int, part: int = 1) -> str:
    """Return the number of a document of `day`: `20261130-K7Q2M4XA`, further parts `...-2`; 21 characters at most.

    QuickBooks' DocNumber has no more. Eight characters of base32 tell a trillion documents of one day apart.
    """
    mark = name_of(*parts)[:_MARK_CHARS].upper()
    return f"{day:%Y%m%d}-{mark}" + (f"-{part}" if part > 1 else "")
