from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web

from meter.export import http
from meter.export.contract import Barred, Delivered, Limits, Outcome, Refused, Retry, Uncertain
from meter.export.http import (
    ACCESS,
    Answer,
    Channel,
    Fault,
    Throttled,
    Unanswered,
    Unsent,
    outcome_of,
    outcome_of_error,
    overtaken,
    retry_after_s,
)
from meter.export.redact import HIDDEN
from meter.model.errors import Broken
from tests.export.clocks import VirtualClock

LIMITS = Limits(items_max=10, in_flight=2)
SENT = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "9" * 40}, 86_400.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Sun, 22 Nov 2026 10:01:30 GMT", "Date": SENT}, 90.0),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:00 GMT", "Date": SENT}, 0.0),
        ({"Retry-After": "Sun, 22 Nov 2026 10:01:30 GMT"}, None),  # whose clock?
        ({"Retry-After": "Sun, 99 Nov 2026 10:01:30 GMT", "Date": SENT}, None),
    ],
)
def test_what_a_target_asks_for_is_read_in_both_forms(headers: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Delivered()),
        (204, Delivered()),
        (302, Refused("answered 302: said no; it sends us elsewhere, check the target's base_url")),
        (400, Refused("answered 400: said no")),
        (401, Barred(f"answered 401: said no; {ACCESS}", ACCESS, status=401)),
        (403, Barred(f"answered 403: said no; {ACCESS}", ACCESS, status=403)),
        (404, Refused("answered 404: said no")),
        (408, Retry("answered 408: said no", after_s=7.0)),
        (409, Retry("answered 409: said no", after_s=7.0)),
        (425, Retry("answered 425: said no", after_s=7.0)),
        (429, Retry("answered 429: said no", after_s=7.0, throttled=True)),
        (500, Uncertain("answered 500: said no")),
        (503, Uncertain("answered 503: said no")),
    ],
)
def test_what_an_answer_makes_of_an_item(status: int, outcome: Outcome) -> None:
    assert outcome_of(status, {"Retry-After": "7"}, b" said\n  no") == outcome


def test_an_error_that_is_kept_with_the_key_uses_it_up() -> None:
    assert outcome_of(500, {}, b"", keeps_errors=True) == Uncertain("answered 500", answered=True)


def test_a_reason_is_for_reading() -> None:
    outcome = outcome_of(400, {}, b"<html>\xff" * 9999)
    assert isinstance(outcome, Refused)
    assert len(outcome.reason) < 400


@pytest.mark.parametrize(
    ("error", "sent", "outcome"),
    [
        (Unsent("refused"), True, Retry("refused")),
        (Unanswered("reset"), False, Uncertain("reset")),
        (Throttled(9.4), True, Retry("not to be asked for another 9 s", after_s=9.4, throttled=True)),
        (TimeoutError(), True, Uncertain("TimeoutError")),
        (OSError("no route"), False, Retry("no route")),
    ],
)
def test_what_a_missing_answer_makes_of_an_item(error: Exception, sent: bool, outcome: Outcome) -> None:  # noqa: FBT001
    assert outcome_of_error(error, sent=sent) == outcome


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def channel_to(address: str, *, limits: Limits = LIMITS, timeout_s: float = 30.0) -> AsyncIterator[Channel]:
    channel = Channel(address, limits, headers={"Authorization": "Bearer k"}, timeout_s=timeout_s)
    try:
        yield channel
    finally:
        await channel.close()


async def test_a_request_goes_below_the_base_address_and_its_answer_comes_back() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        said = {
            "path": request.path_qs,
            "body": (await request.read()).decode(),
            "auth": request.headers["Authorization"],
        }
        return web.json_response(said, status=201, headers={"X-Left": "9"})

    async with serving(echo) as address, channel_to(address) as channel:
        answer = await channel.request("POST", "/invoices", query={"key": "a b"}, body=b"{}")
    assert (answer.status, answer.headers["x-left"]) == (201, "9")
    assert answer.json() == {"path": "/v1/invoices?key=a+b", "body": "{}", "auth": "Bearer k"}


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_request: web.BaseRequest) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async with serving(elsewhere) as address, channel_to(address) as channel:
        assert (await channel.request("GET", "x")).status == 302


async def test_no_path_leads_to_another_host() -> None:
    async with channel_to("http://127.0.0.1:1/v1") as channel:
        with pytest.raises(Broken, match="leads away"):
            await channel.request("GET", "http://elsewhere.example/")


async def answered(channel: Channel) -> Answer | Fault:
    try:
        return await channel.request("POST", "x", body=b"{}")
    except Fault as fault:
        return fault


async def test_what_was_never_sent_is_certain() -> None:
    closed = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    async with channel_to(f"http://127.0.0.1:{port}") as channel:
        assert isinstance(await answered(channel), Unsent)
    async with channel_to("http://nowhere.invalid") as channel:
        assert isinstance(await answered(channel), Unsent)


