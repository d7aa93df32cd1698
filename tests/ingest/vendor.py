"""A made-up vendor with an API on loopback, for tests of how vendors are asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web

from meter.ingest.fetching.worker import SourceWorker
from meter.ingest.setups import Sources
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.fields import Fields
from meter.sources.make import usage_event
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Answer, Covers, Feed, Fetch, Page, Reading, Request, Setup, Vendor
from meter.sources.spec import Transport as TransportName
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.telemetry import Telemetry
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.transport import Transport
from tests.ingest.bodies import NOW, OPERATOR, acceptor
from tests.ingest.loopback import served


def _event(setup: Setup, number: str) -> Parsed:
    return usage_event(setup, kind="door", id=number, type="door.access", data={"door": "main", "granted": True})


def _fetch(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    return Request(url=f"{setup.api_base}/doors/{wanted['object']}", headers={"Authorization": setup.api_key or ""})


def _fetched(setup: Setup, _wanted: Mapping[str, Json], answer: Answer) -> Reading:
    if answer.status == 404:
        return Reading()
    return Reading([_event(setup, Fields.of_json(answer.body).text("id"))])


def _ask(setup: Setup, cursor: Json, _now: datetime) -> Request:
    return Request(url=f"{setup.api_base}/log", query={"after": str(cursor or 0)})


def _page(setup: Setup, cursor: Json, answer: Answer) -> Page:
    told = Fields.of_json(answer.body)
    numbers = [entry.text("id") for entry in told.objects("entries")]
    return Page(
        items=[_event(setup, number) for number in numbers],
        cursor=int(numbers[-1]) if numbers else cursor,
        more=told.flag("more"),
    )


VENDOR = Vendor(
    title="Doors Inc.",
    area="doors",
    covers=(Covers(what="doors", state="done", becomes="door.access"),),
    facts="made up",
    fetches={"door": Fetch(request=_fetch, read=_fetched)},
    feeds={"log": Feed(every_s=60, request=_ask, read=_page)},
)


@dataclass
class Api:
    """What the vendor holds, and what it was asked. `status` other than 200 is answered to everything."""

    log: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    page: int = 2
    base: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers, text="not now")
        if self.body is not None:
            return web.Response(body=self.body)
        if request.path == "/log":
            later = [number for number in self.log if int(number) > int(request.query["after"])]
            entries = [{"id": number} for number in later[: self.page]]
            return web.json_response({"entries": entries, "more": len(later) > self.page})
        return web.json_response({"id": request.path.rpartition("/")[2]})


@asynccontextmanager
async def api() -> AsyncIterator[Api]:
    held = Api()
    async with served(held.answer) as held.base:
        yield held


@dataclass
class Asking:
    """A worker that asks for one source, whose clock the test moves."""

    database: Database
    worker: SourceWorker
    source: ConfiguredSource
    sources: Sources
    leases: LeaseKeeper
    telemetry: Telemetry
    moment: datetime = NOW
    applied: list[datetime] = field(default_factory=list)

    async def turn(self) -> float:
        return await self.worker.turn(self.source, self.leases.held([self.worker.lease_name])[0])

    def later(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


Told = TypeVar("Told", bound=Asking)


@asynccontextmanager
async def asking_for(
    database: Database,
    source: ConfiguredSource,
    shown_as: type[Told],
    *,
    over: TransportName = "http",
    by: Callable[[HttpTransport], Transport] = lambda http: http,
) -> AsyncIterator[Told]:
    """A worker that asks for `source` only, over one transport, as `Asking` or one of its kind."""
    sources = Sources({})
    sources._sources[source.setup.vendor, source.setup.name] = source
    http, leases, telemetry = HttpTransport(clock=lambda: made.moment), LeaseKeeper(database), Telemetry()
    accept = acceptor(database).accept

    async def receive(arrivals: Any) -> Any:
        return (await accept(arrivals)).receipts

    made: Told
    worker = SourceWorker(
        database,
        operator=OPERATOR,
        sources=sources,
        leases=leases,
        receive=receive,
        transports={over: by(http)},
        telemetry=telemetry,
        applied=lambda: made.applied.append(made.moment),
        clock=lambda: made.moment,
        ticks=lambda: made.moment.timestamp(),  # noqa: PLW0108 -- it is moved
    )
    made = shown_as(database, worker, source, sources, leases, telemetry)
    await leases.maintain([worker.lease_name])
    try:
        yield made
    finally:
        await leases.close()
        await http.close()


@asynccontextmanager
async def asking(database: Database, base: str, *, apply_drafts: bool = False, **given: Any) -> AsyncIterator[Asking]:
    """A worker that asks the made-up vendor at `base`."""
    setup = Setup(vendor="doors", name="main", site="berlin", **{"api_base": base, "api_key": "k", **given})
    source = ConfiguredSource(vendor=VENDOR, setup=setup, apply_drafts=apply_drafts)
    async with asking_for(database, source, Asking) as made:
        yield made


def notice(number: int, *, door: str = "17") -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"notice-{number}",
            "source": "berlin/source/doors-main",
            "type": "source.changed",
            "data": {"vendor": "doors", "name": "main", "kind": "door", "object": door},
        }
    ).encode()
