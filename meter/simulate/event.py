"""What the simulation hands on: true events, and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS

# Decimals become JSON numbers as written; there is no float in any event.
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueEvent:
    """One thing that happened: `body` is its CloudEvent as JSON, `time` its instant in UTC."""

    time: datetime
    source: str
    id: str
    body: bytes

    @property
    def site(self) -> str:
        """Return the site, the first segment of the source."""
        return self.source.partition("/")[0]

    @property
    def kind(self) -> str:
        """Return the kind of device: door, print, wifi, pos or room."""
        return self.source.split("/")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on the wire: events of one device that arrive together at `at` (UTC)."""

    at: datetime
    source: str
    events: tuple[TrueEvent, ...]

    @property
    def topic(self) -> str:
        """Return the MQTT topic `spaces/{site}/{kind}/{device}`."""
        return f"spaces/{self.source}"

    @property
    def payload(self) -> bytes:
        """Return one event as an object, several as an array."""
        if len(self.events) == 1:
            return self.events[0].body
        return b"[" + b",".join(event.body for event in self.events) + b"]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """What happened at `at_ms` of a site's local day at one of its devices, not yet on any wire."""

    at_ms: int
    device: str
    type: str
    subject: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LocalDay:
    """A day in a zone: turns milliseconds since its midnight, as a wall clock shows them, into instants."""

    day: date
    zone: ZoneInfo

    def instant(self, at_ms: int) -> datetime:
        """Return the instant, in UTC, at which the wall clock shows `at_ms`."""
        return self._local(at_ms).astimezone(UTC)

    def utc_text(self, at_ms: int) -> str:
        """Return that instant as a device in UTC writes it."""
        return self.instant(at_ms).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"

    def offset_text(self, at_ms: int) -> str:
        """Return that instant as a till or a calendar writes it: local time with its offset."""
        return self._local(at_ms).isoformat(timespec="milliseconds")

    def _local(self, at_ms: int) -> datetime:
        return datetime.combine(self.day, time.min, tzinfo=self.zone) + timedelta(milliseconds=at_ms)


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return `fields` as compact JSON, in their order."""
    return _ENCODER.encode(fields)
