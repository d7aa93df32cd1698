"""The HTTP application: every route, guarded and observed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from meter.api import (
    accounts,
    audit,
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
from meter.api.connections import Connections, raise_descriptors
from meter.api.facts import FactsReader
from meter.api.listening import Certificate, secured
from meter.api.problems import Problem, problem_answer, problems
from meter.api.readings import Readings, is_personal
from meter.api.routing import PRINCIPAL, QUERY, Handler, Route, read_query
from meter.api.services import Services
from meter.clock import monotonic_s
from meter.model.errors import Broken
from meter.model.wire import BODY_BYTES_MAX
from meter.store.audited import acting_for
from meter.transport.http_body import RAW_BODIES, read_body

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
CONNECTIONS: Final = web.AppKey("connections", Connections)

# Connections that the kernel keeps while the loop is busy.
_BACKLOG: Final = 128

_SERVER_OPTIONS: Final[dict[str, Any]] = {
    "keepalive_timeout": KEEPALIVE_S,
    "max_line_size": HEAD_BYTES_MAX,
    "max_field_size": HEAD_BYTES_MAX,
    "access_log": None,
    **RAW_BODIES,
}

_BUSY: Final = Problem(title="Too many at once", status=503, code="busy", detail="try again shortly")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# A year. Browsers that were here once ask over TLS only; who is reached by a bare address is not bound by it.
_STRICT_TRANSPORT: Final = "max-age=31536000"


def create_app(services: Services) -> web.Application:
    """Return the application with every route of every module. Serve it as `serve` does."""
    wanted = services.settings.http_connections
    connections = Connections(services.telemetry, connections_max=raise_descriptors(wanted))
    app = web.Application(middlewares=[_observed(services, connections), problems], client_max_size=BODY_BYTES_MAX)
    authenticator = Authenticator(services)
    app[SERVICES] = services
    app[AUTHENTICATOR] = authenticator
    app[CONNECTIONS] = connections
    table = all_routes(services)
    app[ROUTES] = table
    readings = Readings(services)
    app.cleanup_ctx.append(readings.serve)
    for route in table:
        guarded = _guarded(route, authenticator, connections, readings)
        resource = app.router.add_resource(route.path)
        resource.add_route(route.method, guarded)
        if route.method == "GET":
            resource.add_route("HEAD", guarded)
    app.on_response_prepare.append(_finish_head)
    app.on_shutdown.append(_answer_the_held)
    return app


@asynccontextmanager
async def serve(
    app: web.Application,
    host: str,
    port: int,
    *,
    shutdown_timeout: float,
    certificate: Certificate | None = None,
    **options: Any,
) -> AsyncIterator[int]:
    """Serve the application with all of its limits; give the port. Raises OSError where it cannot listen.

    `certificate`: over TLS.
    """
    runner = web.AppRunner(app, shutdown_timeout=shutdown_timeout, **{**_SERVER_OPTIONS, **options})
    await runner.setup()
    try:
        if runner.server is None:
            raise Broken("the HTTP server was not made")
        connections = app[CONNECTIONS]
        if certificate is not None:
            async with secured(
                runner.server, host, port, connections=connections, certificate=certificate, backlog=_BACKLOG
            ) as found:
                yield found
            return
        door = connections.door(runner.server)
        server = await asyncio.get_running_loop().create_server(door, host, port, reuse_address=True, backlog=_BACKLOG)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()


def all_routes(services: Services) -> tuple[Route, ...]:
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
        table += enrolment.routes(services)
        table += sources.routes(services)
        table += journal.routes(services)
        table += deliveries.routes(services)
        table += invoices.routes(services)
        table += keys.routes(services)
        table += audit.routes(services)
    table += health.routes(services)
    table += metrics.routes(services)
    table += docs.routes(services)
    table.append(openapi.document_route(table))
    return tuple(table)


def _guarded(route: Route, authenticator: Authenticator, connections: Connections, readings: Readings) -> Handler:
    personal = is_personal(route)
    # What events:write does are facts of devices, kept with their source; what others change is recorded as theirs.
    recorded = route.method != "GET" and route.scope not in {None, "events:write"}

    async def handle(request: web.Request) -> web.StreamResponse:
        if connections.working > REQUESTS_MAX:
            return problem_answer(_BUSY, {"Retry-After": "1"})
        principal = await authenticator.admit(request, route)
        if principal is not None:
            request[PRINCIPAL] = principal
        if any("\0" in part for part in request.match_info.values()):
            raise web.HTTPNotFound
        request[QUERY] = read_query(request, route)
        if request.body_exists:
            # What only waits for its peer keeps nobody else from being answered.
            connections.reads(request.transport)
            try:
                async with asyncio.timeout(BODY_DEADLINE_S):
                    await read_body(request)  # kept by the request: handlers that read it again get the same bytes
            except TimeoutError as error:
                raise web.HTTPRequestTimeout from error
            finally:
                connections.works(request.transport)
        if personal:
            await readings.note(request, route)
        if principal is None or not recorded:
            return await route.handler(request)
        with acting_for(principal.key):
            return await route.handler(request)

    return handle


def _observed(services: Services, connections: Connections) -> Any:
    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every answer by the pattern of its route, and say whose turn its connection is."""
        resource = request.match_info.route.resource
        pattern = resource.canonical if resource is not None else "unmatched"
        mismatch = request.match_info.http_exception
        started, status = monotonic_s(), 500
        connections.works(request.transport)
        try:
            if request.method == "OPTIONS" and isinstance(mismatch, web.HTTPMethodNotAllowed):
                allowed = sorted({*mismatch.allowed_methods, "OPTIONS"})
                response: web.StreamResponse = web.Response(status=204, headers={"Allow": ", ".join(allowed)})
            else:
                response = await handler(request)
            status = response.status
            return response
        finally:
            connections.waits(request.transport)
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


async def _finish_head(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "meter"  # which library and version answers is nobody's business
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.secure:
        response.headers.setdefault("Strict-Transport-Security", _STRICT_TRANSPORT)
