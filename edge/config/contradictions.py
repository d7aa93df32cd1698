"""What is wrong with settings that can be read each by itself."""

from __future__ import annotations

import re
import termios
from collections.abc import Iterator
from typing import Final

from edge.config.faults import variable_of
from edge.config.settings import EdgeSettings, ReaderSettings
from edge.spool.records import LOG_BYTES_MAX, least_bytes
from meter.model.credential import BADGE_BYTES_MAX
from meter.model.identity import is_kind
from meter.model.money import DIGITS_MAX

_SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}", re.ASCII)
_EDGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}", re.ASCII)


def contradictions(settings: EdgeSettings) -> Iterator[str]:
    """Give each fault, by the name of the setting to change."""
    if not _SITE.fullmatch(settings.site):
        yield f"{variable_of('site')}: {settings.site!r} is no site; send 1 to 64 of A-Z a-z 0-9 . _ ~ -"
    if not _EDGE.fullmatch(settings.id):
        yield f"{variable_of('edge')}: {settings.id!r} is no id; send 1 to 128 of A-Z a-z 0-9 . _ ~ : -"
    if settings.gateway.mqtt_url is None and settings.gateway.http_url is None:
        yield f"{variable_of('gateway')}: needs mqtt_url or http_url: where events go; enroll writes them"
    for name, least in (
        ("bytes_max", least_bytes(ballast_bytes=settings.spool.ballast_bytes)),
        ("events_max", 1_000),
        ("keep_days", 0),
        ("ballast_bytes", LOG_BYTES_MAX),
    ):
        if getattr(settings.spool, name) < least:
            yield f"{variable_of('spool', name)}: is {getattr(settings.spool, name)}; at least {least}"
    yield from _offline(settings)
    if settings.heartbeat_s < 5:
        yield f"{variable_of('heartbeat_s')}: is {settings.heartbeat_s}; at least 5"
    for name, address in (("http", settings.http), ("radius", settings.radius)):
        _, colon, port = (":0" if address is None else address).rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            yield f"{variable_of(name)}: {address!r} is not HOST:PORT, like 127.0.0.1:8490"
    for name, reader in settings.readers.items():
        yield from _reader_faults(name, reader)


def _reader_faults(name: str, reader: ReaderSettings) -> Iterator[str]:
    if not reader.device.startswith("/"):
        yield f"{variable_of('readers', name, 'device')}: {reader.device!r} is no full path, like /dev/input/..."
    if not is_kind(reader.kind):
        yield f"{variable_of('readers', name, 'kind')}: {reader.kind!r} is no kind of identity, like badge"
    if not hasattr(termios, f"B{reader.baud}"):
        yield f"{variable_of('readers', name, 'baud')}: is {reader.baud}; serial ports have 9600, 19200, 115200..."
    if not 0 <= reader.bytes <= BADGE_BYTES_MAX:
        yield f"{variable_of('readers', name, 'bytes')}: is {reader.bytes}; 0 to {BADGE_BYTES_MAX}"


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of HOST:PORT (IPv6 in brackets), which was looked at before."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _offline(settings: EdgeSettings) -> Iterator[str]:
    offline = settings.offline
    for name in ("account_risk", "site_risk"):
        risk = getattr(offline, name)
        if not risk.is_finite() or not 0 <= risk < 10**DIGITS_MAX:
            yield f"{variable_of('offline', name)}: is {risk}; an amount of money, 0 or more"
        elif risk and settings.gateway.http_url is None:
            yield f"{variable_of('offline', name)}: needs {variable_of('gateway', 'http_url')}: whom to ask first"
    if offline.known_for_s < 0:
        yield f"{variable_of('offline', 'known_for_s')}: is {offline.known_for_s}; at least 0"
    if not 0.1 <= offline.answer_within_s <= 30:
        yield f"{variable_of('offline', 'answer_within_s')}: is {offline.answer_within_s}; from 0.1 to 30"
