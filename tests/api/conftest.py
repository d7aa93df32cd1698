"""A real server on loopback over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest_asyncio
from aiohttp import web

from meter.api.app import AUTHENTICATOR, create_app, serve
from meter.api.rates import Rates
from meter.api.services import Services
from meter.config import Settings
from meter.model.charge import Charge
from meter.store.engine import Database
from meter.store.keys import Principal, create_key
from meter.telemetry import Telemetry
from meter.transport.http_body import read_body
from tests.booked import OPERATOR, book
from tests.booking.space import Space, open_space

ADMIN_KEY = "an-admin-key-of-the-tests"


@dataclass(kw_only=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(kw_only=True)
class Api:
    """A gateway's HTTP interface, and a client of it."""

    services: Services
    app: web.Application
    base: str
    session: aiohttp.ClientSession
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def db(self) -> Database:
        return self.services.db

    async def call(self, method: str, path: str, *, key: str | None = ADMIN_KEY, **options: Any) -> Answer:
        """Call with `key` as bearer (None: without)."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        async with self.session.request(method, self.base + path, headers=headers, **options) as response:
            return Answer(status=response.status, headers=dict(response.headers), body=await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def key(self, *scopes: str, site: str | None = None, account: str | None = None) -> str:
        """Return the secret of a new key."""
        async with self.db.begin() as conn:
            _, secret = await create_key(conn, OPERATOR, scopes=frozenset(scopes), site=site, account=account)
        return secret

    async def book(self, *charges: Charge) -> None:
        """Book charges and give the hint that booking gives."""
        async with self.db.begin() as conn:
            await book(conn, *charges)
        self.services.booked.notify()


def unthrottled(api: Api) -> None:
    """Let it be called with unknown keys as often as a test asks."""
    api.app[AUTHENTICATOR]._unknown = Rates(1_000_000)


async def _receive_events(request: web.Request, principal: Principal) -> web.StreamResponse:
    body = await read_body(request)
    return web.json_response({"results": [], "bytes": len(body), "site": principal.site})


async def _receive_hook(request: web.Request) -> web.StreamResponse:
    return web.json_response({"bytes": len(await read_body(request))})


def the_services(url: str, **changes: Any) -> Services:
    """Services over the database at `url`, as a gateway with every role has them."""

    async def operator() -> str | None:
        return OPERATOR

    parts: dict[str, Any] = {
        "db": Database(url, operator=OPERATOR),
        "settings": Settings(),
        "telemetry": Telemetry(),
        "operator": operator,
        "admin_key": lambda: ADMIN_KEY,
        "receive_events": _receive_events,
        "receive_hook": _receive_hook,
    }
    return Services(**{**parts, **changes})


@asynccontextmanager
async def serving(services: Services, **options: Any) -> AsyncIterator[Api]:
    """Serve on a free port of loopback."""
    app = create_app(services)
    try:
        async with (
            serve(app, "127.0.0.1", 0, **{"shutdown_timeout": 60.0, **options}) as port,
            aiohttp.ClientSession(auto_decompress=True) as session,
        ):
            yield Api(services=services, app=app, base=f"http://127.0.0.1:{port}", session=session)
    finally:
        await services.db.dispose()


@pytest_asyncio.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(the_services(database_url, settings=Settings(data_dir=tmp_path))) as served:
        yield served


@dataclass(kw_only=True)
class Gateway:
    """A space whose events are rated, and its HTTP interface."""

    space: Space
    api: Api

    async def charges(self, query: str = "") -> list[dict[str, Any]]:
        """Return the charges as they leave."""
        found: list[dict[str, Any]] = (await self.api.get(f"/v1/charges?limit=1000&{query}")).json["charges"]
        return found


@pytest_asyncio.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with open_space(database_url) as space:
        services = the_services(database_url, clock=lambda: space.now)
        async with serving(services) as served:
            yield Gateway(space=space, api=served)
