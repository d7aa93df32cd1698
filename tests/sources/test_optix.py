"""Optix: what is asked, and what is made of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import WireEvent
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cases.optix import BOOKING, CASE

FETCH = VENDORS["optix"].fetches["booking"]
WANTED: dict[str, Json] = {"object": "8123", "at": "2026-03-02T09:30:00Z"}


def answered(booking: Any, **more: Any) -> list[WireEvent]:
    body = json.dumps({"data": {"booking": booking}, **more}).encode()
    return events(FETCH.read(CASE.setup, WANTED, Answer(status=200, body=body, received_at=RECEIVED)).items)


def test_the_id_is_a_variable_and_never_part_of_the_query() -> None:
    wanted: dict[str, Json] = {"object": '1") { secrets }'}
    request = FETCH.request(setup("optix", api_key="k", options={"query": "query of one's own"}), wanted)
    assert json.loads(request.body) == {"query": "query of one's own", "variables": {"id": '1") { secrets }'}}
    assert (request.method, request.url) == ("POST", "https://api.optixapp.com/graphql")


def test_a_booking_as_it_is_answered() -> None:
    (event,) = answered(BOOKING)
    assert (event.subject, event.thing, event.data["status"]) == ("optix:77", "8123", "booked")
    assert (event.data["start"], event.data["end"]) == ("2026-03-02T09:00:00Z", "2026-03-02T11:00:00Z")
    assert event.time is not None
    assert event.time.isoformat() == "2026-03-02T08:00:00+00:00"


def test_a_cancelled_booking_counts_after_it_was_made() -> None:
    (booked,), (cancelled,) = answered(BOOKING), answered({**BOOKING, "cancelled": True})
    assert cancelled.data["status"] == "cancelled"
    assert booked.id < cancelled.id


def test_without_a_time_of_its_own_it_counts_when_optix_told() -> None:
    (event,) = answered({**BOOKING, "updated": None})
    assert event.time is not None
    assert event.time.isoformat() == "2026-03-02T09:30:00+00:00"


def test_none_is_nothing_and_errors_are_told() -> None:
    assert answered(None) == []
    with pytest.raises(BadInput, match="no such field"):
        answered(None, errors=[{"message": "no such field"}])
