"""Keyed hashes of identities: what stands for a device's address or a badge where it is stored (decision 0012).

    mac:da-de-df-ee-92-51  ──▶  mac:~k3v5...q7.9251        badge:04A2991B  ──▶  badge:~x2...7a.1B

The hash tells one identity from another and nothing else; the end of the value lets its owner recognise it.
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from meter.model.errors import BadInput
from meter.model.event import AMENDED, DRAFT, Json
from meter.model.identity import is_hashed, normalise_identity
from meter.model.wire import WireEvent, content_hash

KEY_BYTES_MIN: Final = 16
# 100 bits, 20 characters of base32: among a thousand million identities two are alike with odds of 1 to 10^12.
_HASH_CHARS: Final = 20
# How much of a value is shown: of a 48-bit address a third, of a card number of 8 characters or more a quarter or less.
_MAC_TAIL_CHARS: Final = 4
_CARD_TAIL_CHARS: Final = 2
_CARD_KINDS: Final = frozenset({"badge", "card"})
_CARD_CHARS_MIN: Final = 8
_ACCESS: Final = "door.access"


class IdentityHasher:
    """Gives identities of `kinds` as they are stored. `key` is called once, when the first of them is given."""

    def __init__(self, kinds: Collection[str], key: Callable[[], bytes]) -> None:
        """Hash nothing yet."""
        self.kinds = frozenset(kinds)
        self._get_key = key
        self._hashed = lru_cache(maxsize=65536)(self._hash)

    @cached_property
    def _key(self) -> bytes:
        return self._get_key()

    @cached_property
    def fingerprint(self) -> bytes | None:
        """Return what tells two keys apart; None where nothing is hashed."""
        return hmac.digest(self._key, b"which key this is", sha256)[:16] if self.kinds else None

    def concerns(self, identity: str) -> bool:
        """Tell whether a normalised identity is stored otherwise than it is written."""
        kind, _, value = identity.partition(":")
        return kind in self.kinds and not is_hashed(value)

    def stored(self, identity: str) -> str:
        """Return a normalised identity as it is stored. Raises whatever getting the key does."""
        return self._hashed(identity) if self.concerns(identity) else identity

    def _hash(self, identity: str) -> str:
        kind, _, value = identity.partition(":")
        digest = hmac.digest(self._key, identity.encode(), sha256)
        tail = _tail(kind, value)
        return f"{kind}:~{b32encode(digest).decode().lower()[:_HASH_CHARS]}" + (f".{tail}" if tail else "")

    def event(self, event: WireEvent) -> WireEvent:
        """Return the event as it is stored: its subject, and what its data say of a person. Its bytes stay as sent."""
        if not self.kinds:
            return event
        subject = None if event.subject is None else self.stored(event.subject)
        data = self._data(event)
        if subject == event.subject and data is event.data:
            return event
        # The instant that the sender wrote, before it was corrected.
        sent = None if event.time is None else event.time + timedelta(milliseconds=event.offset_ms or 0)
        return msgspec.structs.replace(
            event, subject=subject, data=data, content_hash=content_hash(event.type, subject, sent, data)
        )

    def _data(self, event: WireEvent) -> Mapping[str, Json]:
        if event.type == DRAFT:
            body = self._drafted(event.data["body"])
            return event.data if body is event.data["body"] else {**event.data, "body": body}
        if event.type == AMENDED:
            inner = event.data["data"]
            hashed = self._personal(inner)
            return event.data if hashed is inner else {**event.data, "data": hashed}
        return self._personal(event.data) if event.type == _ACCESS or "hint" in event.data else event.data

    def _drafted(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return what a vendor says of a member with the identities hashed; what is none stays for its reader."""
        given = body.get("identities")
        if type(given) is not list:
            return body
        hashed = [{**one, "id": self._named(one.get("id"))} if type(one) is dict else self._named(one) for one in given]
        return body if hashed == given else {**body, "identities": hashed}

    def _named(self, given: Json) -> Json:
        try:
            return self.stored(normalise_identity(given)) if type(given) is str else given
        except BadInput:
            return given

    def _personal(self, data: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return data with the card of an access and the address of a hint hashed.

        A word for how a door was opened (NFC, PIN) is no card's number and stays.
        """
        card, hint = data.get("credential"), data.get("hint")
        if "badge" in self.kinds and type(card) is str and any(character.isdigit() for character in card):
            data = {**data, "credential": self._value("badge", card)}
        if "email" in self.kinds and isinstance(hint, Mapping) and type(hint.get("email")) is str:
            data = {**data, "hint": {**hint, "email": self._value("email", hint["email"])}}
        return data

    def _value(self, kind: str, value: str) -> str | None:
        """Return the value as it is stored; None: it is none of its kind."""
        try:
            identity = normalise_identity(f"{kind}:{value}")
        except BadInput:
            return None
        return self.stored(identity).partition(":")[2]


def _tail(kind: str, value: str) -> str:
    """Return what is shown of a value: enough to know it again, too little to say it."""
    shown = "".join(character for character in value if character.isascii() and character.isalnum())
    if kind == "mac":
        return shown[-_MAC_TAIL_CHARS:]
    return shown[-_CARD_TAIL_CHARS:] if kind in _CARD_KINDS and len(shown) >= _CARD_CHARS_MIN else ""


PLAIN: Final = IdentityHasher((), bytes)
