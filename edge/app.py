"""The agent, composed: spool, door, collectors and the way to the gateway, started in this order and ended in reverse.

collectors ─▶ intake ─▶ keeper ─▶ spool          heartbeats ─▶ keeper
                          ▲  └──▶ pump ─▶ link ─▶ gateway
                          └───────── let go ◀────────┘
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge.authorizing.composed import asking_of
from edge.clock import Clock, SystemClock
from edge.collect.composed import collectors_of, radius_of
from edge.collect.http import HttpCollector, http_port
from edge.collect.poll import Transports
from edge.config.contradictions import host_and_port
from edge.config.faults import ConfigFault, variable_of
from edge.config.settings import EdgeSettings
from edge.enrolment.renewal import CertificateKeeper
from edge.heartbeat import CollectorState, Heartbeats
from edge.intake import Intake
from edge.sources import configured_sources
from edge.spool.errors import SpoolFailed
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from edge.spool.opening import Opening
from edge.spool.records import Bounds
from edge.uplink.http import HttpUplink
from edge.uplink.link import Link
from edge.uplink.mqtt import ClockTold, MqttUplink, Told
from edge.uplink.pump import Pump
from edge.uplink.recall import Recall
from edge.uplink.timekeeper import Timekeeper
from meter import __version__
from meter.log import log
from meter.model.errors import Broken
from meter.model.instant import instant_text
from meter.transport.mqtt_address import broker_address

SPOOL_DIR: Final = "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running agent: where devices reach it, and its parts for whoever looks on.

    `broken` is done once a part has ended by itself: what is left of the agent would look well and do half of its work.
    """

    address: tuple[str, int]
    keeper: Keeper
    link: Link
    pump: Pump
    broken: asyncio.Future[BaseException]


def bounds_of(settings: EdgeSettings) -> Bounds:
    """Return how large the spool may become. Raises BadInput."""
    return Bounds(
        bytes_max=settings.spool.bytes_max,
        events_max=settings.spool.events_max,
        ballast_bytes=settings.spool.ballast_bytes,
        retention=timedelta(days=settings.spool.keep_days),
    )


def spool_directory(settings: EdgeSettings) -> Path:
    """Return where the spool is."""
    return Path(settings.data_dir) / SPOOL_DIR


