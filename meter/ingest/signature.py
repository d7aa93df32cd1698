"""Signatures over webhook bodies. Compared as bytes in constant time, against every active key."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256


def square_signature(key: str, url: str, body: bytes) -> bytes:
    """Return base64(HMAC-SHA256(key, url + body)): how Square signs (vendor page, November 2026).

    `url` is the one registered with Square, to the byte, and not what a proxy makes of it.
    """
    return b64encode(hmac.digest(key.encode(), url.encode() + body, sha256))


def any_equal(given: str, expected: Iterable[bytes]) -> bool:
    """Tell whether `given` is one of `expected`; takes as long whichever it is."""
    shown = given.encode("utf-8", "surrogateescape")
    found = False
    for signature in expected:
        found |= hmac.compare_digest(shown, signature)
    return found
