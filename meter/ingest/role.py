"""The ingest role of one gateway: the batcher, and everything that brings it arrivals but HTTP.

    RADIUS port ─▶ batcher ─▶ MQTT session, source worker, Wi-Fi sessions        started in this order, ended in reverse

The MQTT session, the asking of vendors and the look at sessions are each had by one process at a time, by a lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

from meter.clock import monotonic_s
from meter.config import Settings
from meter.ingest.arrival import Outcome
from meter.ingest.batcher import Accept, Batcher
from meter.ingest.fetching.square import SquareTransport
from meter.ingest.fetching.worker import SourceWorker
from meter.ingest.mqtt import MqttIngest
from meter.ingest.pace import Pace
from meter.ingest.radius import radius_port
from meter.ingest.setups import Sources
from meter.ingest.subscriptions import Subscriptions
from meter.ingest.wifi_sessions import WifiSessions
from meter.log import log
from meter.model.errors import Unavailable
from meter.rotation import renewed
from meter.store.directory import mqtt_nonce
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.telemetry import Telemetry
from meter.transport.asking.files import FileTransport
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.snmp import SnmpTransport
from meter.transport.outgoing import Guard

# How often a session looks whether it may still connect, and a gateway without a database for one.
_LOOK_S: Final = 0.5
# A lease that nobody else holds is had within this; a broker that is there answers within that.
_LEASE_WAIT_S: Final = 2.0
_CONNECTION_WAIT_S: Final = 15.0


class Work(NamedTuple):
    """What runs beside the rest; at the end it is asked to `finish`, or cancelled where that is None."""

    name: str
    running: Coroutine[Any, Any, None]
    finish: Callable[[], None] | None = None


class IngestRole:
    """Everything that receives in one process. `operator` returns the operator served, as soon as there is one."""

    def __init__(
        self,
        database: Database,
        *,
        settings: Settings,
        mqtt_url: str | None,
        sources: Sources,
        leases: LeaseKeeper,
        accept: Accept,
        operator: Callable[[], Awaitable[str]],
        telemetry: Telemetry,
        accepted: Callable[[], None],
        catalog: asyncio.Event,
    ) -> None:
        """Start nothing yet. `accepted` is called after each commit of events, and of what drafts changed.

        `catalog` is set by whoever hears that there is a new version of it.
        """
        self._database = database
        self._settings = settings
        self._guard = Guard.of(private=settings.outgoing.private, plaintext=settings.outgoing.plaintext)
        self._mqtt_url = mqtt_url
        self._sources = sources
        self._leases = leases
        self._operator = operator
        self._telemetry = telemetry
        self._accepted = accepted
        self._catalog = catalog
        self._session: MqttIngest | None = None
        self._session_lease = ""
        self.pace = Pace(database, operator=operator)
        self.batcher = Batcher(accept)
        self.batcher.on_commit.append(lambda _outcome: accepted())

    def use_broker(self, url: str) -> None:
        """Say who we are at the broker by `url` from the next connection on."""
        self._mqtt_url = url
        if self._session is not None:
            self._session.use(url)

    def port(self) -> AbstractAsyncContextManager[object] | None:
        """Return the RADIUS port, to be opened before the batcher runs: it answers what that writes at the end."""
        listen = self._settings.radius
        if listen is None:
            return None
        return radius_port(listen, sources=self._sources, batcher=self.batcher, telemetry=self._telemetry)

    def work(self) -> Iterator[Work]:
        """Give what is to run, in the order of starting."""
        yield Work("batcher", self.batcher.run(), self.batcher.stop)
        if self._mqtt_url is not None:
            yield Work("mqtt", self._mqtt())
        yield Work("sources", self._ask_sources())
        yield Work("wifi", self._look_at_sessions())

    async def _look_at_sessions(self) -> None:
        """Have what follows from Wi-Fi sessions stored."""
        sessions = WifiSessions(
            self._database, operator=await self._operator(), leases=self._leases, receive=self.batcher.receive
        )
        self.batcher.on_commit.append(lambda _outcome: sessions.wake())
        await sessions.run()

    async def _ask_sources(self) -> None:
        """Fetch what notices named and poll what sends nothing; with other secrets, anew."""
        changed = asyncio.Event()
        self._sources.on_change.append(changed.set)
        await renewed(changed, self._ask_with_these)

    async def _ask_with_these(self) -> None:
        http = HttpTransport(guard=self._guard)
        try:
            worker = SourceWorker(
                self._database,
                operator=await self._operator(),
                sources=self._sources,
                leases=self._leases,
                receive=self.batcher.receive,
                transports={
                    "http": http,
                    "square": SquareTransport(http),
                    "file": FileTransport(),
                    "snmp": SnmpTransport(guard=self._guard),
                },
                telemetry=self._telemetry,
                applied=self._accepted,
            )

            def committed(outcome: Outcome) -> None:
                if "webhook" in outcome.channels:
                    worker.wake()

            self.batcher.on_commit.append(committed)
            try:
                await worker.run()
            finally:
                self.batcher.on_commit.remove(committed)
        finally:
            await http.close()

    # --- MQTT ---------------------------------------------------------------------------------------------------------

    async def _mqtt(self) -> None:
        """Hold the ingest shard's session for as long as this process holds its lease."""
        operator = await self._operator()
        subscriptions = Subscriptions(
            self._database,
            operator=operator,
            filters=self._settings.mqtt_topics,
            former=Settings.model_fields["mqtt_topics"].get_default(call_default_factory=True),
            told=self._catalog,
        )
        nonce = await self._mqtt_facts(operator, subscriptions)
        session = MqttIngest(
            self._mqtt_url or "",
            operator=operator,
            nonce=nonce,
            topics=lambda: subscriptions.topics,
            batcher=self.batcher,
            telemetry=self._telemetry,
            pace=self.pace.keep,
        )
        name = f"mqtt/{operator}/0"
        self._leases.want([name], gained=lambda: None)
        self._session, self._session_lease = session, name
        async with asyncio.TaskGroup() as group:
            group.create_task(subscriptions.follow(session.renew))
            group.create_task(self._hold(session, name))

    async def _hold(self, session: MqttIngest, name: str) -> None:
        """Run the session while the lease `name` is held."""
        while True:
            if not self._leases.held([name]):
                await asyncio.sleep(_LOOK_S / 5)
                continue
            running = asyncio.create_task(session.run())
            try:
                while self._leases.held([name]):
                    await asyncio.wait([running], timeout=_LOOK_S)
            finally:
                running.cancel()
                await asyncio.wait([running])

    async def _mqtt_facts(self, operator: str, subscriptions: Subscriptions) -> str:
        """Have read what to subscribe to; return the part of the client id that nobody can guess.

        Waits for the database.
        """
        while True:
            try:
                async with self._database.begin() as connection:
                    nonce = await mqtt_nonce(connection, operator)
                await subscriptions.read()
            except Unavailable as error:
                log.warning("mqtt_unconfigured", detail=error.detail)
                await asyncio.sleep(_LOOK_S)
            else:
                return nonce

    async def first_connection(self, given_up: Callable[[], bool]) -> None:
        """Wait, for a while, until the MQTT session exists: what is published before, a broker keeps for nobody."""
        if self._mqtt_url is None:
            return
        started_s = monotonic_s()
        while not given_up():
            waited_s = monotonic_s() - started_s
            session = self._session
            if session is not None and session.connected.is_set():
                return
            taken = waited_s > _LEASE_WAIT_S and not self._leases.held([self._session_lease])
            if taken or waited_s > _CONNECTION_WAIT_S:
                log.info("mqtt_not_here", reason="another gateway holds the session" if taken else "no answer yet")
                return
            await asyncio.sleep(_LOOK_S / 10)

    async def check_broker(self) -> None:
        """Raise Unavailable while the session that this process should hold is not connected."""
        session = self._session
        if session is not None and self._leases.held([self._session_lease]) and not session.connected.is_set():
            message = "the MQTT session is not connected; check METER_MQTT_URL and the broker"
            raise Unavailable(message, code="mqtt_unavailable")
