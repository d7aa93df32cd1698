"""What Square's API may answer when something is wrong with it: nothing but BadInput may leave the source."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.sources.pos.square import SQUARE
from meter.sources.spec import Answer
from tests.ingest.square import payment, webhook
from tests.sources.case import RECEIVED
from tests.sources.square_objects import (
    FETCHED,
    ORDER,
    PAYMENT,
    REFUND,
    Square,
    come,
    eur,
    item,
    order,
    order_notice,
    refund,
    refund_notice,
    return_order,
    returned,
    tender,
)
from tests.sources.test_compliance import _spoilt as spoilt

CHARGE = {"uid": "s", "name": "Service", "total_money": eur(50), "total_tax_money": eur(8), "treatment_type": "X"}
SOLD = order(
    item("coffee", 238, 38, quantity="2", variation_name="Large"),
    tenders=[tender(PAYMENT, 200), tender("other", 93, 3, card_details={"status": "CAPTURED"})],
    service_charges=[CHARGE],
    rounding_adjustment={"amount_money": eur(2)},
)
WHOLE = order(item("coffee", 238, 38, quantity="2"), tenders=[tender(PAYMENT, 238)])
BACK = return_order(
    returned("coffee", 119, 19), return_tips=[{"applied_money": eur(0)}], rounding_adjustment={"amount_money": eur(0)}
)


def notices() -> dict[str, Mapping[str, Any]]:
    """A notice of each kind, as it is kept on the list."""
    square = Square().holds(orders=[WHOLE, BACK], payments=[payment()])
    told = [*come(webhook(total_money=eur(238), amount_money=eur(200), tip_money=None)), *come(order_notice())]
    told += square.all_of(come(refund_notice("COMPLETED", 119)))
    told += [*square.fetched(come(order_notice())[0])]
    found = {event.data["kind"]: event.data for event in told if event.type == "source.changed"}
    return found | {"several": {"object": REFUND}, "again": {"object": REFUND}}


ANSWERS: Mapping[str, Any] = {
    "sale": {"order": SOLD},
    "order": {"order": SOLD},
    "payment": {"payment": payment(refund_ids=[REFUND])},
    "refund": {"payment": payment(refund_ids=[REFUND, "ANOTHER"])},
    "return": {"order": BACK},
    "returned": {"orders": [WHOLE, BACK]},
    "several": {"refund": refund()},
    "again": {"refund": refund()},
}
CURSOR = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "locations": ["A", "B"], "page": "p"}
PAGES: Mapping[str, Any] = {
    "payments": {"payments": [payment()], "cursor": "next"},
    "refunds": {"refunds": [refund()], "cursor": "next"},
    "orders": {"order_entries": [{"order_id": ORDER, "version": 1}], "cursor": "next"},
}


def bodies(content: Any) -> Iterator[bytes]:
    """The answer, and everything that may stand in its place."""
    yield json.dumps(content).encode()
    yield from (b"", b"null", b"[]", b"7", b"{", b"\xff", b'{"order":{},"order":{}}')
    for one in spoilt(content):
        yield json.dumps(one).encode()


def answers(content: Any) -> Iterator[Answer]:
    for body in bodies(content):
        yield Answer(status=200, body=body, received_at=RECEIVED)
    for status in (204, 404, 410):
        yield Answer(status=status, body=b"", received_at=RECEIVED)


def fault(use: Callable[..., Any], *given: Any) -> str | None:
    """The code of the refusal; None where there is none."""
    try:
        use(*given)
    except BadInput as error:
        return error.code
    return None


def test_every_fetch_is_tried() -> None:
    assert ANSWERS.keys() == SQUARE.fetches.keys() == notices().keys()
    assert PAGES.keys() == SQUARE.feeds.keys()


@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_is_answered_to_a_fetch(kind: str) -> None:
    wanted = notices()[kind]
    right = json.dumps(ANSWERS[kind]).encode()
    assert SQUARE.fetches[kind].read(FETCHED, wanted, Answer(status=200, body=right, received_at=RECEIVED)).items
    for answer in answers(ANSWERS[kind]):
        assert fault(SQUARE.fetches[kind].read, FETCHED, wanted, answer) != BadInput.default_code


@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_a_notice_says(kind: str) -> None:
    """A notice may come from a client that writes events itself: what it says is not trusted."""
    answer = Answer(status=200, body=json.dumps(ANSWERS[kind]).encode(), received_at=RECEIVED)
    for wanted in ({}, *spoilt(dict(notices()[kind]))):
        assert fault(SQUARE.fetches[kind].request, FETCHED, wanted) != BadInput.default_code
        assert fault(SQUARE.fetches[kind].read, FETCHED, wanted, answer) != BadInput.default_code


@pytest.mark.parametrize("feed", PAGES)
def test_whatever_is_answered_to_a_poll(feed: str) -> None:
    for cursor, content in ((CURSOR, PAGES[feed]), (None, {"locations": [{"id": "A"}]})):
        for answer in answers(content):
            assert fault(SQUARE.feeds[feed].read, FETCHED, cursor, answer) != BadInput.default_code
