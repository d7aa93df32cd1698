"""Asking Square through its SDK, against a server that answers as Square documents (specs/square.json)."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from meter.ingest.fetching.square import SquareTransport
from meter.model.errors import Broken
from meter.model.wire import WireEvent
from meter.sources.pos.square import SQUARE
from meter.sources.spec import Request, Setup
from meter.transport.asking import http as http_module
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.transport import Declined, TryLater
from tests.ingest.square import payment, webhook
from tests.sources.case import RECEIVED
from tests.sources.square_objects import (
    FETCHED,
    ORDER,
    RETURN,
    Square,
    come,
    item,
    order,
    order_notice,
    refund,
    refund_notice,
    return_order,
    returned,
)
from tests.specs import spec

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SOLD = order(item("coffee", 420, 67))


class Vendor:
    """A server in Square's place; `handler` answers, `requests` is what came in with its body."""

    def __init__(self) -> None:
        self.handler: Handler = self._documented
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[web.Request, Any]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self.server = TestServer(app)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request, json.loads(body) if body else None))
        return await self.handler(request)

    async def _documented(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.answers[request.path])

    def answers_with(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, headers=headers, content_type="application/json")

        self.handler = answer

    @property
    def setup(self) -> Setup:
        return replace(FETCHED, api_base=str(self.server.make_url("")).rstrip("/"), api_key="the-token")


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor()
    async with made.server:
        yield made


@pytest.fixture
async def transport() -> AsyncIterator[SquareTransport]:
    http = HttpTransport(clock=lambda: NOW)
    yield SquareTransport(http)
    await http.close()


ASK = Request(over="square", call="orders.get", arguments={"order_id": ORDER})


def wanted(body: bytes, kind: str) -> Mapping[str, Any]:
    (notice,) = (event for event in come(body) if event.data.get("kind") == kind)
    return notice.data


def requests() -> dict[str, tuple[Request, Any]]:
    """Everything that the source asks, as it asks it, with what Square answers."""
    locations = {"locations": [{"id": "BERLIN", "name": "Bar", "status": "ACTIVE"}]}
    since, until = "2026-03-01T09:30:00Z", "2026-03-02T09:30:00.123456Z"
    cursor = {"since": since, "until": until, "locations": ["BERLIN"]}
    paged = {**cursor, "page": "NEXT", "paged_at": "2026-03-02T09:29:00Z"}
    back = return_order(returned("coffee", 420, 67))
    square = Square().holds(orders=[SOLD, back], payments=[payment()])
    found = [*square.all_of(come(refund_notice("COMPLETED", 420))), *square.fetched(come(order_notice())[0])]
    notices = {event.data["kind"]: event.data for event in found if event.type == "source.changed"}
    feeds = {
        f"{name}, {page}": (feed.request(FETCHED, at, RECEIVED), array)
        for name, feed, array in (
            ("payments", SQUARE.feeds["payments"], {"payments": [payment()], "cursor": "NEXT"}),
            ("refunds", SQUARE.feeds["refunds"], {"refunds": [refund()]}),
            ("orders", SQUARE.feeds["orders"], {"order_entries": [{"order_id": ORDER, "version": 2}]}),
        )
        for page, at in (("first", cursor), ("next", paged))
    }
    fetches = SQUARE.fetches
    return {
        "locations": (SQUARE.feeds["payments"].request(FETCHED, None, RECEIVED), locations),
        **feeds,
        "sale": (fetches["sale"].request(FETCHED, wanted(webhook(), "sale")), {"order": SOLD}),
        "order": (fetches["order"].request(FETCHED, wanted(order_notice(), "order")), {"order": SOLD}),
        "payment": (fetches["payment"].request(FETCHED, notices["payment"]), {"payment": payment()}),
        "refund": (fetches["refund"].request(FETCHED, notices["refund"]), {"payment": payment()}),
        "return": (fetches["return"].request(FETCHED, notices["return"]), {"order": back}),
        "returned": (fetches["returned"].request(FETCHED, notices["returned"]), {"orders": [SOLD, back]}),
        "several": (fetches["several"].request(FETCHED, {"object": refund()["id"]}), {"refund": refund()}),
        "again": (fetches["again"].request(FETCHED, {"object": refund()["id"]}), {"refund": refund()}),
    }


each = pytest.mark.parametrize("what", list(requests()))


