"""Signatures over webhook bodies, as raw bytes. Compared in constant time, against every active key.

What each vendor signs (its own page or code, in the vendor's module): the order of the parts, the digest and its
encoding differ, and each is one wrong guess away from refusing everything or nothing.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from meter.model.errors import BadInput
from meter.sources.spec import Delivery, Setup

_BEARER: Final = "bearer "


def hmac_sha256(key: str, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of the parts, joined, by `key` as UTF-8 (RFC 2104)."""
    return hmac.digest(key.encode(), b"".join(parts), sha256)


def hmac_hex(key: str, *parts: bytes) -> bytes:
    """Return `hmac_sha256` in lower-case hexadecimal."""
    return hmac_sha256(key, *parts).hex().encode()


def hmac_base64(key: str, *parts: bytes) -> bytes:
    """Return `hmac_sha256` in base64 (RFC 4648 section 4, padded)."""
    return b64encode(hmac_sha256(key, *parts))


def any_equal(given: str, expected: Iterable[bytes]) -> bool:
    """Tell whether `given` is one of `expected`; takes as long whichever it is."""
    shown = given.encode("utf-8", "surrogateescape")
    found = False
    for signature in expected:
        found |= hmac.compare_digest(shown, signature)
    return found


def require(good: bool, *, remedy: str = "check the signing key") -> None:  # noqa: FBT001 -- as assert does
    """Raise BadInput (`bad_signature`) unless `good`."""
    if not good:
        raise BadInput(f"the signature does not fit the body; {remedy}", code="bad_signature")


def require_recent(signed_at: datetime, received_at: datetime, *, skew_s_max: int) -> None:
    """Raise BadInput (`stale`) where a signed time is further than `skew_s_max` from the receipt, either way."""
    off_s = abs((received_at - signed_at).total_seconds())
    if off_s > skew_s_max:
        message = f"the signature is {off_s:.0f} s off; at most {skew_s_max} s are taken: check both clocks"
        raise BadInput(message, code="stale")


def require_token(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the secret is shown as a bearer token or as `?token=`.

    For vendors that sign nothing.
    """
    shown = delivery.headers.get("authorization", "")
    token = shown[len(_BEARER) :] if shown.lower().startswith(_BEARER) else delivery.query.get("token", "")
    secrets = [secret.encode() for secret in setup.secrets if secret]
    if not any_equal(token.strip(), secrets):
        remedy = "show the source's secret as a bearer token or as ?token=" if secrets else "set the source's secrets"
        fault = "another token than the source's secret came" if token.strip() else "no token came"
        raise BadInput(f"{fault}; {remedy}", code="bad_signature")