@pytest.mark.parametrize("dies", ["before_answering", "in_the_answer"])
async def test_what_was_sent_and_not_answered_is_not(dies: str) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if dies == "in_the_answer":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
            await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server, channel_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as channel:
        assert isinstance(await answered(channel), Unanswered)


async def test_no_reason_shows_an_address_which_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"no protocol\r\n\r\n")
        writer.close()

    async def never(*_given: object, **_named: object) -> None:
        raise TimeoutError

    async with await asyncio.start_server(garble, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hidden/"
        async with channel_to(address) as channel:
            garbled = await said(channel)
            monkeypatch.setattr("aiohttp.TCPConnector.connect", never)
            unconnected = await said(channel)
    assert garbled.startswith("127.0.0.1: Bad status line")
    assert unconnected == "127.0.0.1: no connection in time"
    assert "hidden" not in garbled


async def said(channel: Channel) -> str:
    with pytest.raises(Fault) as caught:
        await channel.request("POST", "hook?sig=hidden", body=b"{}")
    return str(caught.value)


async def test_a_target_that_does_not_answer_in_time_may_hold_it() -> None:
    released = asyncio.Event()

    async def slow(_request: web.BaseRequest) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async with serving(slow) as address, channel_to(address, timeout_s=0.2) as channel:
        assert isinstance(await answered(channel), Unanswered)
        released.set()


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 1000)

    async def flood(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x" * 1001)

    async with serving(flood) as address, channel_to(address) as channel:
        fault = await answered(channel)
    assert isinstance(fault, Unanswered)
    assert "longer than 1000 bytes" in str(fault)


async def test_a_target_that_asks_for_time_is_not_asked_again_before() -> None:
    asked = 0

    async def busy(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=429, headers={"Retry-After": "600"})

    async with serving(busy) as address, channel_to(address) as channel:
        first, second = await answered(channel), await answered(channel)
    assert isinstance(first, Answer)
    assert isinstance(second, Throttled)
    assert 590 < second.after_s <= 600
    assert asked == 1


async def test_no_more_requests_are_under_way_than_the_target_bears() -> None:
    running, most, pair = 0, 0, asyncio.Barrier(2)

    async def count(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await pair.wait()
        running -= 1
        return web.Response()

    async with serving(count) as address, channel_to(address) as channel, asyncio.timeout(60):
        await asyncio.gather(*(answered(channel) for _ in range(6)))
    assert most == 2


async def test_a_process_that_was_overtaken_sends_nothing_more() -> None:
    asked = 0

    async def count(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response()

    async with serving(count) as address, channel_to(address) as channel:
        token = overtaken.set(lambda: True)
        try:
            assert isinstance(await answered(channel), Unsent)
        finally:
            overtaken.reset(token)
    assert asked == 0


SECRETS = ("sk_live_51/K7Q2+M4XA", "c1ient&secret", "refresh-9f2c")


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_no_answer_shows_a_secret_that_it_was_asked_with(status: int) -> None:
    """A vendor's error page, or its proxy's, may repeat the whole request."""
    basic = base64.b64encode(b"meter:pass word!").decode()
    known = [*SECRETS, "pass word!", basic, "t0ken-of-the-request"]
    echo = "|".join(
        form
        for secret in known
        for form in (secret, json.dumps(secret)[1:-1].replace("/", "\\/"), quote_plus(secret), quote(secret, safe=""))
    )

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=f"we saw: {echo} and no more", headers={"X-Seen": quote(known[0])})

    async with serving(answer) as url:
        channel = Channel(url, LIMITS, secrets=SECRETS, headers={"Authorization": f"Basic {basic}"})
        try:
            plain = await channel.request("GET", "/")
            bearer = await channel.request("GET", "/", headers={"Authorization": "Bearer t0ken-of-the-request"})
        finally:
            await channel.close()
    for secret in (*SECRETS, "pass word!", basic):
        assert secret not in plain.body.decode()
        assert secret not in str(plain.headers)
    assert b"and no more" in plain.body
    assert HIDDEN in plain.body.decode()
    assert "t0ken-of-the-request" not in bearer.body.decode()
    reason = getattr(outcome_of(bearer.status, bearer.headers, bearer.body), "reason", "")
    assert not any(secret in reason for secret in known)


async def test_endpoints_that_are_counted_by_themselves_do_not_wait_for_one_another() -> None:
    clock = VirtualClock()
    limits = Limits(items_max=1, in_flight=8, rate_per_s=80.0, burst=20, endpoint_rate_per_s=20.0)
    channel = Channel("http://127.0.0.1:9/", limits, clock=clock)
    try:
        async with channel.slot("POST invoiceitems"):
            pass
        async with channel.slot("GET invoices"):
            pass
        channel.heard(429, {"retry-after": "60"}, "POST invoiceitems")
        for endpoint in ("POST invoiceitems", "GET invoices"):  # whichever limit it was
            with pytest.raises(Throttled):
                async with channel.slot(endpoint):
                    pass
        assert clock.moment_s == 0.0
    finally:
        await channel.close()
