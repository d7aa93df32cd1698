import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.doors.alta import check, greet, read
from meter.sources.spec import Reply, Setup
from tests.sources.case import KEYS, delivery, events, setup
from tests.sources.cases.alta import CASE, hook

SIGNED = setup("alta", secrets=KEYS, options={"verify": "signature"})


def access(given: Setup = CASE.setup, kind: str = "entry.unlocked", **changes: Any) -> WireEvent:
    (made,) = events(read(given, delivery(hook(kind, **changes))).items)
    return made


def test_one_unlock_in_three_stages_is_one_access() -> None:
    stages = ("entry.authenticated", "entry.authorized", "entry.unlocked")
    made = [event for kind in stages for event in events(read(CASE.setup, delivery(hook(kind, id=kind))).items)]
    assert [event.data["granted"] for event in made] == [True]


@pytest.mark.parametrize("stage", ["authenticated", "authorized", "unlocked"])
def test_a_chain_that_fails_is_denied_at_its_stage(stage: str) -> None:
    denied = access(kind=f"entry.{stage}.failed")
    assert (denied.data["granted"], denied.data["reason"]) == (False, f"entry.{stage}.failed")


def test_the_handshake_is_answered_with_its_own_secret() -> None:
    asked = delivery(b"", headers={"x-hook-secret": "s3cr3t-of-theirs"}, query={"token": KEYS[1]})
    assert greet(CASE.setup, asked) == Reply(headers={"X-Hook-Secret": "s3cr3t-of-theirs"})
    assert greet(SIGNED, delivery(b"", headers={"x-hook-secret": "theirs"})) is not None


@pytest.mark.parametrize(
    ("body", "secret", "token"),
    [
        (b"", "theirs", "wrong"),
        (b"", "theirs", ""),
        (b"{}", "theirs", KEYS[0]),
        (b"", "", KEYS[0]),
        (b"", "x" * 300, KEYS[0]),
        (b"", "a\r\nb: c", KEYS[0]),
    ],
)
def test_nothing_else_is_greeted(body: bytes, secret: str, token: str) -> None:
    assert greet(CASE.setup, delivery(body, headers={"x-hook-secret": secret}, query={"token": token})) is None


def test_a_signature_is_checked_where_it_is_set() -> None:
    good = hmac.new(KEYS[0].encode(), hook(), hashlib.sha256).hexdigest()
    check(SIGNED, delivery(hook(), headers={"x-hook-signature": good}))
    for headers in ({"x-hook-signature": good[::-1]}, {}, {"authorization": f"Bearer {KEYS[0]}"}):
        with pytest.raises(BadInput) as refused:
            check(SIGNED, delivery(hook(), headers=headers))
        assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("time", [1772438487, "1772438487", 1772438487000, "2026-03-02T08:01:27Z"])
def test_the_time_may_be_written_in_three_ways(time: int | str) -> None:
    assert access(time=time).time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)


def test_each_field_may_stand_elsewhere() -> None:
    given = setup("alta", options={"door_path": "data.entryId", "person_path": "data.userId", "id_path": "data.uuid"})
    made = access(given, data={"entryId": 5, "userId": 6, "uuid": "u-1"})
    assert (made.id, made.data["door"], made.subject) == ("u-1", "5", "alta:6")


def test_without_an_id_the_fact_is_its_own() -> None:
    first = access(id=None)
    assert first.id == access(id=None, entry={"id": 77, "name": "Front"}).id
    assert first.id != access(id=None, user={"id": 302}).id
    assert first.id != access(id=None, time=1772438488).id
    assert first.id != access(id=None, kind="entry.unlocked.failed").id


def test_an_access_tells_no_more_than_is_needed() -> None:
    assert access().data == {
        "door": "77",
        "granted": True,
        "door_name": "Front door",
        "direction": "in",
        "hint": {"email": "mira@example.com"},
    }
