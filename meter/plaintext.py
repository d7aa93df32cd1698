"""Whether what goes to database, broker or store would cross the open net for everyone to read (decision 0019).

Judged by address, so that compose networks, tunnels and clouds' own networks need no word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlsplit

from meter.config import Settings
from meter.model.errors import BadInput
from meter.transport.outgoing import PLAINTEXT_SETTING, Guard, Lookup, is_public, literal, look_up

# What asyncpg takes for `ssl` (its own words and libpq's) with which nothing is sent in the open.
_ENCRYPTED: Final = frozenset({"true", "require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    setting: str
    host: str
    port: int
    secure: bool
    remedy: str


def _ways(settings: Settings) -> Iterator[_Way]:
    if settings.database_url is not None:
        parts = urlsplit(settings.database_url.get_secret_value())
        asked = parse_qs(parts.query).get("ssl", [""])[-1]
        if parts.hostname:
            yield _Way(
                setting="METER_DATABASE_URL",
                host=parts.hostname,
                port=parts.port or 5432,
                secure=asked in _ENCRYPTED,
                remedy="add ?ssl=verify-full to it",
            )
    if settings.mqtt_url is not None:
        parts = urlsplit(settings.mqtt_url.get_secret_value())
        if parts.hostname:
            yield _Way(
                setting="METER_MQTT_URL",
                host=parts.hostname,
                port=parts.port or 1883,
                secure=parts.scheme == "mqtts",
                remedy="use mqtts://",
            )
    if settings.store.endpoint:
        parts = urlsplit(settings.store.endpoint)
        if parts.hostname:
            yield _Way(
                setting="METER_STORE__ENDPOINT",
                host=parts.hostname,
                port=parts.port or 80,
                secure=parts.scheme == "https",
                remedy="use https://",
            )


async def plaintext_faults(settings: Settings, *, lookup: Lookup = look_up) -> list[str]:
    """Return what would be read on its way, a line each. A name that is not found is a fault of the connection's."""
    guard = Guard.of(private=settings.outgoing.private, plaintext=settings.outgoing.plaintext)
    faults = []
    for way in _ways(settings):
        permitted = guard.hosts | guard.plaintext
        if way.secure or way.host.lower() in permitted:
            continue
        given = literal(way.host)
        try:
            found = [str(given)] if given is not None else await lookup(way.host, way.port)
        except OSError:
            continue
        beyond = [text for text in found if is_public(ip_address(text))]
        if beyond and not any(ip_address(text) in network for text in beyond for network in guard.networks):
            faults.append(
                f"{way.setting}: {way.host} is at {beyond[0]}, beyond the site's network, and without TLS everyone on "
                f"the way reads what passes; {way.remedy}, or permit it with {PLAINTEXT_SETTING}"
            )
    return faults


async def require_tls(settings: Settings) -> None:
    """Return where no credentials would cross the open net in plaintext. Raises BadInput (`plaintext`)."""
    faults = await plaintext_faults(settings)
    if faults:
        raise BadInput("\n".join(faults), code="plaintext")
