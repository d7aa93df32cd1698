"""Identities: `kind:value`, normalised so that one badge or address has one spelling (rating.md, section 1).

Every kind: Unicode NFC, no spaces around. `mac`: twelve hexadecimal digits in any grouping, as aa-bb-cc-dd-ee-ff.
`email`: lower case; plus parts and dots stay, for only the host knows what they mean. `badge`: upper-case
hexadecimal where it is plain what it is (`meter.model.credential`). `user`: lower case (RFC 8265, UsernameCaseMapped);
a realm or domain stays. Any other kind is its vendor's own and stays as is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from unicodedata import normalize

from meter.model import card_number
from meter.model.credential import normalise_badge
from meter.model.errors import BadInput

IDENTITY_CHARS_MAX: Final = 256
_KIND: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_HEX12: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_MAC_MARKS: Final = re.compile(r"[-:.\s]")
# What a keyed hash stands as (decision 0012): 20 characters of base32, and the end of the value where it is shown.
_HASHED: Final = re.compile(r"~[a-z2-7]{20}(?:\.[0-9A-Za-z]{1,4})?", re.ASCII)


@lru_cache(maxsize=65536)
def normalise_identity(text: str) -> str:
    """Return `text` as `kind:value` in its one spelling; a value that is hashed already stays as it is.

    Raises BadInput: `bad_identity` (no kind, no value, longer than 256 characters, control characters), `card_number`.
    """
    if card_number.holds(text):
        raise card_number.refused("the identity")
    kind, colon, value = text.partition(":")
    kind, value = kind.strip().lower(), _composed(value)
    if not colon or not value or not _KIND.fullmatch(kind) or not text.isprintable():
        raise _refused(text)
    if kind in _SPELLINGS and not is_hashed(value):
        value = _SPELLINGS[kind](value)
    if not value or max(len(text), len(kind) + 1 + len(value)) > IDENTITY_CHARS_MAX:
        raise _refused(text)
    return f"{kind}:{value}"


def is_kind(word: str) -> bool:
    """Tell whether `word` can be the kind of an identity."""
    return _KIND.fullmatch(word) is not None


def is_hashed(value: str) -> bool:
    """Tell whether the value of an identity is a keyed hash."""
    return _HASHED.fullmatch(value) is not None


def _refused(text: str) -> BadInput:
    message = f"{text[:60]!r} is no identity; write kind:value, like badge:04A2991B or email:ada@acme.example"
    return BadInput(message, code="bad_identity")


def _composed(value: str) -> str:
    return normalize("NFC", value.strip())


def _lower(value: str) -> str:
    return _composed(value.lower())


def _badge(value: str) -> str:
    return _composed(normalise_badge(value))


def _mac(value: str) -> str:
    digits = _MAC_MARKS.sub("", value.lower())
    if not _HEX12.fullmatch(digits):
        return _lower(value)
    return "-".join(digits[i : i + 2] for i in range(0, 12, 2))


_SPELLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "badge": _badge,
    "email": _lower,
    "mac": _mac,
    "user": _lower,
}
