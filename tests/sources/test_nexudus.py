"""Nexudus: arrays of entities, and the poll of bookings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Refusal
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Page
from tests.sources.case import RECEIVED, delivery, events, setup
from tests.sources.cases.nexudus import BOOKING, CASE, CONTRACT, COWORKER, entities, sign

NEXUDUS = VENDORS["nexudus"]
FEED = NEXUDUS.feeds["bookings"]
assert NEXUDUS.hook is not None
READ, CHECK = NEXUDUS.hook.read, NEXUDUS.hook.check


def answered(body: Mapping[str, Any], cursor: Json = None) -> Page:
    answer = Answer(status=200, body=json.dumps(body).encode(), received_at=RECEIVED)
    return FEED.read(CASE.setup, cursor, answer)


def test_the_signature_is_in_upper_case() -> None:
    body = entities(BOOKING)
    headers, _ = sign(CASE.setup, "the-active-key", delivery(body))
    CHECK(CASE.setup, delivery(body, headers=headers))
    with pytest.raises(BadInput):
        CHECK(CASE.setup, delivery(body, headers={name: value.lower() for name, value in headers.items()}))


def test_one_bad_entity_is_one_refusal() -> None:
    items = READ(CASE.setup, delivery(entities({**BOOKING, "UpdatedOn": "soon"}, BOOKING))).items
    assert isinstance(items[0], Refusal)
    assert items[0].code == "bad_payload"
    # With its own bytes: a batch with many of them would be kept as often as that, whole.
    assert json.loads(items[0].body) == {**BOOKING, "UpdatedOn": "soon"}
    assert READ(CASE.setup, delivery(items[0].body)).items == [items[0]]
    (event,) = events(items[1:])
    assert event.data["resource"] == "77"


def test_of_a_page_each_bad_record_is_kept_by_itself() -> None:
    page = answered({"Records": [{**BOOKING, "UpdatedOn": "soon"}, BOOKING], "HasNextPage": False})
    assert isinstance(page.items[0], Refusal)
    assert json.loads(page.items[0].body) == {**BOOKING, "UpdatedOn": "soon"}


def test_a_single_entity_needs_no_array() -> None:
    (event,) = events(READ(CASE.setup, delivery(json.dumps(BOOKING).encode())).items)
    assert event.type == "room.booking"


@pytest.mark.parametrize("change", [{"IsCancelled": True}, {"Tentative": True}])
def test_cancelled_and_tentative_bookings_are_none(change: Mapping[str, bool]) -> None:
    (event,) = events(READ(CASE.setup, delivery(entities({**BOOKING, **change}))).items)
    assert event.data["status"] == "cancelled"


def test_the_address_says_what_was_deleted() -> None:
    body = entities(BOOKING, COWORKER, CONTRACT)
    (event,) = events(READ(CASE.setup, delivery(body, query={"event": "deleted"})).items)
    (booked, *_) = events(READ(CASE.setup, delivery(body)).items)
    assert (event.type, event.data["status"]) == ("room.booking", "cancelled")
    assert booked.id < event.id


def test_the_access_card_is_the_badge() -> None:
    _, member = events(READ(CASE.setup, delivery(entities(COWORKER))).items)
    assert member.data["body"]["identities"] == ["nexudus:4711", "badge:04A2991B", "email:ada@acme.example"]
    (contract,) = events(READ(CASE.setup, delivery(entities(CONTRACT))).items)
    assert contract.data["body"] == {
        "account": "nexudus-4711",
        "plan": "flex-10",
        "from": "2026-01-01T00:00:00Z",
        "to": None,
    }


def test_a_poll_reads_what_a_webhook_reads() -> None:
    page = answered({"Records": [BOOKING], "HasNextPage": False})
    (polled,), (told,) = events(page.items), events(READ(CASE.setup, delivery(entities(BOOKING))).items)
    assert (polled.source, polled.id, polled.content_hash) == (told.source, told.id, told.content_hash)


def test_a_success_that_says_it_was_none_is_refused() -> None:
    with pytest.raises(BadInput, match="not successful"):
        answered({"WasSuccessful": False, "Message": "no access", "Records": []})
    with pytest.raises(BadInput, match="Records"):
        answered({})


def test_the_cursor_is_the_newest_change_less_an_overlap() -> None:
    newer = {**BOOKING, "UpdatedOn": "2026-03-02T08:00:00Z"}
    page = answered({"Records": [newer, BOOKING], "HasNextPage": False})
    request = FEED.request(CASE.setup, page.cursor, RECEIVED)
    assert request.query["from_Booking_UpdatedOn"] == "2026-03-02T07:50:00Z"
    assert request.headers == {"Authorization": "Bearer None", "Accept": "application/json"}


def test_pages_are_read_with_one_filter_and_the_cursor_moves_after_the_last() -> None:
    first = answered({"Records": [BOOKING], "HasNextPage": True})
    assert first.more
    since = FEED.request(CASE.setup, None, RECEIVED).query["from_Booking_UpdatedOn"]
    second = FEED.request(CASE.setup, first.cursor, RECEIVED + timedelta(minutes=1))
    assert second.query["from_Booking_UpdatedOn"] == since
    assert second.query["page"] == "2"
    last = answered({"Records": [], "HasNextPage": False}, first.cursor)
    assert not last.more
    assert last.cursor["page"] == 1
    assert last.cursor["since"] == "2026-03-01T16:50:00Z"


def test_an_empty_poll_never_moves_back() -> None:
    cursor = {"since": "2026-03-02T09:00:00Z", "page": 1, "newest": None}
    assert answered({"Records": []}, cursor).cursor == cursor


def test_a_prefix_of_ones_own() -> None:
    own = setup("nexudus", options={"prefix": "nx."})
    account, _ = events(READ(own, delivery(entities(COWORKER))).items)
    assert account.data["id"] == "nx.4711"
