import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Refusal, WireEvent
from meter.sources.pos.square import SQUARE
from meter.sources.spec import Answer, Page, Request, Setup
from tests.ingest.square import payment, webhook
from tests.sources.case import RECEIVED, setup
from tests.sources.square_objects import FETCHED, ORDER, come, order_notice, refund, refund_notice

HERE = setup("square", "till", api_key="token", options={"locations": ["BERLIN"], "sweep_days": 1})
LOCATIONS: dict[str, Any] = {"locations": [{"id": "HAMBURG"}, {"id": "BERLIN"}]}


def at(minutes: float) -> datetime:
    return RECEIVED + timedelta(minutes=minutes)


def reply(content: Any, when: datetime = RECEIVED) -> Answer:
    return Answer(status=200, body=json.dumps(content).encode(), received_at=when)


def first(feed: str, configured: Setup = FETCHED) -> Json:
    """The cursor at which the first round begins."""
    page = SQUARE.feeds[feed].read(configured, None, reply(LOCATIONS))
    assert (page.items, page.more) == ((), True)
    return page.cursor


def asked(feed: str, cursor: Json, when: datetime = RECEIVED) -> Request:
    return SQUARE.feeds[feed].request(FETCHED, cursor, when)


def rounds(
    feed: str, ask: Callable[[Request], Any], cursor: Json = None, configured: Setup = FETCHED
) -> tuple[list[WireEvent], Json]:
    """Every event of one round, and the cursor after it. Cursors are kept as JSON."""
    found: list[WireEvent] = []
    for _ in range(100):
        cursor = json.loads(json.dumps(cursor))
        request = SQUARE.feeds[feed].request(configured, cursor, RECEIVED)
        page: Page = SQUARE.feeds[feed].read(configured, cursor, reply(ask(request)))
        found += [item for item in page.items if isinstance(item, WireEvent)]
        cursor = page.cursor
        if not page.more:
            return found, cursor
    raise AssertionError("the round does not end")


def test_a_round_begins_with_the_locations() -> None:
    for feed in SQUARE.feeds:
        assert asked(feed, None) == Request(over="square", call="locations.list")
        assert asked(feed, {"since": "2026-03-02T09:00:00Z"}) == Request(over="square", call="locations.list")
        assert first(feed)["locations"] == ["BERLIN", "HAMBURG"]
        assert first(feed, HERE)["locations"] == ["BERLIN"]


def test_the_first_round_looks_back_and_the_next_overlap() -> None:
    assert (first("payments")["since"], first("payments")["until"]) == ("2026-02-27T09:30:00Z", "2026-03-02T09:30:00Z")
    assert first("payments", HERE)["since"] == "2026-03-01T09:30:00Z"
    page = SQUARE.feeds["payments"].read(HERE, {"since": "2026-03-02T09:00:00Z"}, reply(LOCATIONS, at(60)))
    assert (page.cursor["since"], page.cursor["until"]) == ("2026-03-02T08:45:00Z", "2026-03-02T10:30:00Z")


@pytest.mark.parametrize(("feed", "call"), [("payments", "payments.list"), ("refunds", "refunds.list")])
def test_what_was_updated_is_listed_by_location(feed: str, call: str) -> None:
    request = asked(feed, first(feed))
    assert (request.over, request.call) == ("square", call)
    assert request.arguments == {
        "location_id": "BERLIN",
        "updated_at_begin_time": "2026-02-27T09:30:00Z",
        "updated_at_end_time": "2026-03-02T09:30:00Z",
        "sort_field": "UPDATED_AT",
        "sort_order": "ASC",
        "limit": 100,
    }


def test_completed_orders_are_searched_by_location() -> None:
    request = asked("orders", first("orders"))
    assert (request.over, request.call) == ("square", "orders.search")
    assert request.arguments["location_ids"] == ["BERLIN"]
    assert request.arguments["query"]["filter"]["state_filter"] == {"states": ["COMPLETED"]}


def test_it_pages_with_the_vendors_cursor_and_then_goes_on_to_the_next_location() -> None:
    seen: list[tuple[str, str | None]] = []

    def ask(request: Request) -> Any:
        if request.call == "locations.list":
            return LOCATIONS
        place = (request.arguments["location_id"], request.arguments.get("cursor"))
        seen.append(place)
        pages: dict[tuple[str, str | None], Any] = {
            ("BERLIN", None): {"payments": [payment(id="a")], "cursor": "next"},
            ("BERLIN", "next"): {"payments": [payment(id="b")], "cursor": ""},
            ("HAMBURG", None): {},
        }
        return pages[place]

    found, cursor = rounds("payments", ask)
    assert seen == [("BERLIN", None), ("BERLIN", "next"), ("HAMBURG", None)]
    assert [event.thing for event in found if event.type == "pos.sale"] == ["a", "b"]
    assert cursor == {"since": "2026-03-02T09:30:00Z"}