async def run(settings: EdgeSettings) -> None:
    """Run until asked to stop (SIGTERM, SIGINT). Raises BadInput, Unavailable, SpoolFailed, Broken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with agent(settings) as running:
        stopping = asyncio.ensure_future(stop.wait())
        failing = asyncio.ensure_future(running.keeper.failed.wait())
        ends: list[asyncio.Future[Any]] = [stopping, failing, running.broken]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.cancel()
        if running.keeper.failure is not None:
            raise running.keeper.failure
        if running.broken.done():
            error = running.broken.result()
            message = f"a part of the agent ended by itself ({error!r}); it is started anew, report the log"
            raise Broken(message) from error
        log.info("stopping", spooled=running.keeper.depth.events)


@asynccontextmanager
async def agent(settings: EdgeSettings, *, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Run an agent for as long as the context is open. Raises BadInput, Unavailable, SpoolFailed."""
    clock = clock or SystemClock()
    sources = configured_sources(settings)
    async with AsyncExitStack() as stack:
        spool = await asyncio.to_thread(Spool.open, spool_directory(settings), bounds=bounds_of(settings), clock=clock)
        keeper = await stack.enter_async_context(Keeper(spool))
        timekeeper = Timekeeper(await keeper.measurements(), clock=clock, keep=keeper.measure)
        intake = Intake(keeper, site=settings.site, edge=settings.id, clock=clock)
        tls = tls_of(settings)
        asking = asking_of(settings, keeper=keeper, timekeeper=timekeeper, clock=clock, tls=tls)
        stack.push_async_callback(asking.close)
        pump = Pump(keeper, edge=settings.id, timekeeper=timekeeper, before=asking.catch_up)
        recall = Recall(keeper, clock=clock, replayed=pump.start_over)

        def faults() -> list[str]:
            return [
                *_faults(spool.opening),
                *recall.faults,
                *(fault for one in certificates for fault in one.faults()),
                *asking.faults(),
            ]

        def status() -> Mapping[str, Any]:
            return status_of(settings, keeper, link, intake, collectors()) | {
                "authorizations": asking.status(),
                "faults": faults(),
            }

        collector = HttpCollector(
            intake,
            sources=sources,
            tokens=settings.tokens,
            clock=clock,
            status=status,
            desk=asking.desk,
            replay=recall.again,
        )

        transports = await stack.enter_async_context(aclosing(Transports(clock)))
        others = collectors_of(
            settings, sources=sources, transports=transports, keeper=keeper, intake=intake, clock=clock
        )
        radius = radius_of(settings, sources=sources, intake=intake, clock=clock)

        def collectors() -> dict[str, CollectorState]:
            found = {"http": collector.state, **{one.name: one.state for one in others}}
            return found if radius is None else {**found, "radius": radius.state}

        beats = Heartbeats(
            site=settings.site,
            edge=settings.id,
            keeper=keeper,
            intake=intake,
            timekeeper=timekeeper,
            recall=recall,
            clock=clock,
            collectors=collectors,
            faults=faults,
            asking=asking.status,
        )

        def acknowledged(told: Told) -> None:
            pump.acknowledged(told.boot, told.up_to, told.also)

        async def time_told(told: ClockTold) -> None:
            pump.answered()
            await timekeeper.answered(told.asked, received=told.received, sent=told.sent)
            await recall.answered(told.asked, told.stored)

        http = None
        if settings.gateway.http_url is not None:
            http = HttpUplink(
                settings.gateway.http_url,
                key=settings.gateway.api_key,
                tls=tls,
                acknowledged=acknowledged,
                timekeeper=timekeeper,
                agent=f"{settings.site}/{settings.id}",
                recall=recall,
            )
            stack.push_async_callback(http.close)
        certificates = _certificates(settings, http, clock)
        mqtt = None
        if settings.gateway.mqtt_url is not None:
            address = broker_address(
                settings.gateway.mqtt_url,
                setting=variable_of("gateway", "mqtt_url"),
                ca_file=settings.gateway.ca_file,
                cert_file=settings.gateway.cert_file,
                key_file=settings.gateway.key_file,
            )
            mqtt = MqttUplink(
                address,
                site=settings.site,
                edge=settings.id,
                acknowledged=acknowledged,
                clock=time_told,
                probe=beats.probe,
                known=timekeeper.known.is_set,
            )
        link = Link(pump, mqtt=mqtt, http=http, beat=beats.beat, beat_s=settings.heartbeat_s)
        # Before the port that says whether the agent is well.
        if radius is not None:
            await stack.enter_async_context(radius.listening())
        host, port = host_and_port(settings.http)
        bound = await stack.enter_async_context(http_port(collector, host=host, port=port, setting=variable_of("http")))
        broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        keeper.on_commit.append(timekeeper.look.set)
        beside = [*(one.run() for one in others), *(one.run() for one in asking.work)]
        beside += [one.run() for one in certificates]
        for work in (pump.let_go(), link.run(), timekeeper.watch_ntp(), *beside):
            await stack.enter_async_context(_running(work, broken))
        log.info("edge_running", version=__version__, site=settings.site, edge=settings.id, boot=keeper.boot)
        yield Running(address=bound, keeper=keeper, link=link, pump=pump, broken=broken)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], broken: asyncio.Future[BaseException]) -> AsyncIterator[None]:
    """Run something endless beside; what ends it by itself is told, and breaks the agent."""
    task = asyncio.create_task(work)
    task.add_done_callback(partial(_ended, broken))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ended(broken: asyncio.Future[BaseException], task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception() or Broken("it returned")
    if not isinstance(error, SpoolFailed):
        log.error("part_ended", detail=str(error), exc_info=error)
    if not broken.done():
        broken.set_result(error)


def _certificates(settings: EdgeSettings, http: HttpUplink | None, clock: Clock) -> list[CertificateKeeper]:
    """Return who keeps the agent's certificate good, where it has one and a gateway to ask."""
    if http is None or settings.gateway.cert_file is None:
        return []
    return [CertificateKeeper(Path(settings.gateway.cert_file), ask=http.certificate, clock=clock)]


def _faults(opening: Opening) -> list[str]:
    """Return what a person should know of how the spool was found."""
    salvage = opening.salvage
    if salvage is None:
        return []
    lost = "nobody knows how many" if salvage.lost is None else f"at most {salvage.lost}"
    kept = f"{salvage.kept} events of it are stored again, {lost} could not be read"
    return [f"the spool was damaged: {kept}; it is kept in {salvage.aside}: {salvage.fault}"]


def tls_of(settings: EdgeSettings) -> ssl.SSLContext | None:
    """Return whom to trust and who we are; None: as the system does. Raises ConfigFault."""
    gateway = settings.gateway
    if gateway.ca_file is None and gateway.cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=gateway.ca_file)
        if gateway.cert_file is not None:
            context.load_cert_chain(gateway.cert_file, gateway.key_file)
    except (OSError, ssl.SSLError) as error:
        message = f"{variable_of('gateway')}: ca_file, cert_file or key_file cannot be read: {error}"
        raise ConfigFault(message) from error
    return context


def status_of(
    settings: EdgeSettings, keeper: Keeper, link: Link, intake: Intake, collectors: Mapping[str, CollectorState]
) -> dict[str, Any]:
    """Return what the agent holds and how its parts are, for people on site."""
    depth = keeper.depth
    return {
        "site": settings.site,
        "edge": settings.id,
        "version": __version__,
        "boot": keeper.boot,
        "online": link.online,
        "over": link.over,
        "reason": link.reason,
        "spooled": depth.events,
        "spooled_bytes": depth.bytes,
        "kept": depth.kept_events,
        "refused": intake.turned_away,
        "collectors": {
            name: {
                "state": one.state,
                "detail": one.detail,
                "last": None if one.last is None else instant_text(one.last),
            }
            for name, one in collectors.items()
        },
        "devices": [
            {
                "origin": device.origin,
                "source": device.source,
                "last": instant_text(device.last),
                "taken": device.taken,
                "refused": device.refused,
            }
            for device in intake.devices.all()
        ],
    }
