"""What can be set, with its default and unit; docs/edge.md lists it, and a test keeps the two equal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from meter.model.credential import BadgeForm


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together."""


class GatewaySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway is, and how it knows us."""

    mqtt_url: str | None = None
    """`mqtt://user:password@host:port` or `mqtts://`; unset: over HTTP only."""
    http_url: str | None = None
    """`https://host`: where MQTT is barred, and for asking before acting."""
    api_key: str | None = None
    """With what HTTP is asked."""
    ca_file: str | None = None
    """Whom to trust (PEM); unset: the system's authorities."""
    cert_file: str | None = None
    """The agent's certificate (PEM)."""
    key_file: str | None = None
    """The key of that."""


class SpoolSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept, and for how long."""

    bytes_max: int = 1024 * 1024 * 1024
    """Bytes of the spool's directory at most; at least twice the ballast and a log of 8 MiB."""
    events_max: int = 2_000_000
    """Events at most, acknowledged ones included."""
    keep_days: int = 35
    """Days for which acknowledged events are kept for replay."""
    ballast_bytes: int = 16 * 1024 * 1024
    """Bytes that are given up when the disk is full, so that what is acknowledged can still be let go."""


class OfflineSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What devices that ask before they act may be allowed while the gateway does not answer."""

    account_risk: Decimal = Decimal(0)
    """What one account may be allowed, in its currency; 0: only what costs nothing."""
    site_risk: Decimal = Decimal(0)
    """What all accounts together may be allowed, in each currency."""
    known_for_s: int = 7 * 86_400
    """Seconds for which the gateway's last word counts."""
    answer_within_s: float = 2.0
    """Seconds in which the gateway has to answer before the agent does."""


class SourceSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a vendor's as the gateway has it: its webhooks come here, or it is asked from here."""

    secrets: list[str] = []
    """The signing keys; two may be active while one is being replaced."""
    url: str | None = None
    """The URL as registered with the vendor, where the vendor signs it."""
    timezone: str = "UTC"
    """The IANA zone of the vendor's times that name none."""
    api_base: str | None = None
    """Where the device or the vendor is asked."""
    api_key: str | None = None
    """With what it is asked; of SNMP the community."""
    every_s: int | None = None
    """Seconds between two polls; unset: as the vendor bears it."""
    options: dict[str, Any] = {}
    """The vendor's own settings."""


class FileSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log that grows: CUPS' page_log, PaperCut's print logs."""

    vendor: str
    """Whose lines they are: cups, papercut."""
    path: str
    """The file, its name a pattern where a day has one each; rotated ones beside it are read, too."""
    timezone: str = "UTC"
    """The IANA zone of times that name none."""
    options: dict[str, Any] = {}
    """The vendor's own settings."""


class TopicSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages on the site's own broker, read as the catalog's `mqtt` section says."""

    topic: str
    """The filter."""
    decoder: str
    """What the messages are, like zigbee2mqtt."""
    name: str | None = None
    """Part of the events' source; unset: the topic's last word."""
    timezone: str = "UTC"
    """The IANA zone of devices that name none."""
    options: dict[str, Any] = {}
    """The decoder's own settings."""


class BrokerSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The site's own broker: readers, Zigbee2MQTT, Shelly."""

    url: str
    """`mqtt://user:password@host:port` or `mqtts://` of the site's own broker; unset: there is none."""
    ca_file: str | None = None
    """Whom to trust there (PEM); unset: the system's authorities."""
    topics: list[TopicSettings] = []
    """What is read besides CloudEvents on `spaces/SITE/KIND/DEVICE`."""


class ReaderSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A card reader at a USB or serial port that types what it reads."""

    device: str
    """`/dev/input/by-id/...-event-kbd` of a reader that is a keyboard, or `/dev/serial/by-id/...`."""
    door: str
    """The door, or whatever the card is shown to."""
    direction: Literal["in", "out"] | None = None
    """Which way that leads; unset: not known."""
    kind: str = "badge"
    """The kind of identity that its numbers are."""
    form: BadgeForm = "text"
    """How it spells badges: text, hex, hex_reversed, decimal, decimal_reversed, facility_card, wiegand26, wiegand34."""
    bytes: int = 0
    """How many bytes a badge has that is typed as a number; 0: as few as hold it."""
    baud: int = 9600
    """Of a serial port."""


class EdgeSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, with its default and unit."""

    site: str
    """The site; every event's source begins with it."""
    edge: str | None = None
    """The agent's id; unset: `{site}-edge`."""
    data_dir: str = "/var/lib/meter-edge"
    """Where the spool, keys and certificates live."""
    http: str = "127.0.0.1:8490"
    """HOST:PORT for devices on the site's network."""
    tokens: list[str] = []
    """What devices show as a bearer token; none: only devices on this machine are heard."""
    radius: str | None = None
    """HOST:PORT (UDP) of the RADIUS accounting port, for `sources.radius.NAME`; unset: closed."""
    heartbeat_s: int = 30
    """Seconds between two heartbeats."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    gateway: GatewaySettings = GatewaySettings()
    spool: SpoolSettings = SpoolSettings()
    offline: OfflineSettings = OfflineSettings()
    sources: dict[str, dict[str, SourceSettings]] = {}
    """Sources by vendor and name."""
    broker: BrokerSettings | None = None
    """The site's own broker."""
    files: dict[str, FileSettings] = {}
    """Logs by name."""
    readers: dict[str, ReaderSettings] = {}
    """Card readers by name."""

    @property
    def id(self) -> str:
        """Return the agent's id."""
        return self.edge or f"{self.site}-edge"