@each
async def test_what_is_asked_and_answered_is_what_square_documents(
    what: str, vendor: Vendor, transport: SquareTransport
) -> None:
    request, content = requests()[what]
    vendor.answers_with(200, json.dumps(content).encode())
    answer = await transport.ask(vendor.setup, request)
    ((sent, body),) = vendor.requests
    spec("square").validate_call(sent.method, sent.path, sent.query, body, json.loads(answer.body))


@each
async def test_everything_the_source_asks_gets_through(what: str, vendor: Vendor, transport: SquareTransport) -> None:
    request, content = requests()[what]
    vendor.answers_with(200, json.dumps(content).encode())
    answer = await transport.ask(vendor.setup, request)
    assert (answer.status, json.loads(answer.body), answer.received_at) == (200, content, NOW)
    ((sent, body),) = vendor.requests
    assert sent.headers["Authorization"] == "Bearer the-token"
    assert sent.headers["Square-Version"]
    told = {**sent.query, **(body or {})}
    for name, value in request.arguments.items():
        if name not in {"order_id", "payment_id", "refund_id"}:
            assert told[name] in {value, str(value)} if isinstance(value, str | int) else told[name] == value
        else:
            assert sent.path.endswith(f"/{value}")


async def test_the_answer_is_square_s_own_bytes(vendor: Vendor, transport: SquareTransport) -> None:
    body = b'{"order":{"id":"O","quantity":"0.250","version":9007199254740993,"new":[1.10,null]}}\n'
    vendor.answers_with(200, body, {"X-Request": "7"})
    answer = await transport.ask(vendor.setup, ASK)
    assert (answer.body, answer.headers["x-request"]) == (body, "7")


async def test_a_packed_answer_is_unpacked(vendor: Vendor, transport: SquareTransport) -> None:
    vendor.answers_with(200, gzip.compress(b'{"order":{}}'), {"Content-Encoding": "gzip"})
    assert (await transport.ask(vendor.setup, ASK)).body == b'{"order":{}}'


async def test_a_body_of_another_shape_is_the_readers_to_refuse(vendor: Vendor, transport: SquareTransport) -> None:
    for body in (b"[]", b'"x"', b"null", b"7", b"{}", b'{"order":[]}', b'{"order":{"line_items":7}}'):
        vendor.answers_with(200, body)
        assert (await transport.ask(vendor.setup, ASK)).body == body
        pages = Request(over="square", call="payments.list", arguments={"location_id": "L"})
        assert (await transport.ask(vendor.setup, pages)).body == body


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_is_an_answer(status: int, vendor: Vendor, transport: SquareTransport) -> None:
    vendor.answers_with(status, b'{"errors":[{"category":"INVALID_REQUEST_ERROR","code":"NOT_FOUND"}]}')
    answer = await transport.ask(vendor.setup, ASK)
    assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (status, "NOT_FOUND")


@pytest.mark.parametrize(
    ("status", "headers", "after_s"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (429, {}, None),
        (503, {"Retry-After": "Mon, 02 Mar 2026 09:31:00 GMT"}, 60.0),
        (500, {"Retry-After": "soon"}, None),
        (502, {}, None),
        (408, {}, None),
    ],
)
async def test_what_passes_is_asked_again_when_square_says_and_not_before(
    status: int, headers: dict[str, str], after_s: float | None, vendor: Vendor, transport: SquareTransport
) -> None:
    vendor.answers_with(status, b'{"errors":[{"category":"RATE_LIMIT_ERROR","code":"RATE_LIMITED"}]}', headers)
    with pytest.raises(TryLater, match=rf"square answered {status}: .*RATE_LIMITED") as caught:
        await transport.ask(vendor.setup, ASK)
    assert caught.value.after_s == after_s
    assert len(vendor.requests) == 1, "the SDK's own retries are off"


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "api_base"), (401, "api_key"), (403, "api_key"), (302, "api_base")]
)
async def test_what_somebody_has_to_mend_is_declined(
    status: int, remedy: str, vendor: Vendor, transport: SquareTransport
) -> None:
    headers = {"Location": "/elsewhere"} if status == 302 else {}
    fault = {
        "category": "AUTHENTICATION_ERROR",
        "code": "UNAUTHORIZED",
        "detail": "This request could not be authorized.",
    }
    vendor.answers_with(status, json.dumps({"errors": [fault]}).encode(), headers)
    with pytest.raises(Declined, match=rf"square answered {status}: .*UNAUTHORIZED.*{remedy}") as caught:
        await transport.ask(vendor.setup, ASK)
    assert "the-token" not in caught.value.detail
    assert len(vendor.requests) == 1, "neither repeated nor followed"


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_a_page_of_a_proxy_is_no_answer(status: int, vendor: Vendor, transport: SquareTransport) -> None:
    vendor.answers_with(status, b"<html>a proxy's page</html>")
    with pytest.raises(Declined if status == 401 else TryLater, match=f"square answered {status}"):
        await transport.ask(vendor.setup, ASK)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b'{"errors":7}', b'{"errors":[7]}', b""])
