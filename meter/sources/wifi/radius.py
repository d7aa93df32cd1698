"""RADIUS accounting over UDP, as any access point or controller sends it; `meter.transport.radius` receives it.

    datagram ─▶ attributes by their types (here) ─▶ accounting

Values that are no text (a binary Class) are written as hexadecimal digits. CoovaChilli is such a sender too: with its
`swapoctets` on, set `swap_octets`.

Facts: RFC 2865, 2866, 2869, 3162, 4372; coova-chilli @e0c7d7a, November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.fields import bad_payload
from meter.sources.spec import Covers, Option, Setup, Vendor
from meter.sources.wifi import accounting


class _Attribute(NamedTuple):
    name: str
    read: Callable[[bytes], Json]


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def _integer(value: bytes) -> int:
    if len(value) != 4:
        raise bad_payload(f"an integer has {len(value)} octets; 4 are documented")
    return int.from_bytes(value)


def _ipv4(value: bytes) -> str:
    if len(value) != 4:
        raise bad_payload(f"an IPv4 address has {len(value)} octets")
    return str(IPv4Address(value))


def _ipv6(value: bytes) -> str:
    if len(value) != 16:
        raise bad_payload(f"an IPv6 address has {len(value)} octets")
    return str(IPv6Address(value))


# By the type that RFC 2865, 2866, 2869, 3162 and 4372 give them.
_ATTRIBUTES: Final[Mapping[int, _Attribute]] = {
    1: _Attribute("User-Name", _text),
    4: _Attribute("NAS-IP-Address", _ipv4),
    25: _Attribute("Class", _text),
    30: _Attribute("Called-Station-Id", _text),
    31: _Attribute("Calling-Station-Id", _text),
    32: _Attribute("NAS-Identifier", _text),
    40: _Attribute("Acct-Status-Type", _integer),
    41: _Attribute("Acct-Delay-Time", _integer),
    42: _Attribute("Acct-Input-Octets", _integer),
    43: _Attribute("Acct-Output-Octets", _integer),
    44: _Attribute("Acct-Session-Id", _text),
    46: _Attribute("Acct-Session-Time", _integer),
    49: _Attribute("Acct-Terminate-Cause", _integer),
    50: _Attribute("Acct-Multi-Session-Id", _text),
    52: _Attribute("Acct-Input-Gigawords", _integer),
    53: _Attribute("Acct-Output-Gigawords", _integer),
    55: _Attribute("Event-Timestamp", _integer),
    89: _Attribute("Chargeable-User-Identity", _text),
    95: _Attribute("NAS-IPv6-Address", _ipv6),
}


def read(setup: Setup, attributes: Iterable[tuple[int, bytes]], *, received_at: datetime, sender: str) -> list[Parsed]:
    """Return the event of an Accounting-Request's attributes, by type and in their order.

    `sender` is the address that it came from. Raises BadInput (`bad_payload`).
    """
    found: dict[str, Json] = {}
    for kind, value in attributes:
        attribute = _ATTRIBUTES.get(kind)
        if attribute is not None and value:
            found.setdefault(attribute.name, attribute.read(value))
    return accounting.read(setup, found, received_at=received_at, sender=sender)


RADIUS: Final = Vendor(
    title="RADIUS accounting (UDP; CoovaChilli too)",
    area="wifi",
    needs=frozenset({"secrets", "site"}),
    options={
        **accounting.OPTIONS,
        "clients": Option(
            default=[], about='Addresses and networks that its packets come from, like `["192.0.2.0/24"]`; empty: any.'
        ),
    },
    covers=(
        Covers(
            what="Start, Interim-Update, Stop", state="done", becomes="wifi.session", note="counters are cumulative"
        ),
        Covers(what="Accounting-On, Accounting-Off", state="done", becomes="nas.restarted"),
        Covers(what="tunnels, failures", state="not", note="acknowledged; nothing is counted by them"),
        Covers(what="vendors' own attributes", state="not", note="the standard ones hold all that is counted"),
        Covers(what="Status-Server, Access-Request", state="not", note="not answered; the gateway answers no logins"),
    ),
    facts="RFC 2865, 2866, 2869, 3162, 4372; coova-chilli @e0c7d7a; November 2026",
)
