"""The collectors that the settings ask for, beside HTTP's."""

from __future__ import annotations

from edge.clock import Clock
from edge.collect.collector import Collector
from edge.collect.mqtt import BrokerCollector
from edge.collect.tail import Tail
from edge.config.settings import EdgeSettings
from edge.intake import Intake
from edge.sources import configured_broker, configured_logs
from edge.spool.keeper import Keeper


def collectors_of(settings: EdgeSettings, *, keeper: Keeper, intake: Intake, clock: Clock) -> list[Collector]:
    """Return them, none of them running. Raises BadInput with what is wrong with their settings."""
    collectors: list[Collector] = [
        Tail(path, source, keeper=keeper, intake=intake, clock=clock) for path, source in configured_logs(settings)
    ]
    broker = configured_broker(settings)
    if broker is not None:
        address, topics = broker
        collectors.append(
            BrokerCollector(address, topics=topics, site=settings.site, edge=settings.id, intake=intake, clock=clock)
        )
    return collectors
