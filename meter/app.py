"""Composes a gateway from its roles: what starts when, on what, and in which order it stops.

    start ─▶  export ─▶ rating ─▶ batcher ─▶ MQTT ─▶ HTTP ─▶ ready
    stop  ◀─  export ◀─ rating ◀─ batcher ◀─ MQTT ◀─ HTTP          sources first, so that what was read is written

A role that ends by itself, as none should, stops the gateway.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter import __version__, collector
from meter.api.app import create_app, serve
from meter.api.listening import Certificate
from meter.api.services import Services, Wakeup
from meter.backup.keeping import EvidenceKeeper, Evidences
from meter.backup.places import store_access
from meter.booking.closer import Closer
from meter.booking.earner import Earner
from meter.booking.forgetting import Forgetter
from meter.booking.movements import MovementsKeeper
from meter.booking.runner import RatingRunner
from meter.booking.worker import RatingWorker
from meter.clock import monotonic_s, now
from meter.config import Settings, listen_address
from meter.export.head_places import heads_at
from meter.export.heads import Sealer
from meter.export.role import Renewer, Resender, dispatcher_of
from meter.export.targets.setups import Targets, targets_of
from meter.ingest.accept import Acceptor
from meter.ingest.batcher import DRAIN_S
from meter.ingest.http import event_receiver
from meter.ingest.retry import retry_rejection
from meter.ingest.role import IngestRole
from meter.ingest.setups import Sources
from meter.ingest.status import source_states
from meter.ingest.webhook import hook_receiver
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.model.hashing import IdentityHasher
from meter.plaintext import require_tls
from meter.rotation import SecretWatch, renewed
from meter.rundir import Addresses
from meter.store import migrate
from meter.store.directory import current_operator
from meter.store.engine import Database
from meter.store.hashing import check_key
from meter.store.hints import ACCEPTED, BOOKED, CATALOG, KEYS, Hints
from meter.store.leases import LeaseKeeper
from meter.store.outbox import OutboxItem
from meter.store.records import record_start
from meter.store.walls import require_walls
from meter.telemetry import Telemetry

# How often a gateway without a catalog looks for one.
_LOOK_S: Final = 0.5
_HTTP_CLOSE_S: Final = 5.0
# A role that is asked to end has so long for what is under way.
_ROLE_END_S: Final = DRAIN_S + 2.0


class OperatorName:
    """The operator that the database serves: asked for until the first catalog names it, then kept."""

    def __init__(self, database: Database) -> None:
        """Know nothing yet."""
        self._database = database
        self._name: str | None = None
        self._asking = asyncio.Lock()
        self._answered_at_s = -_LOOK_S

    async def __call__(self) -> str | None:
        """Return the operator, None before the first catalog. Raises Unavailable."""
        async with self._asking:  # who comes while it is asked for gets the same answer
            known = self._name is not None
            if not known and monotonic_s() - self._answered_at_s >= _LOOK_S / 5:
                async with self._database.begin() as connection:
                    self._name = await current_operator(connection)
                self._answered_at_s = monotonic_s()
            return self._name

    async def wait(self) -> str:
        """Return the operator, as soon as there is one."""
        while True:
            try:
                name = await self()
            except Unavailable as error:
                log.warning("operator_unknown", detail=error.detail)
                name = None
            if name is not None:
                return name
            await asyncio.sleep(_LOOK_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The services that a gateway works on: a migrated database, and a broker (None: no MQTT)."""

    database_url: str
    mqtt_url: str | None


