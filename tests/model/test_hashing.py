"""Identities as they are stored: told apart by a key, known again by their end, and the same however they come."""

from __future__ import annotations

import hmac
import json
from base64 import b32encode
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.hashing import PLAIN, IdentityHasher
from meter.model.identity import normalise_identity
from meter.model.wire import WireEvent, read_event

KEY = b"sixteen bytes or more"
HASHER = IdentityHasher({"mac", "badge", "email"}, lambda: KEY)


def by_hand(identity: str, tail: str) -> str:
    """RFC 2104 and RFC 4648, written out: the first 100 bits."""
    digits = b32encode(hmac.new(KEY, identity.encode(), sha256).digest()[:15]).decode().lower()[:20]
    return f"{identity.partition(':')[0]}:~{digits}{tail}"


@pytest.mark.parametrize(
    ("identity", "tail"),
    [
        ("mac:da-de-df-ee-92-51", ".9251"),
        ("mac:unknown", ".nown"),
        ("badge:04A2991B", ".1B"),
        ("badge:04A2991", ""),
        ("email:ada@acme.example", ""),
    ],
)
def test_an_identity_is_stored_as_its_keyed_hash_and_its_end(identity: str, tail: str) -> None:
    stored = HASHER.stored(identity)
    assert stored == by_hand(identity, tail)
    assert HASHER.stored(stored) == stored
    assert normalise_identity(stored) == stored


def test_what_is_not_to_be_hashed_stays() -> None:
    for identity in ("user:ada", "member:ada", "square:CUST_1"):
        assert HASHER.stored(identity) == identity
    assert PLAIN.stored("mac:da-de-df-ee-92-51") == "mac:da-de-df-ee-92-51"
    assert PLAIN.fingerprint is None


def test_another_key_is_another_hash_and_another_fingerprint() -> None:
    other = IdentityHasher({"mac"}, lambda: b"another key of bytes")
    assert other.stored("mac:da-de-df-ee-92-51") != HASHER.stored("mac:da-de-df-ee-92-51")
    assert other.fingerprint != HASHER.fingerprint
    assert IdentityHasher({"badge"}, lambda: KEY).fingerprint == HASHER.fingerprint


def test_the_key_is_asked_for_once_and_only_when_it_is_needed() -> None:
    asked = []

    def key() -> bytes:
        asked.append(1)
        return KEY

    hasher = IdentityHasher({"mac"}, key)
    assert hasher.stored("user:ada") == "user:ada"
    assert hasher.stored(HASHER.stored("mac:da-de-df-ee-92-51")) == HASHER.stored("mac:da-de-df-ee-92-51")
    assert asked == []
    assert hasher.stored("mac:da-de-df-ee-92-51") == HASHER.stored("mac:da-de-df-ee-92-51")
    assert hasher.fingerprint == HASHER.fingerprint
    assert asked == [1]


def an_event(subject: str, data: dict[str, Any] | None = None, **more: Any) -> WireEvent:
    body = {"specversion": "1.0", "id": "1", "source": "b/x", "type": "door.access", "subject": subject, **more}
    event = read_event(json.dumps({**body, "data": data or {"door": "main", "granted": True}}).encode())
    assert isinstance(event, WireEvent), event
    return event


SPELLINGS = st.sampled_from(
    ["mac:DA:DE:DF:EE:92:51", "mac:dade.dfee.9251", "MAC:dadedfee9251", "mac:da-de-df-ee-92-51"]
)


@given(SPELLINGS, SPELLINGS)
def test_one_event_in_two_spellings_is_a_duplicate(one: str, other: str) -> None:
    left, right = HASHER.event(an_event(one)), HASHER.event(an_event(other))
    assert left.subject == right.subject == HASHER.stored("mac:da-de-df-ee-92-51")
    assert left.content_hash == right.content_hash


def test_the_content_is_that_of_the_stored_event() -> None:
    sent = an_event("mac:da-de-df-ee-92-51", time="2026-03-02T10:00:00.25Z", edgeoffsetms=1500)
    hashed = HASHER.event(sent)
    assert hashed.time == sent.time
    again = an_event(str(hashed.subject), time="2026-03-02T10:00:00.25Z", edgeoffsetms=1500)
    assert hashed.content_hash == again.content_hash != sent.content_hash
    assert HASHER.event(hashed) == hashed


@pytest.mark.parametrize(
    ("credential", "stays"), [("04a2991b", False), ("1234", False), ("NFC", True), ("mobile", True)]
)
def test_a_badge_in_the_data_of_an_access_is_hashed_too(credential: str, *, stays: bool) -> None:
    data = {"door": "main", "granted": True, "credential": credential}
    hashed = HASHER.event(an_event("user:ada", data)).data["credential"]
    assert (hashed == credential) is stays
    if not stays:
        assert f"badge:{hashed}" == HASHER.stored(normalise_identity(f"badge:{credential}"))
    assert IdentityHasher({"mac"}, lambda: KEY).event(an_event("user:ada", data)).data["credential"] == credential


def test_an_amendment_hides_the_badge_that_it_brings() -> None:
    inner = {"door": "main", "granted": True, "credential": "04A2991B"}
    body = {"specversion": "1.0", "id": "2", "source": "b/x", "type": "event.amended"}
    content = {"source": "b/x", "id": "1", "data": inner, "reason": "wrong door"}
    event = read_event(json.dumps({**body, "data": content}).encode())
    assert isinstance(event, WireEvent)
    hashed = HASHER.event(event)
    assert hashed.data == {**content, "data": {**inner, "credential": hashed.data["data"]["credential"]}}
    assert "04A2991B" not in repr(hashed.data)


def test_the_address_that_a_vendor_adds_is_hashed_like_an_identity() -> None:
    data = {"door": "main", "granted": True, "hint": {"email": "Ada@acme.example", "name": "Ada"}}
    hashed = HASHER.event(an_event("kisi:7", data)).data
    assert hashed["hint"] == {"email": HASHER.stored("email:ada@acme.example").partition(":")[2], "name": "Ada"}
    assert IdentityHasher({"mac"}, lambda: KEY).event(an_event("kisi:7", data)).data["hint"] == data["hint"]


def test_what_a_vendor_says_of_a_member_names_hashed_identities() -> None:
    identities = ["badge:04a2991b", {"id": "mac:dadedfee9251", "from": "2026-01-01"}, "kisi:7", 7, "nonsense"]
    data = {"vendor": "cobot", "name": "main", "kind": "member", "id": "ada", "body": {"identities": identities}}
    body = {"specversion": "1.0", "id": "2", "source": "b/x", "type": "directory.draft", "data": data}
    event = read_event(json.dumps(body).encode())
    assert isinstance(event, WireEvent)
    stored = [HASHER.stored("badge:04A2991B"), HASHER.stored("mac:da-de-df-ee-92-51")]
    assert HASHER.event(event).data == {
        **data,
        "body": {"identities": [stored[0], {"id": stored[1], "from": "2026-01-01"}, "kisi:7", 7, "nonsense"]},
    }
    plain = read_event(json.dumps(body | {"data": data | {"body": {"name": "Ada"}}}).encode())
    assert isinstance(plain, WireEvent)
    assert HASHER.event(plain) is plain