async def test_a_fault_of_another_shape_is_still_one(body: bytes, vendor: Vendor, transport: SquareTransport) -> None:
    vendor.answers_with(500, body)
    with pytest.raises(TryLater, match="square answered 500"):
        await transport.ask(vendor.setup, ASK)


async def test_nobody_there(transport: SquareTransport) -> None:
    nowhere = replace(FETCHED, api_base=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(TryLater, match=r"127\.0\.0\.1 does not answer"):
        await transport.ask(nowhere, ASK)


async def test_a_line_that_breaks(vendor: Vendor, transport: SquareTransport) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"order":')
        assert request.transport is not None
        request.transport.close()
        return response

    vendor.handler = half
    with pytest.raises(TryLater, match=r"127\.0\.0\.1 does not answer"):
        await transport.ask(vendor.setup, ASK)


async def test_a_vendor_that_hangs(vendor: Vendor, transport: SquareTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    vendor.handler = never
    monkeypatch.setattr(http_module, "_TIMEOUT_S", 0.05)
    hasty = HttpTransport(clock=lambda: NOW)
    with pytest.raises(TryLater, match=r"127\.0\.0\.1 does not answer"):
        await SquareTransport(hasty).ask(vendor.setup, ASK)
    await hasty.close()
    over.set()


async def test_an_answer_without_end_is_declined(
    vendor: Vendor, transport: SquareTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "ANSWER_BYTES_MAX", 20)
    vendor.answers_with(200, b'{"order":{}, "a": 1}')
    assert (await transport.ask(vendor.setup, ASK)).status == 200
    vendor.answers_with(200, b'{"order":{}, "a": 12}')
    with pytest.raises(Declined, match="more than 20 bytes"):
        await transport.ask(vendor.setup, ASK)


@pytest.mark.parametrize("base", ["connect.squareup.com", "ftp://x", "http://", "", "/v2"])
async def test_an_address_that_is_none_is_declined(base: str, transport: SquareTransport) -> None:
    with pytest.raises(Declined, match="check api_base"):
        await transport.ask(replace(FETCHED, api_base=base), ASK)


async def test_only_calls_that_are_known_are_made(vendor: Vendor, transport: SquareTransport) -> None:
    for call in ("payments.create", "orders", "orders.get.__class__", ""):
        with pytest.raises(Broken, match="no call of this transport's"):
            await transport.ask(vendor.setup, replace(ASK, call=call))
    assert vendor.requests == []


def test_samples_are_what_square_documents() -> None:
    documented = spec("square")
    documented.validate(payment(), "Payment")
    documented.validate(SOLD, "Order")
    documented.validate(return_order(returned("coffee", 420, 67)), "Order")
    for body, schema in (
        (webhook(), "PaymentCreatedEvent"),
        (webhook("payment.updated"), "PaymentUpdatedEvent"),
        (refund_notice(kind="refund.created"), "RefundCreatedEvent"),
        (refund_notice("PENDING"), "RefundUpdatedEvent"),
        (order_notice(), "OrderUpdatedEvent"),
        (order_notice(kind="order.created"), "OrderCreatedEvent"),
    ):
        documented.validate(json.loads(body), schema)


async def test_from_the_webhook_to_the_lines(vendor: Vendor, transport: SquareTransport) -> None:
    """The whole way over the wire: a webhook's notice, the order asked for, the sale with lines."""
    vendor.answers = {f"/v2/orders/{ORDER}": {"order": SOLD}}
    fetch = SQUARE.fetches["sale"]
    data = wanted(webhook(), "sale")
    answer = await transport.ask(vendor.setup, fetch.request(vendor.setup, data))
    (event,) = fetch.read(vendor.setup, data, answer).items
    assert isinstance(event, WireEvent)
    assert [(line["amount"], line["tax"]) for line in event.data["lines"]] == [("3.53", "0.67")]
    assert RETURN not in str(event.data)
