"""Cobot: what is asked, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import WireEvent
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer
from tests.sources.case import RECEIVED, delivery, events, setup
from tests.sources.cases.cobot import BOOKING, CASE, MEMBERSHIP, notice

COBOT = VENDORS["cobot"]
AT = "2026-03-02T09:30:00Z"


def read(body: bytes) -> list[WireEvent]:
    assert COBOT.hook is not None
    return events(COBOT.hook.read(CASE.setup, delivery(body)).items)


def fetched(kind: str, body: Any, *, status: int = 200, at: str = AT, **options: Any) -> list[WireEvent]:
    made = setup("cobot", api_base=CASE.setup.api_base, api_key="k", timezone="Europe/Berlin", options=options)
    answer = Answer(status=status, body=json.dumps(body).encode(), received_at=RECEIVED)
    wanted: dict[str, Json] = {"object": "b17", "kind": kind, "at": at}
    return events(COBOT.fetches[kind].read(made, wanted, answer).items)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/api/bookings/b17",
        "http://co-up.cobot.example/api/bookings/b17",
        "https://co-up.cobot.example@evil.example/api/bookings/b17",
        "https://co-up.cobot.example.evil.example/api/bookings/b17",
        "file:///etc/passwd",
        "//evil.example/api/bookings/b17",
        "https://[::1/api/bookings/b17",
        "https://169.254.169.254/api/bookings/b17",
        "",
    ],
)
def test_an_address_of_another_host_is_refused(url: str) -> None:
    assert COBOT.hook is not None
    with pytest.raises(BadInput) as caught:
        COBOT.hook.read(CASE.setup, delivery(json.dumps({"url": url}).encode()))
    assert caught.value.code == "bad_payload"


@pytest.mark.parametrize(
    "path", ["/api/bookings/../admin", "/api/bookings/b17/../../x", "/api/bookings/", "/x", "/api/bookings/a%2Fb"]
)
def test_what_is_no_object_of_a_kind_that_is_read_is_ignored(path: str) -> None:
    assert read(notice(path)) == []


def test_what_is_asked_is_made_of_our_own_address() -> None:
    (changed,) = read(notice("/api/bookings/b17?x=https://evil.example"))
    request = COBOT.fetches["booking"].request(CASE.setup, changed.data)
    assert request.url == "https://co-up.cobot.example/api/bookings/b17"
    assert request.headers["Authorization"] == "Bearer the-token"


@pytest.mark.parametrize("object_id", ["../admin", "a/b", "x?y=1", "", "x" * 65])
def test_an_id_that_leads_elsewhere_is_not_asked(object_id: str) -> None:
    with pytest.raises(BadInput):
        COBOT.fetches["booking"].request(CASE.setup, {"object": object_id})


def test_each_notice_is_a_reason_to_look() -> None:
    """Without an id, two changes within a second must not pass for one: the second would never be fetched."""
    assert COBOT.hook is not None
    body = notice("/api/bookings/b17")
    later = RECEIVED.replace(microsecond=1)
    (first,) = read(body)
    (second,) = events(COBOT.hook.read(CASE.setup, delivery(body, at=later)).items)
    assert first.id != second.id


def test_a_booking_as_it_is_fetched() -> None:
    (event,) = fetched("booking", BOOKING)
    assert (event.type, event.subject, event.thing) == ("room.booking", "cobot:m93207605", "b17")
    assert event.data == {
        "booking": "b17",
        "resource": "r1",
        "resource_name": "Room 1",
        "start": "2026-03-02T09:00:00Z",
        "end": "2026-03-02T11:30:00Z",
        "status": "booked",
    }
    assert event.time is not None
    assert event.time.isoformat() == "2026-02-20T09:00:00+00:00"
    assert b"Lovelace" not in event.body
    assert b"Board" not in event.body


def test_a_deleted_booking_counts_after_the_state_that_it_had() -> None:
    (made,) = fetched("booking", BOOKING)
    (deleted,) = read(json.dumps(BOOKING).encode())
    assert deleted.data["status"] == "cancelled"
    assert made.time is not None
    assert deleted.time is not None
    assert (made.time, made.source, made.id) < (deleted.time, deleted.source, deleted.id)


def test_a_booking_that_does_not_say_when_it_changed_counts_when_cobot_told() -> None:
    silent = {name: value for name, value in BOOKING.items() if name != "updated_at"}
    (first,) = fetched("booking", silent)
    (again,) = fetched("booking", silent)
    (later,) = fetched("booking", silent, at="2026-03-02T09:31:00Z")
    assert first.id == again.id
    assert first.id != later.id
    assert (first.attributes or {})["timeflag"] == "fallback"


def test_what_is_gone_is_nothing() -> None:
    assert fetched("booking", {"error": "gone"}, status=404) == []
    assert fetched("membership", {"error": "gone"}, status=410) == []


def test_a_membership_is_an_account_a_member_and_a_subscription() -> None:
    made = fetched("membership", MEMBERSHIP, plans={"Flex 10": "flex-10"})
    assert [(event.data["kind"], event.data["id"]) for event in made] == [
        ("account", "cobot-m93207605"),
        ("member", "cobot-m93207605"),
        ("subscription", "cobot-m93207605"),
    ]
    account, member, subscription = (event.data["body"] for event in made)
    assert account == {"name": "ACME GmbH", "cobot": "m93207605"}
    assert member == {
        "name": "Ada Lovelace",
        "email": "ada@acme.example",
        "account": "cobot-m93207605",
        "identities": ["cobot:m93207605", "email:ada@acme.example"],
    }
    assert subscription == {
        "account": "cobot-m93207605",
        "plan": "flex-10",
        "from": "2026-01-01T12:00:00Z",
        "to": "2026-12-31",
    }


def test_a_plan_that_is_not_mapped_keeps_its_name() -> None:
    made = fetched("membership", MEMBERSHIP, prefix="co-")
    assert made[2].data["body"]["plan"] == "Flex 10"
    assert made[2].data["id"] == "co-m93207605"


def test_a_membership_that_comes_back_to_what_it_was_is_news() -> None:
    """To a plan and back: the last state has another id than the first, so that it is not taken for it."""
    first, *_ = fetched("membership", MEMBERSHIP)
    last, *_ = fetched("membership", {**MEMBERSHIP, "updated_at": "2026/03/02 18:00:00 +0000"})
    assert first.data == last.data
    assert first.id != last.id
