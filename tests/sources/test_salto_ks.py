import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Refusal, WireEvent
from meter.sources.doors.salto_ks import read, request
from meter.sources.spec import Answer, Setup
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cases.salto_ks import CASE, OPTIONS, entry, page

NEBULA = setup(
    "salto-ks",
    options={**OPTIONS, "api": "nebula", "site_id": "northside"},
    api_base="https://nebula.example",
    api_key="k",
)
AT_START = {"since": "2026-03-01T09:30:00Z", "newest": "2026-03-01T09:30:00Z"}
IN_A_ROUND = {**AT_START, "page": 2, "token": "next-1", "paged_at": "2026-03-02T09:30:00Z"}


def answer(body: bytes) -> Answer:
    return Answer(status=200, body=body, received_at=RECEIVED)


def access(given: Setup = CASE.setup, **changes: Any) -> WireEvent:
    (made,) = events(read(given, None, answer(page(entry(**changes)))).items)
    return made


def happened(**changes: Any) -> dict[str, Any]:
    return {
        "name": "installations/northside/events/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "type": "com.saltosystems.nebula.event.v1.accesspointunlocked",
        "create_time": "2026-03-02T08:01:29Z",
        "occur_time": "2026-03-02T08:01:27Z",
        "data": {
            "access_point": {"name": "installations/northside/access-points/7", "display_name": "Front door"},
            "user": {"name": "installations/northside/users/31"},
            "credential_type": "salto.nebula.card.v1",
        },
        **changes,
    }


def nebula(**changes: Any) -> WireEvent:
    body = json.dumps({"events": [happened(**changes)]}).encode()
    (made,) = events(read(NEBULA, None, answer(body)).items)
    return made


def test_an_entry_is_an_access() -> None:
    made = access()
    assert (made.id, made.source) == ("en-1001", "berlin/door/salto-ks-office")
    assert made.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert made.data == {
        "door": "lock-7",
        "granted": True,
        "door_name": "Front door",
        "direction": "in",
        "credential": "tag",
    }


def test_a_utc_time_needs_no_offset() -> None:
    assert access(utc_date_time="2026-03-02T08:01:27").time == access().time


def test_a_rejection_is_denied() -> None:
    made = access(event_category="Rejection", event_detail="No access")
    assert (made.data["granted"], made.data["reason"]) == (False, "No access")


def test_an_exit_that_was_asked_for_leads_out() -> None:
    assert access(exit_requested=True).data["direction"] == "out"


def test_an_unknown_kind_is_one_refusal_that_names_the_option() -> None:
    """What it means is not documented: it must be seen, not guessed."""
    items = read(CASE.setup, None, answer(page(entry(), entry(event_category="Office mode"), 7, entry()))).items
    assert [type(item) for item in items] == [WireEvent, Refusal, Refusal, WireEvent]
    refusal = items[1]
    assert isinstance(refusal, Refusal)
    assert "options granted or denied" in refusal.detail
    given = setup("salto-ks", options={"granted": ["office mode"], "denied": []})
    assert access(given, event_category="Office mode").data["granted"] is True


def test_nebulas_other_events_are_nothing() -> None:
    body = json.dumps({"events": [happened(type="com.saltosystems.nebula.event.v1.usercreated")]}).encode()
    assert list(read(NEBULA, None, answer(body)).items) == []


def test_a_nebula_event_is_known_by_its_name() -> None:
    made = nebula()
    assert made.id == "installations/northside/events/01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert made.subject == "salto:installations/northside/users/31"
    assert made.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert made.attributes is None
    assert made.data["door"] == "installations/northside/access-points/7"


def test_now_instead_of_then_is_kept_and_flagged() -> None:
    made = nebula(occur_time="2026-03-02T08:01:29Z")
    assert made.attributes == {"timeflag": "fallback"}
    assert made.time == datetime(2026, 3, 2, 8, 1, 29, tzinfo=UTC)


