"""What an MQTT message holds, by the map of its topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from paho.mqtt.client import MQTTMessage

from meter.model.errors import BadInput
from meter.model.wire import BODY_BYTES_MAX, Parsed
from meter.sources.make import refused
from meter.sources.spec import Message
from meter.transport.reading import guarded
from meter.transport.topics import Topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The events and refusals of a message, its topic and content type, and the site that the topic belongs to."""

    topic: str
    items: Sequence[Parsed]
    content_type: str | None = None
    site: str | None = None


def read_message(topics: Topics, message: MQTTMessage, *, received_at: datetime) -> Heard | None:
    """Return what the message holds, what cannot be read as a refusal; None where it is one of the gateway's own."""
    topic, site, content_type = "", None, None
    try:
        topic = _topic(message)
        reading = topics.reading(topic)
        if reading is None:
            return None
        setup = reading.setup
        site = setup.site
        properties: dict[str, str] = {}
        if message.properties is not None:
            content_type = getattr(message.properties, "ContentType", None)
            properties = dict(getattr(message.properties, "UserProperty", ()))
        told = Message(
            topic=topic,
            payload=bytes(message.payload),
            content_type=content_type or "",
            properties=properties,
            received_at=received_at,
        )
        read = guarded(partial(reading.decode, setup, told), vendor=setup.vendor, source=setup.name)
    except BadInput as error:
        items: Sequence[Parsed] = [refused(error, bytes(message.payload[:BODY_BYTES_MAX]))]
        return Heard(topic=topic, items=items, content_type=content_type, site=site)
    return Heard(topic=topic, items=read.items, content_type=content_type, site=site)


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError as error:
        raise BadInput(f"the topic is not UTF-8: {error}; rename it", code="unknown_topic") from error
