"""GET /metrics, for Prometheus."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from meter.api.routing import Route
from meter.api.services import Services
from meter.clock import monotonic_s
from meter.log import log
from meter.model.errors import MeterError
from meter.store.backlog import Backlog, read_backlog
from meter.telemetry import LABEL_VALUES_MAX

# Anyone may ask; so often at most the database is asked in turn.
CACHE_TTL_S: Final = 5.0
READ_TIMEOUT_S: Final = 2.0
_UNKNOWN: Final = float("nan")


def routes(services: Services) -> list[Route]:
    """Return the route of the metrics. Open: labels name no member, account, device or event."""
    asking = asyncio.Lock()
    asked_at: list[float] = []

    async def expose(request: web.Request) -> web.StreamResponse:
        async with asking:
            if not asked_at or monotonic_s() >= asked_at[0] + CACHE_TTL_S:
                _show(services, await _backlog(services))
                asked_at[:] = [monotonic_s()]
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(services.telemetry.registry), headers={"Content-Type": content_type})

    return [
        Route(
            method="GET",
            path="/metrics",
            handler=expose,
            tag="service",
            summary="Metrics in Prometheus' format",
            scope=None,
            lenient_query=True,  # Prometheus may add `name[]` and what else is configured there
            answers={"text/plain": str},
        )
    ]


async def _backlog(services: Services) -> Backlog | None:
    """Return what waits; None where that cannot be known now."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            operator = await services.operator()
            if operator is None:
                return Backlog(unresolved=0, outbox=(), unread={}, complete_until={})
            async with services.db.begin() as conn:
                return await read_backlog(conn, operator)
    except (MeterError, TimeoutError) as error:
        log.warning("backlog_unknown", reason=str(error))
        return None


def _show(services: Services, backlog: Backlog | None) -> None:
    telemetry = services.telemetry
    telemetry.unresolved.set(_UNKNOWN if backlog is None else backlog.unresolved)
    backed_up = _UNKNOWN if backlog is None else 0.0 if backlog.backed_up is None else backlog.backed_up.timestamp()
    telemetry.backed_up.set(backed_up)
    for gauge in (
        telemetry.outbox_pending,
        telemetry.outbox_oldest,
        telemetry.gather_lag,
        telemetry.site_complete_until,
        *telemetry.edges,
    ):
        gauge.clear()
    if backlog is None:
        return
    # A target that has nothing to send shows 0: an absent series would read like an absent target.
    for name, target in services.settings.targets.items():
        if target.enabled:
            telemetry.outbox_pending.labels(target=name).set(0)
            telemetry.outbox_oldest.labels(target=name).set(0)
            telemetry.gather_lag.labels(target=name).set(0)
    for waiting in backlog.outbox[:LABEL_VALUES_MAX]:
        age_s = (services.clock() - waiting.oldest).total_seconds()
        telemetry.outbox_pending.labels(target=waiting.target).set(waiting.items)
        telemetry.outbox_oldest.labels(target=waiting.target).set(max(age_s, 0.0))
    for behind, oldest in islice(backlog.unread.items(), LABEL_VALUES_MAX):
        telemetry.gather_lag.labels(target=behind).set(max((services.clock() - oldest).total_seconds(), 0.0))
    for site, until in islice(backlog.complete_until.items(), LABEL_VALUES_MAX):
        telemetry.site_complete_until.labels(site=site).set(until.timestamp())
    for one in backlog.edges[:LABEL_VALUES_MAX]:
        silence_s = (services.clock() - one.heard_at).total_seconds()
        telemetry.edges_measured(
            site=one.site,
            up=silence_s < services.settings.offline_after_s,
            spooled=one.spooled,
            holes=one.holes,
            faults=one.faults,
            untold=one.untold,
            risk_used=float(one.risk_used),
            clock_offset_s=None if one.clock_offset_ms is None else one.clock_offset_ms / 1000,
        )
