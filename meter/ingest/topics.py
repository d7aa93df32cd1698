"""MQTT topics: whose they are, and how what comes in on them is read (docs/catalog.md, mqtt)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from paho.mqtt.client import MQTTMessage, topic_matches_sub

from meter.model.catalog import TopicMap
from meter.model.errors import BadInput
from meter.model.wire import Parsed, read_event, read_message, structured

# A message on a topic to what it holds; raises BadInput where it cannot be read at all.
Decoder: TypeAlias = Callable[[MQTTMessage], Sequence[Parsed]]

_ROOT: Final = "spaces"
_ACKS: Final = "acks"
# CloudEvents 1.0.2, MQTT binding: without them a message is not in binary mode.
_MANDATORY: Final = frozenset(("specversion", "id", "source", "type"))


def read_cloudevents(message: MQTTMessage) -> Sequence[Parsed]:
    """Return the events of a message in structured or batched mode or, with MQTT 5 user properties, in binary mode."""
    payload = bytes(message.payload)
    properties = message.properties
    if properties is not None:
        content_type = getattr(properties, "ContentType", "")
        attributes = dict(getattr(properties, "UserProperty", ()))
        if not content_type.startswith("application/cloudevents") and attributes.keys() >= _MANDATORY:
            return [read_event(structured(attributes, content_type, payload))]
    return read_message(payload)


# By the name that a catalog's `mqtt:` section uses.
DECODERS: Final[Mapping[str, Decoder]] = {"cloudevents": read_cloudevents}


def ack_topic(site: str, edge: str) -> str:
    """Return the topic on which the agent is told what was committed."""
    return f"{_ROOT}/{site}/{_ACKS}/{edge}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a topic is read: for which site, and by which decoder."""

    site: str
    decode: Decoder


@dataclass(frozen=True, slots=True)
class Topics:
    """What to subscribe to and how to read it: the filters of our own scheme, and the catalog's maps."""

    filters: Sequence[str]
    maps: Sequence[TopicMap] = ()

    @property
    def subscriptions(self) -> list[str]:
        """Return every filter, once."""
        return list(dict.fromkeys([*self.filters, *(item.topic for item in self.maps if item.decoder in DECODERS)]))

    def reading(self, topic: str) -> Reading | None:
        """Return how `topic` is read; None for our own acknowledgements.

        Raises BadInput (`unknown_topic`): it matches no map and is not of the form spaces/{site}/{kind}/{device}.
        """
        for item in self.maps:
            if item.decoder in DECODERS and topic_matches_sub(item.topic, topic):
                return Reading(item.site, DECODERS[item.decoder])
        levels = topic.split("/")
        if len(levels) != 4 or levels[0] != _ROOT or not all(levels):
            message = (
                f"nothing says how to read the topic {topic[:120]!r}; publish to spaces/SITE/KIND/DEVICE, or map it in "
                "the catalog's mqtt section"
            )
            raise BadInput(message, code="unknown_topic")
        return None if levels[2] == _ACKS else Reading(levels[1], read_cloudevents)
