"""RADIUS accounting at the gateway: what the port reads goes through the batcher, and is answered after the commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from meter.clock import Clock, now
from meter.config import listen_address, variable_of
from meter.ingest.arrival import Arrival, Receipt
from meter.ingest.batcher import Batcher, QueueFull
from meter.ingest.samples import keep_sample
from meter.ingest.setups import Sources
from meter.log import log
from meter.model.wire import Parsed, Refusal
from meter.sources.spec import Setup
from meter.telemetry import Telemetry
from meter.transport.radius import VENDOR, Address, Clients
from meter.transport.radius import radius_port as port
from meter.transport.samples import Samples


class BatchedIntake:
    """Hands the port's events to the batcher."""

    def __init__(self, batcher: Batcher, telemetry: Telemetry) -> None:
        """Have taken nothing yet."""
        self._batcher = batcher
        self._telemetry = telemetry
        self._samples = Samples()

    def take(
        self,
        items: Sequence[Parsed],
        *,
        setup: Setup,
        origin: str,
        received_at: datetime,
        settled: Callable[[bool], None],
    ) -> bool:
        """Submit the items; `settled` is called after their commit."""
        if not items:
            self._telemetry.events_received(channel="radius", outcome="ignored")

        def committed(_receipts: Sequence[Receipt]) -> None:
            settled(True)

        arrivals = [
            Arrival(
                parsed=item,
                channel="radius",
                origin=origin,
                received_at=received_at,
                site=setup.site,
                told_by=(setup.vendor, setup.name),
            )
            for item in items
        ]
        try:
            self._batcher.submit(arrivals, committed)
        except QueueFull:
            return False
        return True

    def sample(self, refusal: Refusal, *, setup: Setup | None, origin: str, received_at: datetime) -> None:
        """Keep a sample among the rejections."""
        if not self._samples.take():
            return
        site = None if setup is None else setup.site
        sample = Arrival(parsed=refusal, channel="radius", origin=origin, received_at=received_at, site=site)
        keep_sample(self._batcher, [sample])

    def count(self, outcome: str) -> None:
        """Count a packet."""
        self._telemetry.radius_received(outcome)


@asynccontextmanager
async def radius_port(
    listen: str, *, sources: Sources, batcher: Batcher, telemetry: Telemetry, clock: Clock = now
) -> AsyncIterator[Address]:
    """Receive at `listen` (HOST:PORT) and give the address. Raises BadInput (`port_taken`).

    Left after the batcher has stopped, so that what it still writes is answered.
    """
    address = listen_address(listen, setting="METER_RADIUS")
    clients = Clients(source.setup for source in sources)
    for name, fault in clients.faults:
        log.warning("radius_not_configured", detail=f"{variable_of('webhooks', VENDOR, name, 'options')}: {fault}")
    sources.on_change.append(lambda: clients.take(source.setup for source in sources))
    intake = BatchedIntake(batcher, telemetry)
    async with port(address, clients=clients, intake=intake, setting="METER_RADIUS", clock=clock) as bound:
        yield bound
