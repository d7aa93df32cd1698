import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.doors.kisi import check, read
from meter.sources.spec import Setup
from tests.sources.case import KEYS, delivery, events, setup
from tests.sources.cases.kisi import CASE, unlock


def access(given: Setup = CASE.setup, **changes: Any) -> WireEvent:
    (event,) = events(read(given, delivery(unlock(**changes))).items)
    return event


def test_an_unlock_is_an_entry_at_its_own_time() -> None:
    event = access()
    assert event.source == "berlin/door/kisi-front"
    assert event.id == "5a9b33f4-96a8-4e4c-8c2f-1f4f7a0d1a3e"
    assert event.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert event.data == {
        "door": "2402",
        "granted": True,
        "door_name": "Front door",
        "direction": "in",
        "hint": {"name": "Mira Muster"},
    }


def test_a_failure_is_denied_with_its_reason() -> None:
    event = access(success=False, error_code="lock_access_denied", error_message="Not allowed")
    assert (event.data["granted"], event.data["reason"]) == (False, "lock_access_denied")
    assert access(success=False, error_message="Not allowed").data["reason"] == "Not allowed"


@pytest.mark.parametrize("actor_type", [None, "GroupLink", "ApiKey", "Schedule"])
def test_whoever_is_no_user_is_nobody(actor_type: str | None) -> None:
    event = access(actor_type=actor_type, actor_name="For guests")
    assert event.subject is None
    assert event.data.get("by") == actor_type
    assert "hint" not in event.data


def test_two_unlocks_are_two_however_close() -> None:
    assert access().id != access(uuid="another").id


def test_single_locks_lead_their_own_way() -> None:
    given = setup("kisi", options={"direction": "", "directions": {"2402": "out", "Front door": "in"}})
    assert access(given).data["direction"] == "out"
    assert access(given, object_id=1).data["direction"] == "in"
    assert "direction" not in access(given, object_id=1, object_name="Back door").data


def test_a_clock_that_was_never_set_is_flagged() -> None:
    event = access(created_at="1970-01-01T00:00:12Z")
    assert event.time is None
    assert event.attributes == {"timeflag": "unset_clock"}


def test_the_signature_may_be_in_base64() -> None:
    given = setup("kisi", secrets=KEYS, options={"encoding": "base64"})
    digest = hmac.new(KEYS[1].encode(), unlock(), hashlib.sha256)
    check(given, delivery(unlock(), headers={"x-signature": base64.b64encode(digest.digest()).decode()}))
    for wrong in (digest.hexdigest(), base64.b64encode(digest.digest()).decode().lower()):
        with pytest.raises(BadInput, match="encoding"):
            check(given, delivery(unlock(), headers={"x-signature": wrong}))


def test_a_vector_computed_elsewhere() -> None:
    """printf '{}' | openssl dgst -sha256 -hmac key"""
    given = setup("kisi", secrets=("key",))
    expected = "a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"
    check(given, delivery(b"{}", headers={"x-signature": expected}))
    check(given, delivery(b"{}", headers={"x-signature": expected.upper()}))
