"""`/v1/authorizations` on the agent's port, as the gateway has it (docs/api.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from edge.authorizing.desk import Desk
from edge.authorizing.gateway import Declined
from meter.model.errors import BadInput
from meter.transport.http_body import read_body

_JSON = "application/json"
_PATH = "/v1/authorizations"


class AskRoutes:
    """The routes of one desk; `authorise` refuses who may not ask."""

    def __init__(self, desk: Desk, *, authorise: Callable[[web.Request], None]) -> None:
        """Serve nothing yet."""
        self._desk = desk
        self._authorise = authorise

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve them there."""
        router.add_post(_PATH, self._ask)
        router.add_get(f"{_PATH}/{{id}}", self._show)
        router.add_delete(f"{_PATH}/{{id}}", self._let_go)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        media = request.content_type
        if media != _JSON and not media.endswith("+json"):
            raise BadInput(f"Content-Type is {media[:80]!r}; send {_JSON}", code="unsupported_media_type")
        return await _answered(self._desk.ask(await read_body(request)))

    async def _show(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        return await _answered(self._desk.show(request.match_info["id"]))

    async def _let_go(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        return await _answered(self._desk.let_go(request.match_info["id"]))


async def _answered(answer: Awaitable[bytes]) -> web.Response:
    """Return the answer, or what the gateway declines it with, as it said it."""
    try:
        return web.Response(body=await answer, content_type=_JSON)
    except Declined as declined:
        return web.Response(status=declined.status, body=declined.body, content_type="application/problem+json")
