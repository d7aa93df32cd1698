"""HTTP for devices on the site's network: CloudEvents, vendors' webhooks, and how the agent is.

POST /v1/events                 one event, a batch, or binary mode: a result for each, after the commit
POST /hooks/{vendor}/{source}   as the gateway takes them: the vendor's signature decides
POST /v1/authorizations         may somebody have something? (edge/authorizing)
POST /v1/replay                 what the gateway lost goes again
GET  /health, /v1/status        whether it takes events; what it holds
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from edge.authorizing.desk import Desk
from edge.authorizing.http import AskRoutes
from edge.clock import Clock
from edge.collect.replay import ReplayRoute
from edge.heartbeat import CollectorState
from edge.intake import Intake, Origin, Result
from edge.uplink.recall import Replayed, Wanted
from meter.log import log
from meter.model.errors import BadInput, MeterError, Unavailable
from meter.model.wire import BODY_BYTES_MAX, Parsed
from meter.sources.hooks import hook_of
from meter.sources.make import refused
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Delivery, Reply
from meter.transport.cloudevents_http import read_request
from meter.transport.http_body import RAW_BODIES, read_body
from meter.transport.reading import guarded

_PROBLEM: Final = "application/problem+json"
# A device that is refused asks again after so long; a disk that is full is not empty sooner.
_RETRY_AFTER_S: Final = 30
_STATUS: Final[Mapping[str, int]] = {
    "unauthorized": 401,
    "bad_signature": 401,
    "stale": 401,
    "not_found": 404,
    "conflict": 409,
    "forbidden": 403,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "bad_body": 422,
    "invalid": 422,
}
_STOP_S: Final = 5.0


class HttpCollector:
    """Hears devices over HTTP."""

    def __init__(
        self,
        intake: Intake,
        *,
        sources: Sequence[ConfiguredSource],
        tokens: Sequence[str],
        clock: Clock,
        status: Callable[[], Mapping[str, Any]],
        desk: Desk,
        replay: Callable[[Wanted], Awaitable[Replayed]],
    ) -> None:
        """Hear nothing yet. Without `tokens` only devices on this machine are heard; `status` is shown to them."""
        self._intake = intake
        self._sources = {(source.setup.vendor, source.setup.name): source for source in sources if not source.faults}
        self._tokens = [token.encode() for token in tokens]
        self._clock = clock
        self._status = status
        self._asks = AskRoutes(desk, authorise=self._authorise)
        self._replay = ReplayRoute(replay, authorise=self._authorise)
        self.state = CollectorState()

    def app(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_problems])
        app.router.add_post("/v1/events", self._events)
        app.router.add_post("/hooks/{vendor}/{source}", self._hook)
        self._asks.add_to(app.router)
        self._replay.add_to(app.router)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/status", self._show)
        return app

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        body = await read_body(request)
        items, unreadable = read_request(request, body)
        results = await self._keep(request, items)
        if unreadable is not None:
            raise unreadable
        return _results(results)

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        source = self._sources.get((request.match_info["vendor"], request.match_info["source"]))
        if source is None:
            message = f"no webhooks are received at {request.path[:100]}; see METER_EDGE_SOURCES in the settings"
            raise BadInput(message, code="not_found")
        setup, hook = source.setup, hook_of(source.vendor)
        delivery = Delivery(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            query=dict(request.query),
            body=await read_body(request),
            received_at=self._clock.read().wall,
        )
        greeting = hook.greet(setup, delivery)
        if greeting is not None:
            return _reply(greeting)
        hook.check(setup, delivery)
        try:
            reading = guarded(partial(hook.read, setup, delivery), vendor=setup.vendor, source=setup.name)
            items, reply = reading.items, reading.reply
        except BadInput as error:
            items, reply = [refused(error, hook.redact(setup, delivery))], None
        results = await self._keep(request, items)
        return _results(results) if reply is None else _reply(reply)

    async def _keep(self, request: web.Request, items: Sequence[Parsed]) -> list[Result]:
        content_type = request.headers.get("Content-Type", "")[:200] or None
        origin = Origin(name=f"{request.method} {request.path}"[:200], content_type=content_type)
        results = await self._intake.keep(items, origin=origin)
        self.state = CollectorState(last=self._clock.read().wall)
        return results

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        return web.Response(body=msgspec.json.encode(self._status()), content_type="application/json")

    def _authorise(self, request: web.Request) -> None:
        """Raise BadInput (`unauthorized`) unless the device shows a token; where there is none, unless it is local."""
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        if self._tokens:
            if not sum(hmac.compare_digest(shown, token) for token in self._tokens):  # as long, whichever it is
                message = "show one of METER_EDGE_TOKENS as `Authorization: Bearer ...`"
                raise BadInput(message, code="unauthorized")
        elif request.remote is None or not ip_address(request.remote.partition("%")[0]).is_loopback:
            message = "only devices on this machine are heard without a token; set METER_EDGE_TOKENS for others"
            raise BadInput(message, code="unauthorized")


@asynccontextmanager
async def http_port(collector: HttpCollector, *, host: str, port: int, setting: str) -> AsyncIterator[tuple[str, int]]:
    """Hear devices at an address and give the one that was bound. Raises BadInput (`port_taken`) naming `setting`."""
    runner = web.AppRunner(collector.app(), access_log=None, shutdown_timeout=_STOP_S, **RAW_BODIES)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            message = f"{setting}: cannot listen on {host}:{port}: {error.strerror or error}; free it, or take another"
            raise BadInput(message, code="port_taken") from error
        bound = runner.addresses[0]
        log.info("http_listens", host=bound[0], port=bound[1])
        yield str(bound[0]), int(bound[1])
    finally:
        await runner.cleanup()


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors as RFC 9457 problems; what may pass says when to ask again."""
    try:
        return await handler(request)
    except BadInput as error:
        return _problem(_STATUS.get(error.code, 400), error)
    except Unavailable as error:
        return _problem(503, error)
    except web.HTTPRequestEntityTooLarge:
        message = f"the body has more than {BODY_BYTES_MAX} bytes; send several"
        return _problem(413, BadInput(message, code="body_too_large"))
    except web.HTTPException as error:
        return _problem(
            error.status, BadInput(error.reason, code="not_found" if error.status == 404 else "bad_request")
        )


def _problem(status: int, error: MeterError) -> web.Response:
    body = {"title": error.code.replace("_", " "), "status": status, "code": error.code, "detail": error.detail}
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=_PROBLEM, headers=headers)


def _results(results: Sequence[Result]) -> web.Response:
    return web.Response(body=msgspec.json.encode({"results": results}), content_type="application/json")


def _reply(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=dict(reply.headers), body=reply.body)
