"""RADIUS accounting (RFC 2866, 2869), whatever carries it: one request's attributes become one `wifi.session`.

    Start ─▶ start   Interim-Update ─▶ interim   Stop ─▶ stop   Accounting-On, -Off ─▶ nas.restarted   others ─▶ nothing

**Session.** A digest of NAS, Acct-Session-Id and station. Acct-Session-Id is unique within a NAS until it reboots; the
station tells most of what comes after apart. Where the Class is one that FreeRADIUS makes for each login (`ai:` and
hexadecimal digits), it takes the place of NAS and station. Not in it: User-Name, which may be learned in mid-session.

**Time.** Event-Timestamp. Without one, or from a clock that was never set, the receipt time stands in, less
Acct-Delay-Time; settled at the first receipt, as every missing time is. A retransmission has another delay, and by the
network's jitter another time: neither is in the id or the content, so it is the same event.

**Id.** Status and a digest of session, time and counters. Without a time of its own, of the day in which the packet was
first sent: the same counters on another day are another session of a NAS that counts its sessions from 1 again.

**Counters** are cumulative, 64 bits: gigawords and octets (RFC 2869), absent gigawords are 0. Input is what the NAS
received from the member. A start counts from 0.

**Who.** User-Name where it names a person; else Chargeable-User-Identity, else Class where the source says that it
names somebody, else the station's MAC address, which stands nowhere else in an event.

Facts: RFC 2866, 2869, 4372 and FreeRADIUS 3.2's policies and queries, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import NAS_RESTARTED, WIFI_SESSION, Json
from meter.model.instant import parse_instant
from meter.model.wire import Parsed
from meter.sources.clocks import Timed, from_abbreviated, from_epoch
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest, usage_event, window_id
from meter.sources.spec import Option, Setup

KIND: Final = "wifi"
# By whose rules a session's readings are meant: its seconds are counted from its start.
PROTOCOL: Final = "radius"

OPTIONS: Final[Mapping[str, Option]] = {
    "swap_octets": Option(
        default=False, about="Input and output are the wrong way round, as with CoovaChilli's `swapoctets`."
    ),
    "user_is": Option(
        default="auto",
        about="The kind of identity that a User-Name is; `auto`: `email` where it is an address, else `user`.",
        choices=("auto", "email", "user"),
    ),
    "anonymous": Option(
        default=["anonymous"], about="User-Names before the `@` that name nobody; an empty one never does."
    ),
    "class_is": Option(
        default="", about="The kind of identity that a Class is, where the login sets one for each member; empty: none."
    ),
}

_STATUSES: Final[Mapping[str, str]] = {"1": "start", "start": "start", "2": "stop", "stop": "stop"} | dict.fromkeys(
    ("3", "interim-update", "alive"), "interim"
)
_RESTARTS: Final[Mapping[str, str]] = {"7": "on", "accounting-on": "on", "8": "off", "accounting-off": "off"}
# Ids begin so, and so those of one instant stand in their order.
_RANKS: Final = {"start": 0, "interim": 1, "stop": 2}
# RFC 2866, section 5.10. 19 to 22: RFC 3580, section 2.2.
_CAUSES: Final = (
    "User-Request", "Lost-Carrier", "Lost-Service", "Idle-Timeout", "Session-Timeout", "Admin-Reset", "Admin-Reboot",
    "Port-Error", "NAS-Error", "NAS-Request", "NAS-Reboot", "Port-Unneeded", "Port-Preempted", "Port-Suspended",
    "Service-Unavailable", "Callback", "User-Error", "Host-Request", "Supplicant-Restart", "Reauthentication-Failure",
    "Port-Reinitialized", "Port-Administratively-Disabled",
)  # fmt: skip
# The same counters without a time are one fact within a day: a packet is sent again within minutes, a detail file is
# replayed within hours. Across midnight a repetition is a second reading of the same counters, which adds nothing.
_RESEND_WINDOW_S: Final = 86_400
# A NAS that says twice within a minute that it has restarted says so once.
_RESTART_WINDOW_S: Final = 60
# A packet that has been tried for longer is a counter gone wrong.
_DELAY_S_MAX: Final = 366 * 86_400
_NAS_CHARS_MAX: Final = 200

_MAC: Final = re.compile(r"[0-9A-Fa-f]{12}", re.ASCII)
_MAC_MARKS: Final = re.compile(r"[-:.]")
_CALLED: Final = re.compile(r"((?:[0-9A-Fa-f]{2}[-:.]?){6})(?::(.*))?", re.ASCII | re.DOTALL)
# FreeRADIUS' policy `insert_acct_class`.
_LOGIN_CLASS: Final = re.compile(r"ai:(?:[0-9a-f]{32}|[0-9a-f]{64})", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@\s\\]+@[^@\s]+\.[^@\s.]+")


def read(
    setup: Setup, attributes: Mapping[str, Json], *, received_at: datetime, sender: str | None = None
) -> list[Parsed]:
    """Return the event of a request with `attributes`: RFC names to integers or text, the first value of each.

    Nothing where it is none that counts. `sender`: the NAS as the network knows it, where it names itself by nothing.
    Raises BadInput (`bad_payload`).
    """
    fields = Fields(attributes)
    word = fields.text("Acct-Status-Type").strip().lower()
    nas = _nas(fields) or sender
    if word in _RESTARTS:
        return [_restarted(setup, fields, nas, _RESTARTS[word], received_at)]
    status = _STATUSES.get(word)
    if status is None:
        return []
    timed, delay_s = _time(setup, fields), _delay_s(fields)
    station = mac_of(fields.opt_text("Calling-Station-Id"))
    session = _session(fields, nas, station)
    seconds = _count(fields, "Acct-Session-Time")
    up, down = (_octets(fields, direction) for direction in ("Input", "Output"))
    if status == "start":
        seconds, up, down = seconds or 0, up or 0, down or 0
    if setup.options["swap_octets"]:
        up, down = down, up
    ap, ssid = _called(fields.opt_text("Called-Station-Id"))
    linked = fields.opt_text("Acct-Multi-Session-Id")
    fact: tuple[Json, ...] = (session, status, seconds, down, up)
    if timed.time is not None:
        name = digest(*fact, str(timed.time))
    else:
        name = window_id(received_at - timedelta(seconds=delay_s), _RESEND_WINDOW_S, *fact)
    return [
        usage_event(
            setup,
            kind=KIND,
            id=f"{_RANKS[status]}-{status}-{name}",
            type=WIFI_SESSION,
            subject=_subject(setup, fields, station),
            time=timed.time,
            flag=timed.flag,
            delay_s=delay_s,
            data={
                "session": session,
                "status": status,
                "seconds": seconds,
                "bytes_in": down,
                "bytes_out": up,
                "ap": ap,
                "ssid": ssid,
                "nas": nas,
                "protocol": PROTOCOL,
                # What roaming strings together; a digest, for some NASes write the station's address into it.
                "roaming": None if linked is None else digest(linked),
                "cause": _cause(fields) if status == "stop" else None,
            },
        )
    ]


def mac_of(text: str | None) -> str | None:
    """Return a MAC address of any form as twelve digits in lower case; None: it is none, or all zeros."""
    digits = _MAC_MARKS.sub("", (text or "").strip())
    return digits.lower() if _MAC.fullmatch(digits) and digits.strip("0") else None


def session_of(*parts: Json) -> str:
    """Return the name of a session by what makes it one."""
    return digest(*parts)


def _restarted(setup: Setup, fields: Fields, nas: str | None, word: str, received_at: datetime) -> Parsed:
    """Return the event that every session of a NAS is over; whoever keeps sessions ends them at their last reading."""
    if nas is None:
        raise bad_payload("the request names no NAS; NAS-Identifier or NAS-IP-Address is documented here")
    timed, delay_s = _time(setup, fields), _delay_s(fields)
    fact = (nas, word, fields.opt_text("Acct-Session-Id"))
    if timed.time is not None:
        name = digest(*fact, str(timed.time))
    else:
        name = window_id(received_at - timedelta(seconds=delay_s), _RESTART_WINDOW_S, *fact)
    data = {"nas": nas, "status": word}
    return usage_event(
        setup,
        kind=KIND,
        id=f"nas-{word}-{name}",
        type=NAS_RESTARTED,
        time=timed.time,
        flag=timed.flag,
        delay_s=delay_s,
        data=data,
    )


def _nas(fields: Fields) -> str | None:
    """Return the NAS by identifier and address: one identifier may stand for all access points of a controller."""
    names = [fields.opt_text(name) for name in ("NAS-Identifier", "NAS-IP-Address", "NAS-IPv6-Address")]
    nas = "/".join(name for name in names if name is not None)
    return None if not nas else nas if len(nas) <= _NAS_CHARS_MAX else digest(nas)


def _session(fields: Fields, nas: str | None, station: str | None) -> str:
    login, given = fields.opt_text("Class") or "", fields.opt_text("Acct-Session-Id")
    if given is None:
        return session_of("unique", fields.text("Acct-Unique-Session-Id"))
    return session_of("class", login, given) if _LOGIN_CLASS.fullmatch(login) else session_of(nas, given, station)


def _time(setup: Setup, fields: Fields) -> Timed:
    """Return the Event-Timestamp: seconds since 1970, RFC 3339, or FreeRADIUS' local date."""
    value = fields.opt_text("Event-Timestamp")
    if value is None:
        return Timed(None)
    if value.isascii() and value.isdecimal() and len(value) <= 18:
        return from_epoch(int(value), what="Event-Timestamp")
    if value[:4].isdecimal():
        try:
            return Timed(parse_instant(value, what="Event-Timestamp"))
        except BadInput as error:
            raise bad_payload(error.detail) from error
    return from_abbreviated(value, setup.timezone, what="Event-Timestamp")