def test_a_field_may_stand_elsewhere() -> None:
    given = setup("salto-ks", options={"fields": {"person": "user.id", "door": "lock.id"}})
    made = access(given, user={"id": "u-1"}, lock={"id": "l-1"})
    assert (made.subject, made.data["door"]) == ("salto:u-1", "l-1")


def test_entries_are_asked_for_with_a_token() -> None:
    asked = request(CASE.setup, AT_START, RECEIVED)
    assert asked.url == "https://user-api.example/v1.1/sites/5f0c1a/entries"
    assert asked.query["$filter"] == "utc_date_time ge DateTime'2026-03-01T09:30:00Z'"
    assert asked.token is not None
    assert asked.token.url == "https://identity.example/connect/token"
    assert asked.token.form == {
        "grant_type": "client_credentials",
        "client_id": "the-client",
        "client_secret": "the-client-secret",
        "scope": "user_api.full_access",
    }
    assert "the-client-secret" not in f"{asked.url}{asked.query}{asked.headers}"


@pytest.mark.parametrize(
    ("given", "query", "headers"),
    [
        (CASE.setup, {}, {"CLP-Continuation-Token": "next-1"}),
        (NEBULA, {"page_token": "next-1"}, {}),
    ],
    ids=["ks", "nebula"],
)
def test_a_page_names_the_next(given: Setup, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    asked = request(given, IN_A_ROUND, RECEIVED)
    assert asked.query.items() >= query.items()
    assert asked.headers.items() >= headers.items()
    first = request(given, AT_START, RECEIVED)
    assert "next-1" not in f"{first.query}{first.headers}"


def test_the_query_may_be_another() -> None:
    given = setup("salto-ks", options={"query": {"from": "{since}"}, "path": "/v2/{site_id}/audit", "site_id": "9"})
    asked = request(given, AT_START, RECEIVED)
    assert (asked.url, asked.query) == ("/v2/9/audit", {"from": "2026-03-01T09:30:00Z"})


def test_a_poll_goes_through_the_pages_and_on_from_the_newest() -> None:
    first = read(CASE.setup, None, answer(page(entry(), token="next-1")))
    assert first.more
    assert first.cursor == {**IN_A_ROUND, "newest": "2026-03-02T08:01:27Z"}
    last = read(CASE.setup, first.cursor, answer(page(entry(utc_date_time="2026-03-02T07:00:00Z"))))
    assert not last.more
    # A day before the newest, but not before where it began.
    assert last.cursor == {**AT_START, "newest": "2026-03-02T08:01:27Z"}
    later = read(CASE.setup, {**AT_START, "newest": "2026-03-04T10:00:00Z"}, answer(page()))
    assert later.cursor["since"] == "2026-03-03T10:00:00Z"


def test_a_round_that_was_interrupted_for_long_begins_again() -> None:
    """The token of its page may have run out: asked for with it, nothing would ever come."""
    late = RECEIVED + timedelta(hours=2)
    assert "next-1" in request(CASE.setup, IN_A_ROUND, RECEIVED + timedelta(minutes=59)).headers.values()
    assert request(CASE.setup, IN_A_ROUND, late) == request(CASE.setup, AT_START, late)


def test_a_single_page_moves_the_poll_on() -> None:
    late = {**AT_START, "since": "2026-02-01T00:00:00Z", "newest": "2026-02-02T00:00:00Z"}
    assert read(CASE.setup, late, answer(page(entry()))).cursor["since"] == "2026-03-01T08:01:27Z"


def test_an_entry_from_the_future_does_not_lead_the_poll() -> None:
    far = read(CASE.setup, None, answer(page(entry(utc_date_time="2099-01-01T00:00:00Z"))))
    assert far.cursor["newest"] == "2026-03-02T09:35:00Z"


def test_an_answer_without_the_array_is_refused() -> None:
    for body in (b"{}", b'{"items":{}}', b"[]"):
        with pytest.raises(BadInput):
            read(CASE.setup, None, answer(body))
