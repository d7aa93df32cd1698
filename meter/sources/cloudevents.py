"""CloudEvents over MQTT: structured, batched and, with MQTT 5, binary mode (CloudEvents 1.0.2, MQTT binding)."""

from __future__ import annotations

from typing import Final

from meter.model.wire import read_event, read_message, structured
from meter.sources.spec import Message, Reading, Setup

# Without them a message is not in binary mode.
_MANDATORY: Final = frozenset(("specversion", "id", "source", "type"))


def read(_setup: Setup, message: Message) -> Reading:
    """Return the events of a message."""
    properties = message.properties
    if properties.keys() >= _MANDATORY and not message.content_type.startswith("application/cloudevents"):
        return Reading([read_event(structured(properties, message.content_type, message.payload))])
    return Reading(read_message(message.payload))
