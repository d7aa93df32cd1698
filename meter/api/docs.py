"""GET /docs: Swagger UI over /openapi.json, from the installed package, without a byte from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

from meter.api.routing import HTML, Route
from meter.api.services import Services
from meter.model.errors import BadInput, Broken

# The package also holds an editor and source maps; only what the page asks for is served.
_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Swagger UI sets styles from its script and draws its icons from data: URLs.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Coworking meter: API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# `validatorUrl: null`: the default would send the document's address to a public validator.
_START: Final = """window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
_CACHE: Final = {"Cache-Control": "public, max-age=86400"}


def routes(_services: Services) -> list[Route]:
    """Return the page and what it loads."""
    return [
        Route(
            method="GET",
            path="/docs",
            handler=_page,
            tag="service",
            summary="This document as a page",
            scope=None,
            answers={HTML: str},
        ),
        Route(
            method="GET",
            path="/docs/{file}",
            handler=_file,
            tag="service",
            summary="What the page loads",
            scope=None,
            answers={"*/*": bytes},
        ),
    ]


async def _page(_request: web.Request) -> web.StreamResponse:
    headers = {"Content-Security-Policy": _POLICY}
    return web.Response(text=_PAGE, content_type=HTML, charset="utf-8", headers=headers)


async def _file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["file"]
    if name == "start.js":
        return web.Response(text=_START, content_type="text/javascript", charset="utf-8", headers=_CACHE)
    if name not in _FILES:
        raise BadInput("the page loads no such file", code="not_found")
    return web.Response(body=_content(name), content_type=_FILES[name], headers=_CACHE)


@cache
def _content(name: str) -> bytes:
    package = find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise Broken("the package swagger-ui-py is not installed; install the gateway's requirements again")
    return (Path(package.origin).parent / "static" / name).read_bytes()
