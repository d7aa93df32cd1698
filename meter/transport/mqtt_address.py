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
    """A broker: `tls` for mqtts. The password is never shown; `setting` is where its URL stands.

    `ca_file`: whom to trust (PEM; None: the system's authorities). `cert_file` and `key_file`: who we are.
    """

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    setting: str = "METER_MQTT_URL"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

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
            return self._context().wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


def broker_address(
    url: str,
    *,
    setting: str = "METER_MQTT_URL",
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> BrokerAddress:
    """Return the address that `mqtt://[user:password@]host[:port]` (or mqtts) names.

    Raises BadInput (`bad_mqtt_url`) naming `setting`.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"{setting}: {error}; use mqtt://user:password@host:port", code="bad_mqtt_url") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        message = f"{setting} does not name a broker; use mqtt://user:password@host:port, or mqtts:// for TLS"
        raise BadInput(message, code="bad_mqtt_url")
    return BrokerAddress(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        setting=setting,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
    )
