"""Whether the gateway lives, and whether it can work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Literal

from aiohttp import web
from sqlalchemy import text

from meter.api.routing import JSON, Model, Route, json_answer
from meter.api.services import HealthCheck, Services
from meter.clock import monotonic_s
from meter.model.errors import MeterError, Unavailable
from meter.store.engine import Database
from meter.store.migrate import fault

CHECK_TIMEOUT_S: Final = 2.0
# Anyone may ask; so often at most the parts are asked in turn.
CACHE_TTL_S: Final = 1.0


class Live(Model, kw_only=True):
    """The process answers."""

    status: Literal["live"] = "live"


class Check(Model, kw_only=True):
    """One part: whether it answers, and the code of the error where it does not."""

    ok: bool
    code: str | None = None


class Ready(Model, kw_only=True):
    """Every part that the gateway needs; it is ready when all of them are."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Check]


def routes(services: Services) -> list[Route]:
    """Return the two questions that an orchestrator asks."""
    checks: Mapping[str, HealthCheck] = {
        "database": lambda: _answers(services.db),
        "migrations": lambda: _current(services.db),
        **services.health,
    }
    latest: list[tuple[float, Ready]] = []
    asking = asyncio.Lock()

    async def live(_request: web.Request) -> web.StreamResponse:
        return json_answer(Live())

    async def ready(_request: web.Request) -> web.StreamResponse:
        async with asking:
            if not latest or monotonic_s() >= latest[0][0] + CACHE_TTL_S:
                latest[:] = [(monotonic_s(), await _examined(checks))]
        result = latest[0][1]
        return json_answer(result, status=200 if result.status == "ready" else 503)

    return [
        Route(
            method="GET",
            path="/health/live",
            handler=live,
            tag="service",
            summary="Whether the process answers",
            scope=None,
            answers={JSON: Live},
        ),
        Route(
            method="GET",
            path="/health/ready",
            handler=ready,
            tag="service",
            summary="Whether every part answers; 503 with the same body where one does not",
            scope=None,
            answers={JSON: Ready},
        ),
    ]


async def _examined(checks: Mapping[str, HealthCheck]) -> Ready:
    results = await asyncio.gather(*(_examine(check) for check in checks.values()))
    found = dict(zip(checks, results, strict=True))
    return Ready(status="ready" if all(check.ok for check in results) else "not ready", checks=found)


async def _examine(check: HealthCheck) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return Check(ok=False, code="timeout")
    except MeterError as error:
        return Check(ok=False, code=error.code)
    return Check(ok=True)


async def _answers(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(text("SELECT 1"))


async def _current(db: Database) -> None:
    """Raise Unavailable (`not_migrated`) where this version cannot serve the schema."""
    if found := await fault(db):
        raise Unavailable(found, code="not_migrated")