def test_a_page_that_has_grown_old_is_begun_again() -> None:
    page = SQUARE.feeds["payments"].read(FETCHED, first("payments"), reply({"payments": [], "cursor": "next"}))
    assert asked("payments", page.cursor, at(3)).arguments["cursor"] == "next"
    assert "cursor" not in asked("payments", page.cursor, at(5)).arguments


@pytest.mark.parametrize(
    ("feed", "array", "found", "body"),
    [
        ("payments", "payments", payment(), webhook()),
        ("payments", "payments", payment(status="CANCELED"), webhook(status="CANCELED")),
        ("refunds", "refunds", refund(), refund_notice()),
        ("refunds", "refunds", refund("PENDING"), refund_notice("PENDING", kind="refund.created")),
        ("orders", "order_entries", {"order_id": ORDER, "location_id": "L", "version": 7}, order_notice()),
    ],
)
def test_what_it_finds_is_what_the_webhook_said(feed: str, array: str, found: dict[str, Any], body: bytes) -> None:
    page = SQUARE.feeds[feed].read(FETCHED, first(feed), reply({array: [found]}))
    events = [item for item in page.items if isinstance(item, WireEvent)]
    told = [(event.source, event.id, event.content_hash) for event in come(body)]
    assert [(event.source, event.id, event.content_hash) for event in events] == told


def test_one_that_cannot_be_read_is_one_refusal() -> None:
    listed = [payment(id="a"), payment(id=None), 7, payment(id="b", amount_money=None), payment(id="c")]
    page = SQUARE.feeds["payments"].read(FETCHED, first("payments"), reply({"payments": listed}))
    refusals = [item for item in page.items if isinstance(item, Refusal)]
    sales = [item.thing for item in page.items if isinstance(item, WireEvent) and item.type == "pos.sale"]
    assert sales == ["a", "c"]
    assert [json.loads(refusal.body) for refusal in refusals] == [listed[1], 7, listed[3]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"errors": [{"category": "API_ERROR", "code": "INTERNAL_SERVER_ERROR"}]}, "lists errors"),
        ({"payments": {}}, "is no array"),
        ([], "an object is documented"),
    ],
)
def test_an_answer_that_is_none_moves_no_cursor(body: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        SQUARE.feeds["payments"].read(FETCHED, first("payments"), reply(body))


def test_locations_that_the_account_does_not_have_are_told() -> None:
    with pytest.raises(BadInput, match="check the option locations"):
        SQUARE.feeds["payments"].read(HERE, None, reply({"locations": [{"id": "HAMBURG"}]}))


@given(
    st.lists(st.integers(0, 600), min_size=1, max_size=12, unique=True),
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.integers(0, 14),
    st.integers(1, 5),
)
def test_nothing_is_missed_however_rounds_fall(minutes: list[int], pauses: list[int], lag: int, size: int) -> None:
    """Payments that show up to `lag` minutes after their time are found, whatever the pauses and pages of rounds."""
    changed = {f"p{n}": at(minute) for n, minute in enumerate(minutes)}
    found: set[str] = set()
    cursor: Json = None
    now = RECEIVED
    for pause in [0, *pauses, 700, 1]:
        now += timedelta(minutes=pause)
        while True:
            request = SQUARE.feeds["payments"].request(HERE, cursor, now)
            page = SQUARE.feeds["payments"].read(HERE, cursor, reply(_listed(request, changed, now, lag, size), now))
            found |= {str(item.thing) for item in page.items if isinstance(item, WireEvent) and item.thing}
            cursor = page.cursor
            if not page.more:
                break
    assert found == set(changed)


def _listed(request: Request, changed: dict[str, datetime], now: datetime, lag: int, size: int) -> Any:
    if request.call == "locations.list":
        return LOCATIONS
    since, until = (
        datetime.fromisoformat(request.arguments[name]) for name in ("updated_at_begin_time", "updated_at_end_time")
    )
    there = [
        name
        for name, time in sorted(changed.items(), key=lambda one: one[1])
        if since <= time <= until and time + timedelta(minutes=lag) <= now
    ]
    skipped = int(request.arguments.get("cursor", "0"))
    rest = there[skipped:]
    more = {"cursor": str(skipped + size)} if len(rest) > size else {}
    return {"payments": [payment(id=name, location_id="BERLIN") for name in rest[:size]], **more}