class Gateway:
    """One process's share of the gateway. Any number may run side by side on the same parts."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        *,
        roles: Collection[str],
        admin_key: str,
        hasher: IdentityHasher,
    ) -> None:
        """Prepare; nothing is started before `run`."""
        self._settings = settings
        self._parts = parts
        self._roles = frozenset(roles)
        self._admin_key = admin_key
        self.telemetry = Telemetry()
        self._database = Database(parts.database_url, hasher=hasher)
        self._operator = OperatorName(self._database)
        self._leases = LeaseKeeper(self._database, holder=f"{os.uname().nodename}-{os.getpid()}")
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sources = Sources(settings.webhooks)
        self._accepted = Wakeup(tell=lambda: self._hints.tell(ACCEPTED))
        self._booked = Wakeup(tell=lambda: self._hints.tell(BOOKED))
        self._catalog = asyncio.Event()
        self._keys = Wakeup()
        self._hints = Hints(
            self._database,
            heard={
                ACCEPTED: self._accepted.heard,
                BOOKED: self._booked.heard,
                CATALOG: self._catalog.set,
                KEYS: self._keys.heard,
            },
        )
        self._ingest: IngestRole | None = None
        self._targets_changed = asyncio.Event()
        tls = settings.http_tls.pair
        self._certificate = None if tls is None else Certificate(*tls, telemetry=self.telemetry)
        self.secrets = SecretWatch(
            settings,
            changed=self._take_secrets,
            telemetry=self.telemetry,
            unused=lambda: int(self._certificate is not None and self._certificate.kept),
        )
        self._acceptor = Acceptor(
            self._database, operator=self._operator, telemetry=self.telemetry, max_age_days=settings.max_age_days
        )

    async def run(self, *, stop: asyncio.Event, ready: Callable[[Addresses], Awaitable[None]]) -> None:
        """Serve until `stop` is set, then stop in order; `ready` is awaited once everything answers.

        Raises Unavailable where a part does not answer at the start, and whatever ends a role by itself.
        """
        collector.relax()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._database.dispose)
            await require_tls(self._settings)
            await self._check_database()
            stack.push_async_callback(self._leases.close)
            await stack.enter_async_context(self._background("leases", self._leases.run()))
            await stack.enter_async_context(self._background("hints", self._hints.run()))
            await stack.enter_async_context(self._background("secrets", self.secrets.run()))
            if "export" in self._roles:
                await stack.enter_async_context(self._background("export", self._export()))
            if "rate" in self._roles:
                await stack.enter_async_context(self._background("rate", self._rate()))
            if "ingest" in self._roles:
                await self._start_ingest(stack)
            http = await stack.enter_async_context(self._serve_http())
            await self._first_connection(stop)
            await ready(
                Addresses(http=http, mqtt=self._parts.mqtt_url, database=self._parts.database_url, pid=os.getpid())
            )
            await self._until(stop)

    async def _check_database(self) -> None:
        if fault := await migrate.fault(self._database):
            raise BadInput(fault, code="schema_mismatch")
        async with self._database.begin() as connection:
            standing = await require_walls(connection)
        for open_place in standing.faults:
            log.warning("walls", detail=open_place)
        operator = await self._operator()
        if operator is not None:
            async with self._database.begin() as connection:
                await check_key(connection, operator)
                await record_start(
                    connection,
                    operator,
                    host=socket.gethostname(),
                    version=__version__,
                    digest=self._settings.digest(),
                    fields=sorted(self._settings.model_fields_set),
                )

    async def _until(self, stop: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        try:
            ends: set[asyncio.Future[Any]] = {stopping, self._failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self._failed.done():
            self._failed.result()

    @asynccontextmanager
    async def _background(
        self, name: str, work: Coroutine[Any, Any, None], *, finish: Callable[[], None] | None = None
    ) -> AsyncIterator[None]:
        """Run `work` beside the rest; at the end ask it to `finish`, or cancel it, and wait for it."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        try:
            yield
        finally:
            task.remove_done_callback(self._ended)
            (finish or task.cancel)()
            while not (await asyncio.wait([task], timeout=_ROLE_END_S))[0]:
                # It waits for a part that says nothing. What it has not written, its senders or the log still have.
                log.warning("role_cut_off", role=name)
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._failed.done() or task.cancelled():
            return
        error = task.exception()
        log.error("role_ended", role=task.get_name(), exc_info=error)
        self._failed.set_exception(error or Unavailable(f"the role {task.get_name()} ended by itself"))

    # --- roles --------------------------------------------------------------------------------------------------------

    def _take_secrets(self, settings: Settings) -> None:
        """Use the secrets of `settings` from the next use or connection on."""
        former, self._settings = self._settings, settings
        if settings.database_url is not None:
            self._database.renew(settings.database_url.get_secret_value())
        if self._ingest is not None and settings.mqtt_url is not None:
            self._ingest.use_broker(settings.mqtt_url.get_secret_value())
        if settings.webhooks != former.webhooks:
            self._sources.read(settings.webhooks)
        if settings.targets != former.targets:
            self._targets_changed.set()
        if settings.admin_key is not None:
            self._admin_key = settings.admin_key.get_secret_value()
        if self._certificate is not None and (tls := settings.http_tls.pair) is not None:
            self._certificate.take(*tls)

    async def _export(self) -> None:
        operator = await self._operator.wait()
        await renewed(self._targets_changed, lambda: self._export_to_targets(operator))

    async def _export_to_targets(self, operator: str) -> None:
        targets = self._targets(operator)
        dispatcher = dispatcher_of(targets, self._database, operator=operator, telemetry=self.telemetry, clock=now)
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            group.create_task(self._sealer(operator).run())
            if self._settings.evidence.to is not None:
                group.create_task(self._evidence(operator).run())
            if self._settings.privacy.movements_days is not None:
                group.create_task(self._movements(operator, self._settings.privacy.movements_days).run())
            group.create_task(_pass_on(self._booked, dispatcher.wake))

    def _movements(self, operator: str, days: int) -> MovementsKeeper:
        return MovementsKeeper(self._database, operator=operator, leases=self._leases, days=days, clock=now)

    def _evidence(self, operator: str) -> EvidenceKeeper:
        def evidences() -> Evidences:
            settings = self._settings  # of today: a key of the store may have been rotated
            return Evidences(settings.evidence.to or "", settings.store, staging=settings.data_dir / ".evidence")

        return EvidenceKeeper(
            self._database,
            operator=operator,
            leases=self._leases,
            evidences=evidences,
            every=timedelta(days=self._settings.evidence.every_days),
            telemetry=self.telemetry,
            clock=now,
        )

    def _sealer(self, operator: str) -> Sealer:
        return Sealer(
            self._database,
            operator=operator,
            leases=self._leases,
            heads=heads_at(self._settings.heads_place, store_access(self._settings.store)),
            seal_s=self._settings.audit.seal_s,
            every_s=self._settings.audit.every_s,
            telemetry=self.telemetry,
            clock=now,
        )

    async def _renew(self, conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        """Return the payload of a dead delivery, made anew."""
        return await Renewer(self._targets(item.operator), self._database, clock=now)(conn, item)

    async def _resend(self, conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        """Return the payload of a delivery that its target lost, made anew, or why it is not sent again."""
        return await Resender(self._targets(item.operator), self._database, clock=now)(conn, item)

    def _targets(self, operator: str) -> Targets:
        return targets_of(self._settings, operator=operator)

    async def _rate(self) -> None:
        worker = RatingWorker(
            database=self._database,
            operator=await self._operator.wait(),
            shards=self._settings.rating_shards,
            leases=self._leases,
            telemetry=self.telemetry,
            clock=now,
            booked=self._booked.notify,
        )
        closer = Closer(
            worker,
            database=self._database,
            operator=await self._operator.wait(),
            telemetry=self.telemetry,
            clock=now,
        )
        earner = Earner(
            worker,
            database=self._database,
            operator=await self._operator.wait(),
            telemetry=self.telemetry,
            clock=now,
            booked=self._booked.notify,
        )
        forgetter = Forgetter(database=self._database, operator=await self._operator.wait(), clock=now)
        runner = RatingRunner(worker, self._leases, closer, earner, forgetter)
        async with asyncio.TaskGroup() as group:
            group.create_task(runner.run())
            group.create_task(_pass_on(self._accepted, runner.wake))

    async def _start_ingest(self, stack: AsyncExitStack) -> None:
        self._ingest = role = IngestRole(
            self._database,
            settings=self._settings,
            mqtt_url=self._parts.mqtt_url,
            sources=self._sources,
            leases=self._leases,
            accept=self._acceptor.accept,
            operator=self._operator.wait,
            telemetry=self.telemetry,
            accepted=self._accepted.notify,
            catalog=self._catalog,
        )
        if (port := role.port()) is not None:
            await stack.enter_async_context(port)
        for name, running, finish in role.work():
            await stack.enter_async_context(self._background(name, running, finish=finish))

    async def _first_connection(self, stop: asyncio.Event) -> None:
        if self._ingest is None or self._parts.mqtt_url is None:
            return
        if await self._operator() is None:
            log.warning("mqtt_waits", detail="no catalog yet, so a broker keeps messages for nobody; meter apply FILE")
            return
        await self._ingest.first_connection(lambda: stop.is_set() or self._failed.done())

    async def _retry_rejection(self, number: int) -> Sequence[object]:
        return await retry_rejection(
            self._database, self._acceptor, await self._operator.wait(), number, sources=self._sources
        )

    @asynccontextmanager
    async def _serve_http(self) -> AsyncIterator[str]:
        """Yield the URL at which HTTP is served: all routes with the role `api`, health and metrics in any case."""
        ingest = self._ingest
        services = Services(
            db=self._database,
            settings=self._settings,
            telemetry=self.telemetry,
            operator=self._operator,
            admin_key=lambda: self._admin_key,
            api_role="api" in self._roles,
            health={} if ingest is None else {"broker": ingest.check_broker},
            booked=self._booked,
            accepted=self._accepted,
            keys=self._keys,
            retry_rejection=self._retry_rejection,
            source_states=partial(source_states, sources=self._sources),
            renew=self._renew,
            resend=self._resend,
            receive_events=None
            if ingest is None
            else event_receiver(ingest.batcher, operator=self._operator, pace=ingest.pace.keep),
            receive_hook=None
            if ingest is None
            else hook_receiver(
                ingest.batcher, sources=self._sources, operator=self._operator, telemetry=self.telemetry
            ),
        )
        host, port = listen_address(self._settings.http, setting="METER_HTTP")
        async with AsyncExitStack() as served:
            try:
                found = await served.enter_async_context(
                    serve(
                        create_app(services),
                        host,
                        port,
                        shutdown_timeout=_HTTP_CLOSE_S,
                        certificate=self._certificate,
                    )
                )
            except OSError as error:
                # asyncio wraps the system's words into a paragraph; a name that is not found has no number of its own.
                fault = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
                remedy = "free it, or take another (--http HOST:PORT)"
                message = f"METER_HTTP: cannot listen on {host}:{port}: {fault}; {remedy}"
                raise BadInput(message, code="port_taken") from error
            scheme = "http" if self._certificate is None else "https"
            yield f"{scheme}://{host}:{found}"


async def _pass_on(hints: Wakeup, wake: Callable[[], None]) -> None:
    """Call `wake` after each hint."""
    while True:
        await hints.next().wait()
        wake()
