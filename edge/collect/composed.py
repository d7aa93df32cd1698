"""The collectors that the settings ask for, beside HTTP's."""

from __future__ import annotations

from collections.abc import Sequence

from edge.clock import Clock
from edge.collect.collector import Collector
from edge.collect.mqtt import BrokerCollector
from edge.collect.poll import Poller, Transports
from edge.collect.radius import RadiusCollector
from edge.collect.reader import ReaderCollector
from edge.collect.tail import Tail
from edge.config.contradictions import host_and_port
from edge.config.faults import variable_of
from edge.config.settings import EdgeSettings
from edge.intake import Intake
from edge.sources import configured_broker, configured_logs, polled_feeds
from edge.spool.keeper import Keeper
from meter.sources.setups import ConfiguredSource


def radius_of(
    settings: EdgeSettings, *, sources: Sequence[ConfiguredSource], intake: Intake, clock: Clock
) -> RadiusCollector | None:
    """Return the RADIUS port, not open yet; None where there is none."""
    if settings.radius is None:
        return None
    address = host_and_port(settings.radius)
    return RadiusCollector(address, sources=sources, setting=variable_of("radius"), intake=intake, clock=clock)


def collectors_of(
    settings: EdgeSettings,
    *,
    sources: Sequence[ConfiguredSource],
    transports: Transports,
    keeper: Keeper,
    intake: Intake,
    clock: Clock,
) -> list[Collector]:
    """Return them, none of them running. Raises BadInput with what is wrong with their settings."""
    collectors: list[Collector] = [
        Tail(path, source, keeper=keeper, intake=intake, clock=clock) for path, source in configured_logs(settings)
    ]
    collectors += [
        Poller(source, feed, transports=transports, keeper=keeper, intake=intake, clock=clock)
        for source in sources
        for feed in polled_feeds(source)
    ]
    collectors += [
        ReaderCollector(name, given, site=settings.site, intake=intake, clock=clock)
        for name, given in settings.readers.items()
    ]
    broker = configured_broker(settings)
    if broker is not None:
        address, topics = broker
        collectors.append(
            BrokerCollector(
                address,
                topics=topics,
                site=settings.site,
                edge=settings.id,
                keeper=keeper,
                intake=intake,
                clock=clock,
            )
        )
    return collectors
