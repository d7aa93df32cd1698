"""MQTT topics: whose they are, and how what comes in on them is read (docs/catalog.md, mqtt)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from paho.mqtt.client import topic_matches_sub

from meter.model.catalog import TopicMap
from meter.model.errors import BadInput
from meter.sources import cloudevents
from meter.sources import spec as sources
from meter.sources.options import options_of
from meter.sources.registry import DECODERS, VENDORS, vendor_of_decoder

# A message on a topic to what it holds; raises BadInput where it cannot be read at all.
Decoder: TypeAlias = Callable[[sources.Setup, sources.Message], sources.Reading]

_ROOT: Final = "spaces"
_ACKS: Final = "acks"
_CLOCKS: Final = "clocks"
_AGENT: Final = "edge"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._~-]+")


def ack_topic(site: str, edge: str) -> str:
    """Return the topic on which the agent is told what was committed."""
    return f"{_ROOT}/{site}/{_ACKS}/{edge}"


def clock_topic(site: str, edge: str) -> str:
    """Return the topic on which the agent is told what time it is here."""
    return f"{_ROOT}/{site}/{_CLOCKS}/{edge}"


def agent_topic(site: str, edge: str) -> str:
    """Return the topic on which an agent sends, and nobody else may."""
    return f"{_ROOT}/{site}/{_AGENT}/{edge}"


def agent_of(topic: str) -> tuple[str, str] | None:
    """Return site and id of the agent whose topic this is; None where it is no agent's."""
    levels = topic.split("/")
    return (levels[1], levels[3]) if len(levels) == 4 and levels[::2] == [_ROOT, _AGENT] else None


@dataclass(frozen=True, slots=True)
class TopicReading:
    """How a topic is read: for which site, and by which decoder."""

    setup: sources.Setup
    decode: Decoder


@dataclass(frozen=True)
class Topics:
    """What to subscribe to and how to read it: the filters of our own scheme, and the catalog's maps.

    `former` are filters that an earlier connection of the session may have been subscribed to.
    """

    filters: Sequence[str]
    maps: Sequence[TopicMap] = ()
    former: Sequence[str] = field(default=(), compare=False)

    @property
    def subscriptions(self) -> list[str]:
        """Return every filter, once."""
        return list(dict.fromkeys([*self.filters, *(topic for topic, _ in self._mapped)]))

    @property
    def leave(self) -> list[str]:
        """Return the former filters that are wanted no more."""
        wanted = set(self.subscriptions)
        return [name for name in self.former if name not in wanted]

    @cached_property
    def _mapped(self) -> list[tuple[str, TopicReading]]:
        return [
            (item.topic, TopicReading(setup_of(item), DECODERS[item.decoder]))
            for item in self.maps
            if item.decoder in DECODERS
        ]

    def reading(self, topic: str) -> TopicReading | None:
        """Return how `topic` is read; None for what is said here: acknowledgements and the time.

        Raises BadInput (`unknown_topic`): it matches no map and is not of the form spaces/{site}/{kind}/{device}.
        """
        for mapped, reading in self._mapped:
            if topic_matches_sub(mapped, topic):
                return reading
        levels = topic.split("/")
        if len(levels) != 4 or levels[0] != _ROOT or not all(levels):
            message = (
                f"nothing says how to read the topic {topic[:120]!r}; publish to spaces/SITE/KIND/DEVICE, or map it in "
                "the catalog's mqtt section"
            )
            raise BadInput(message, code="unknown_topic")
        if levels[2] in {_ACKS, _CLOCKS}:
            return None
        return TopicReading(sources.Setup(vendor="cloudevents", name="", site=levels[1]), cloudevents.read)


def setup_of(item: TopicMap) -> sources.Setup:
    """Return the source behind a map; without a name it is named by its topic's last word."""
    vendor = vendor_of_decoder(item.decoder)
    named = [level for level in item.topic.split("/") if level not in {"+", "#"}]
    options, _faults = options_of(VENDORS[vendor].options if vendor in VENDORS else {}, item.options)
    return sources.Setup(
        vendor=vendor,
        name=item.name or _NO_NAME.sub("-", named[-1] if named else item.decoder),
        site=item.site,
        timezone=item.timezone or "UTC",
        options=options,
    )
