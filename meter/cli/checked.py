"""What a check of a part comes to, and the check of the listener, which needs nothing but the settings."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal, NamedTuple

from meter.clock import now
from meter.config import Settings, listen_address
from meter.model.errors import BadInput
from meter.transport.serving_tls import EXPIRES_SOON, serving_pair


class Checked(NamedTuple):
    """What a check of a part came to. A warning is of something that works; what was `not checked` may not."""

    part: str
    state: Literal["ok", "warning", "fault", "not checked"]
    detail: str | None = None

    @property
    def ok(self) -> bool:
        """Tell whether the part was checked and works."""
        return self.state in {"ok", "warning"}


def check_listener(settings: Settings) -> Checked:
    """Return whether callers can trust the HTTP listener, and whom its certificate names."""
    tls = settings.http_tls.pair
    if tls is None:
        host, _ = listen_address(settings.http, setting="METER_HTTP")
        if _is_loopback(host):
            return Checked("listener", "ok")
        return Checked(
            "listener",
            "warning",
            f"METER_HTTP: plain HTTP on {host}, so that keys are read on the way unless a proxy with TLS stands before "
            "it and nobody gets past that; METER_HTTP_TLS__CERT_FILE and METER_HTTP_TLS__KEY_FILE have it speak TLS",
        )
    try:
        pair = serving_pair(*tls)
    except BadInput as error:
        return Checked("listener", "fault", error.detail)
    at = now()
    if (fault := pair.fault(at)) is not None:
        return Checked("listener", "fault", f"{fault} ({pair.shown})")
    soon = pair.ends_at - at < EXPIRES_SOON
    if soon or not pair.names:
        left = f"ends in {(pair.ends_at - at).days} days; renew it" if soon else "names nobody"
        return Checked("listener", "warning", f"METER_HTTP_TLS__CERT: the certificate {left} ({pair.shown})")
    return Checked("listener", "ok", f"TLS; the certificate {pair.shown}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
