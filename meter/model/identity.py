"""Identities: `kind:value`, normalised so that one badge or address has one spelling (rating.md, section 1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from meter.model.errors import BadInput

IDENTITY_CHARS_MAX: Final = 256
_KIND: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_HEX12: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)


@lru_cache(maxsize=65536)
def normalise_identity(text: str) -> str:
    """Return `text` as `kind:value`: kind in lower case, badges upper, e-mails lower, MACs lower as aa-bb-cc-dd-ee-ff.

    Raises BadInput (`bad_identity`): no kind, no value, longer than 256 characters, control characters.
    """
    kind, colon, value = text.partition(":")
    kind, value = kind.strip().lower(), value.strip()
    if not colon or not value or not _KIND.fullmatch(kind) or len(text) > IDENTITY_CHARS_MAX or not text.isprintable():
        message = f"{text[:60]!r} is no identity; write kind:value, like badge:04A2991B or email:ada@acme.example"
        raise BadInput(message, code="bad_identity")
    if kind == "badge":
        value = value.upper()
    elif kind == "email":
        value = value.lower()
    elif kind == "mac":
        value = _mac(value)
    return f"{kind}:{value}"


def _mac(value: str) -> str:
    digits = re.sub(r"[-:.\s]", "", value.lower())
    if not _HEX12.fullmatch(digits):
        return value.lower()
    return "-".join(digits[i : i + 2] for i in range(0, 12, 2))