def _delay_s(fields: Fields) -> int:
    delay_s = _count(fields, "Acct-Delay-Time") or 0
    return delay_s if delay_s <= _DELAY_S_MAX else 0


def _count(fields: Fields, name: str) -> int | None:
    value = fields.opt_integer(name)
    if value is not None and value < 0:
        raise bad_payload(f"{name} is {value}; a count is documented here")
    return value


def _octets(fields: Fields, direction: str) -> int | None:
    """Return the octets of a direction; those of a server that sums them itself pass as they are."""
    octets, gigawords = _count(fields, f"Acct-{direction}-Octets"), _count(fields, f"Acct-{direction}-Gigawords")
    if octets is None and gigawords is None:
        return None
    if (gigawords or 0) >= 2**31:
        raise bad_payload(f"Acct-{direction}-Gigawords is {gigawords}; no line has carried so much")
    return (gigawords or 0) << 32 | (octets or 0)


def _subject(setup: Setup, fields: Fields, station: str | None) -> str | None:
    user = (fields.opt_text("User-Name") or "").strip()
    if mac_of(user) is not None:  # a device that was let in by its address
        station, user = station or mac_of(user), ""
    if user and not _is_anonymous(setup, user):
        kind = setup.options["user_is"]
        return f"{'email' if kind == 'email' or (kind == 'auto' and _ADDRESS.fullmatch(user)) else 'user'}:{user}"
    charged = (fields.opt_text("Chargeable-User-Identity") or "").strip("\0 ")
    if charged:
        return f"cui:{charged}"
    login, kind = fields.opt_text("Class"), setup.options["class_is"]
    if kind and login and not _LOGIN_CLASS.fullmatch(login):
        return f"{kind}:{login}"
    return None if station is None else f"mac:{station}"


def _is_anonymous(setup: Setup, user: str) -> bool:
    name = user.partition("@")[0].rpartition("\\")[2].strip().lower()
    return not name or any(name == str(other).lower() for other in setup.options["anonymous"])


def _called(text: str | None) -> tuple[str | None, str | None]:
    """Return the access point and its network of `00-10-A4-23-19-C0:Guests`; whatever else it is is the former."""
    match = _CALLED.fullmatch(text or "")
    if match is None:
        return (text[:_NAS_CHARS_MAX] if text else None), None
    digits = _MAC_MARKS.sub("", match[1]).lower()
    return "-".join(digits[place : place + 2] for place in range(0, 12, 2)), match[2] or None


def _cause(fields: Fields) -> str | None:
    value = fields.opt_text("Acct-Terminate-Cause")
    known = value is not None and value.isascii() and value.isdecimal() and 0 < int(value[:4]) <= len(_CAUSES)
    return _CAUSES[int(value) - 1] if known and value is not None else value
