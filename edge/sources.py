"""The agent's sources, as its settings have them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from glob import has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge.config.faults import ConfigFault, variable_of
from edge.config.settings import EdgeSettings
from meter.model.catalog import TopicMap
from meter.model.errors import BadInput
from meter.model.instant import EPOCH, zone
from meter.sources.options import options_of
from meter.sources.registry import DECODERS, VENDORS, vendor_of_decoder
from meter.sources.setups import ConfiguredSource, configured
from meter.sources.spec import Lines, Setup
from meter.transport.mqtt_address import BrokerAddress, broker_address
from meter.transport.radius import VENDOR as RADIUS
from meter.transport.radius import Clients
from meter.transport.reading import guarded
from meter.transport.topics import Topics

# A device that is asked more often does little else.
POLL_S_MIN: Final = 5
# What is asked for in the gateway's own way stays with the gateway.
_WAYS: Final = ("http", "file", "snmp")


def polled_feeds(source: ConfiguredSource) -> list[str]:
    """Return the feeds of a source that are to be polled, as it is set."""
    if not source.setup.fetched and not source.vendor.polls_without_key:
        return []
    return [name for name, feed in source.vendor.feeds.items() if feed.polled(source.setup)]


def configured_sources(settings: EdgeSettings) -> list[ConfiguredSource]:
    """Return every source. Raises ConfigFault with everything that is wrong with them."""
    found, faults = [], []
    for vendor_name, named in settings.sources.items():
        vendor = VENDORS.get(vendor_name)
        if vendor is None:
            known = ", ".join(sorted(VENDORS))
            faults.append(f"{variable_of('sources', vendor_name)}: no such vendor; there are {known}")
            continue
        for name, given in named.items():
            setup = Setup(
                vendor=vendor_name,
                name=name,
                site=settings.site,
                secrets=tuple(given.secrets),
                url=given.url,
                timezone=given.timezone,
                api_base=given.api_base,
                api_key=given.api_key,
            )
            place = variable_of("sources", vendor_name, name)
            source = configured(vendor, setup, given.options, place=place, every_s=given.every_s)
            faults.extend(source.faults)
            if not source.faults:
                faults.extend(_unheard(settings, source, place))
            if given.every_s is not None and given.every_s < POLL_S_MIN:
                faults.append(f"{place}__EVERY_S: is {given.every_s}; at least {POLL_S_MIN}")
            found.append(source)
    if faults:
        raise ConfigFault("\n".join(faults))
    return found


def _unheard(settings: EdgeSettings, source: ConfiguredSource, place: str) -> Iterator[str]:
    """Give why nothing of a source could ever be heard here."""
    feeds = polled_feeds(source)
    if source.setup.vendor == RADIUS:
        if settings.radius is None:
            yield f"{place}: needs the port that its packets come to; set {variable_of('radius')}"
        yield from (f"{place}__OPTIONS: {fault}" for _, fault in Clients([source.setup]).faults)
    elif source.vendor.hook is None and source.vendor.lines is None and not feeds:
        yield f"{place}: this vendor posts nothing; set what it is asked with, see docs/sources.md"
    for feed in feeds:
        first = partial(source.vendor.feeds[feed].request, source.setup, None, EPOCH)
        try:
            way = guarded(first, vendor=source.setup.vendor, source=source.setup.name).over
        except BadInput as error:
            yield f"{place}: {error.detail}"
            continue
        if way not in _WAYS:
            yield f"{place}: it is asked by {way}, which the gateway does; set it there"
        elif way == "snmp" and find_spec("pysnmp") is None:
            yield f"{place}: asking by SNMP needs more than the agent brings: pip install '.[edge,edge-snmp]'"


def configured_broker(settings: EdgeSettings) -> tuple[BrokerAddress, Topics] | None:
    """Return the site's own broker and what is read of it. Raises BadInput with everything that is wrong with it."""
    given = settings.broker
    if given is None:
        return None
    maps, faults = [], []
    for number, topic in enumerate(given.topics):
        place = f"{variable_of('broker', 'topics')}: topics[{number}]"
        vendor = VENDORS.get(vendor_of_decoder(topic.decoder))
        if topic.decoder not in DECODERS:
            faults.append(f"{place}.decoder: no decoder is called {topic.decoder!r}; there are {', '.join(DECODERS)}")
        _, wrong = options_of({} if vendor is None else vendor.options, topic.options)
        faults.extend(f"{place}.options: {fault}" for fault in wrong)
        try:
            zone(topic.timezone)
        except BadInput as error:
            faults.append(f"{place}.timezone: {error.detail}")
        maps.append(
            TopicMap(
                topic=topic.topic,
                decoder=topic.decoder,
                site=settings.site,
                name=topic.name,
                timezone=topic.timezone,
                options=topic.options,
            )
        )
    if faults:
        raise ConfigFault("\n".join(faults))
    address = broker_address(given.url, setting=variable_of("broker", "url"), ca_file=given.ca_file)
    return address, Topics([f"spaces/{settings.site}/+/+"], maps)


def configured_logs(settings: EdgeSettings) -> list[tuple[Path, ConfiguredSource]]:
    """Return each log's path and how its lines are read. Raises ConfigFault with everything that is wrong with them."""
    found, faults = [], []
    for name, given in settings.files.items():
        place, path = variable_of("files", name), Path(given.path)
        vendor = VENDORS.get(given.vendor)
        if vendor is None or vendor.lines is None:
            known = ", ".join(sorted(name for name, one in VENDORS.items() if one.lines is not None))
            faults.append(f"{place}__VENDOR: {given.vendor!r} writes no log that is read here; there are {known}")
            continue
        if not path.is_absolute() or has_magic(str(path.parent)):
            faults.append(f"{place}__PATH: {given.path!r} is no full path; only its last part may be a pattern")
        if given.options.get("read") == "table":
            faults.append(f"{place}__OPTIONS: read: a table does not grow; poll its files as a source")
        setup = Setup(vendor=given.vendor, name=name, site=settings.site, timezone=given.timezone)
        source = configured(vendor, setup, given.options, place=place)
        faults.extend(source.faults)
        if not source.faults:
            try:
                vendor.lines(source.setup, Lines(name=path.name, lines=(), received_at=EPOCH))
            except BadInput as error:
                faults.append(f"{place}__OPTIONS: {error.detail}")
        found.append((path, source))
    if faults:
        raise ConfigFault("\n".join(faults))
    return found
