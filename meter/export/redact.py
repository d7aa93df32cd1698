"""What is secret, and what others write without it: a vendor's error page may repeat the key that it was sent. Pure."""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[redacted]"
# What is shorter is no secret, and would take words apart.
SECRET_CHARS_MIN: Final = 6


class Secrets:
    """Secrets as they may stand in a text: plain, or as JSON, HTML and addresses write them."""

    def __init__(self, known: Iterable[str | None] = ()) -> None:
        """Keep those of `known` that are long enough to be one."""
        plain = {secret for secret in known if secret is not None and len(secret) >= SECRET_CHARS_MIN}
        forms = {form for secret in plain for form in _forms(secret)}
        # The longest first: one may be a part of another.
        self._forms = sorted((form.encode(errors="replace") for form in forms), key=len, reverse=True)

    def hide(self, content: bytes) -> bytes:
        """Return `content` without any of them."""
        for form in self._forms:
            content = content.replace(form, HIDDEN.encode())
        return content

    def hidden(self, text: str) -> str:
        """Return `text` without any of them."""
        return self.hide(text.encode(errors="replace")).decode(errors="replace")


# A token lasts an hour, and a thousand requests a second come with one.
@lru_cache(maxsize=256)
def secrets_among(known: tuple[str | None, ...]) -> Secrets:
    """Return the secrets among what is known of a target."""
    return Secrets(known)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    for written in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield written
        yield written.replace("/", "\\/")
    yield html.escape(secret)
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)


def credentials_in(headers: Mapping[str, str]) -> list[str]:
    """Return what headers of a request prove who we are with: a token, or a name and password and their encoding."""
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    _, _, credential = given.partition(" ")
    credential = credential.strip()
    if not given.lower().startswith("basic "):
        return [credential]
    try:
        _, _, password = base64.b64decode(credential).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return [credential]
    return [credential, password]
