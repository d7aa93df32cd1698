"""Where the broker is, read from a URL."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from meter.model.errors import BadInput

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """A broker: `tls` for mqtts. The password is never shown."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """Return the address for people, without credentials."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def open_socket(self, timeout_s: float) -> socket.socket:
        """Return a connected socket, with TLS where asked for. Blocks for at most some multiples of `timeout_s`."""
        raw = socket.create_connection((self.host, self.port), timeout=timeout_s)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.tls:
            return raw
        try:
            return ssl.create_default_context().wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise


def broker_address(url: str) -> BrokerAddress:
    """Return the address that `mqtt://[user:password@]host[:port]` (or mqtts) names.

    Raises BadInput (`bad_mqtt_url`).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"METER_MQTT_URL: {error}; use mqtt://user:password@host:port", code="bad_mqtt_url") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        message = "METER_MQTT_URL does not name a broker; use mqtt://user:password@host:port, or mqtts:// for TLS"
        raise BadInput(message, code="bad_mqtt_url")
    return BrokerAddress(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )
