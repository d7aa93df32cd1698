"""The HTTP application: every route, guarded and observed."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from meter.api import (
    accounts,
    authorizations,
    catalog,
    charges,
    deliveries,
    directory,
    docs,
    doubtful,
    drafts,
    edges,
    enrolment,
    events,
    explain,
    health,
    identities,
    invoices,
    journal,
    keys,
    members,
    metrics,
    openapi,
    rejections,
    sources,
    statement,
    unread,
    unresolved,
)
from meter.api.auth import Authenticator
from meter.api.facts import FactsReader
from meter.api.problems import Problem, problem_answer, problems
from meter.api.routing import PRINCIPAL, QUERY, Handler, Route, read_query
from meter.api.services import Services
from meter.clock import monotonic_s
from meter.model.errors import BadInput

# docs/api.md: 413 over 1 MiB. aiohttp counts decompressed bytes, so a bomb ends here too.
BODY_BYTES_MAX: Final = 1024 * 1024
# A megabyte at 256 kbit/s; who is slower holds a connection that others need.
BODY_DEADLINE_S: Final = 30.0
# Also what a first request may take to send its head, and an idle connection to send its next.
KEEPALIVE_S: Final = 30.0
HEAD_BYTES_MAX: Final = 16 * 1024
# Beyond this the host's sockets and memory (1 MiB a body at worst) would be the limit instead.
REQUESTS_MAX: Final = 512

SERVICES: Final = web.AppKey("services", Services)
ROUTES: Final[web.AppKey[tuple[Route, ...]]] = web.AppKey("routes")
AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)

# How `web.AppRunner(app, **SERVER_OPTIONS)` has to be made for the limits to hold.
SERVER_OPTIONS: Final[dict[str, Any]] = {
    "keepalive_timeout": KEEPALIVE_S,
    "max_line_size": HEAD_BYTES_MAX,
    "max_field_size": HEAD_BYTES_MAX,
    "access_log": None,
}

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(services: Services) -> web.Application:
    """Return the application with every route of every module. Serve it with `SERVER_OPTIONS`."""
    app = web.Application(middlewares=[_observed(services), problems], client_max_size=BODY_BYTES_MAX)
    authenticator = Authenticator(services)
    app[SERVICES] = services
    app[AUTHENTICATOR] = authenticator
    table = all_routes(services, authenticator)
    app[ROUTES] = table
    for route in table:
        guarded = _guarded(route, authenticator)
        resource = app.router.add_resource(route.path)
        resource.add_route(route.method, guarded)
        if route.method == "GET":
            resource.add_route("HEAD", guarded)
    app.on_response_prepare.append(_finish_head)
    app.on_shutdown.append(_answer_the_held)
    return app


def all_routes(services: Services, authenticator: Authenticator) -> tuple[Route, ...]:
    """Return the one route table: what is served and what the OpenAPI document describes."""
    table = [*events.routes(services)]
    if services.api_role:
        facts = FactsReader(services.db)
        table += charges.routes(services)
        table += explain.routes(services, facts)
        table += accounts.routes(services, facts)
        table += authorizations.routes(services)
        table += statement.routes(services, facts)
        table += directory.routes(services)
        table += catalog.routes(services)
        table += unresolved.routes(services)
        table += drafts.routes(services)
        table += identities.routes(services)
        table += members.routes(services)
        table += unread.routes(services)
        table += doubtful.routes(services)
        table += rejections.routes(services)
        table += edges.routes(services, facts)
        table += enrolment.routes(services, authenticator)
        table += sources.routes(services)
        table += journal.routes(services)
        table += deliveries.routes(services)
        table += invoices.routes(services)
        table += keys.routes(services, authenticator)
    table += health.routes(services)
    table += metrics.routes(services)
    table += docs.routes(services)
    table.append(openapi.document_route(table))
    return tuple(table)


def _guarded(route: Route, authenticator: Authenticator) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = await authenticator.admit(request, route)
        if principal is not None:
            request[PRINCIPAL] = principal
        if any("\0" in part for part in request.match_info.values()):
            raise web.HTTPNotFound
        request[QUERY] = read_query(request, route)
        if request.body_exists:
            try:
                async with asyncio.timeout(BODY_DEADLINE_S):
                    await request.read()  # kept by the request: handlers that read it again get the same bytes
            except TimeoutError as error:
                raise web.HTTPRequestTimeout from error
            except web.RequestPayloadError as error:
                raise BadInput("the body is not encoded as its headers say", code="bad_encoding") from error
        return await route.handler(request)

    return handle


def _observed(services: Services) -> Any:
    under_way = 0

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Bound what is under way, and count every answer by the pattern of its route."""
        nonlocal under_way
        resource = request.match_info.route.resource
        pattern = resource.canonical if resource is not None else "unmatched"
        mismatch = request.match_info.http_exception
        started, status = monotonic_s(), 500
        under_way += 1
        try:
            if under_way > REQUESTS_MAX:
                response: web.StreamResponse = problem_answer(
                    Problem(title="Too many at once", status=503, code="busy", detail="try again shortly"),
                    {"Retry-After": "1"},
                )
            elif request.method == "OPTIONS" and isinstance(mismatch, web.HTTPMethodNotAllowed):
                allowed = sorted({*mismatch.allowed_methods, "OPTIONS"})
                response = web.Response(status=204, headers={"Allow": ", ".join(allowed)})
            else:
                response = await handler(request)
            status = response.status
            return response
        finally:
            under_way -= 1
            services.telemetry.http_answered(
                route=pattern, method=_method(request), status=status, seconds=monotonic_s() - started
            )

    return observe


def _method(request: web.Request) -> str:
    """Return the method as a label: callers can invent methods."""
    return request.method if request.method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other"


async def _answer_the_held(app: web.Application) -> None:
    app[SERVICES].stopping.set()
    app[SERVICES].booked.notify()


async def _finish_head(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "meter"  # which library and version answers is nobody's business
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
