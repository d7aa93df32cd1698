"""Names that follow from what they name: of batches, and of documents as people read them. Pure."""

from __future__ import annotations

import json
from base64 import b32encode
from datetime import date
from hashlib import sha256
from typing import Final

# Base32 without padding: fits every target's limit on references.
BATCH_CHARS: Final = 32
_MARK_CHARS: Final = 8


def batch_name(*parts: str | int) -> str:
    """Return 32 characters of base32 over the SHA-256 of `parts`, joined as JSON so that no choice of them collides."""
    joined = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return b32encode(sha256(joined).digest()).decode()[:BATCH_CHARS].lower()


def document_number(day: date, *parts: str | int, part: int = 1) -> str:
    """Return the number of a document of `day`: `20261130-K7Q2M4XA`, further parts `...-2`; 21 characters at most.

    QuickBooks' DocNumber has no more. Eight characters of base32 tell a trillion documents of one day apart.
    """
    mark = batch_name(*parts)[:_MARK_CHARS].upper()
    return f"{day:%Y%m%d}-{mark}" + (f"-{part}" if part > 1 else "")
