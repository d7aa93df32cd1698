"""POST /v1/replay: what the gateway acknowledged and lost is to go again. For who runs the site, and repeatable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from edge.uplink.recall import Replayed, Wanted
from meter.model.errors import BadInput
from meter.transport.http_body import read_body

_JSON: Final = "application/json"


class ReplayRoute:
    """The route, for whoever `authorise` lets through; `replay` does it."""

    def __init__(
        self, replay: Callable[[Wanted], Awaitable[Replayed]], *, authorise: Callable[[web.Request], None]
    ) -> None:
        """Serve nothing yet."""
        self._replay = replay
        self._authorise = authorise

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it."""
        router.add_post("/v1/replay", self._post)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self._authorise(request)
        # Where there are no tokens, any page in a browser on this machine could ask, but not with this header: browsers
        # ask first whether they may send it, and are told no.
        if request.content_type != _JSON:
            message = f"Content-Type is {request.content_type[:80]!r}; send {_JSON}"
            raise BadInput(message, code="unsupported_media_type")
        try:
            wanted = msgspec.json.decode(await read_body(request), type=Wanted)
        except msgspec.MsgspecError as error:
            raise BadInput(f"{error}; send since, stretches or both", code="bad_body") from error
        return web.Response(body=msgspec.json.encode(await self._replay(wanted)), content_type=_JSON)
