"""The role `export`: every target that is enabled, each with its gatherer and its lane."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.clock import Clock
from meter.export.dispatcher import Dispatcher
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.setups import ConfiguredTarget, Targets
from meter.export.targets.spec import Means
from meter.log import log
from meter.store.engine import Database
from meter.store.gathering import Begun
from meter.store.outbox import OutboxItem
from meter.telemetry import Telemetry


def begun_of(target: ConfiguredTarget) -> Begun:
    """Return as what a target would begin, by its settings of today."""
    setup = target.setup
    return Begun(
        kind=setup.kind,
        mode=setup.mode,
        reads=target.kind.shape(setup).reads,
        start=setup.start,
        company=_company(target),
    )


def _company(target: ConfiguredTarget) -> str | None:
    """Return whose books or customers the target's are; None where its kind is sent to whoever its key is of."""
    return target.setup.company if "company" in target.kind.needs else None


def gatherer_of(target: ConfiguredTarget, database: Database, *, clock: Clock) -> Gatherer:
    """Return what makes the items of a target."""
    setup, kind = target.setup, target.kind
    return Gatherer(
        database,
        operator=setup.operator,
        target=setup.name,
        shape=kind.shape(setup),
        clock=clock,
        kind=setup.kind,
        mode=setup.mode,
        company=_company(target),
        past=kind.past,
        start=setup.start,
        late_wait=timedelta(seconds=setup.late_s),
    )


class Renewer:
    """Makes payloads of dead deliveries anew, by today's facts (a `Renew` of meter.store.deliveries)."""

    def __init__(self, targets: Targets, database: Database, *, clock: Clock) -> None:
        """Prepare for every target that is enabled."""
        self._gatherers = {target.setup.name: gatherer_of(target, database, clock=clock) for target in targets}

    async def __call__(self, conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        """Return the payload and what is still unmet: of a target that is not enabled here, just that."""
        gatherer = self._gatherers.get(item.target)
        if gatherer is None:
            return item.payload, f"{item.target} is not enabled here; enable it in the settings, then retry"
        return await gatherer.renew(conn, item)


class Resender:
    """Makes payloads of deliveries that a target lost (a `Renew`), and says of which targets none is sent again."""

    def __init__(self, targets: Targets, database: Database, *, clock: Clock) -> None:
        """Prepare for every target that is enabled."""
        self._never = {target.setup.name: target.kind.never_resent for target in targets}
        self._renew = Renewer(targets, database, clock=clock)

    async def __call__(self, conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        """Return the payload by today's facts and what is still unmet, or why it is not sent again."""
        never = self._never.get(item.target)
        return (item.payload, never) if never else await self._renew(conn, item)


def dispatcher_of(
    targets: Targets, database: Database, *, operator: str, telemetry: Telemetry, clock: Clock
) -> Dispatcher:
    """Return the lanes of the targets that are set up without a fault; the others wait, and are told in the log.

    What one that waits would have got is not lost: it begins where it left off.
    """
    for fault in targets.faults:
        log.error("target_misconfigured", fault=fault)
    means = Means(database=database, telemetry=telemetry)
    sound = [target for target in targets if not target.faults]
    return Dispatcher(
        database,
        operator=operator,
        exporters={target.setup.name: target.kind.open(target.setup, means) for target in sound},
        gatherers={target.setup.name: gatherer_of(target, database, clock=clock) for target in sound},
        telemetry=telemetry,
    )
