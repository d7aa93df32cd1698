r"""FreeRADIUS' accounting over HTTP (rlm_rest): whatever form its body has, the attributes in it are read as RADIUS.

    v3      {"Acct-Status-Type": {"type": "integer", "value": ["Stop"]}, ...}      names, or numbers with raw_value
    v4      {"Acct-Status-Type": "Stop", ...}  or  [{"name": ..., "value": ...}, ...], with a prefix or without
    by hand {"username": "%{User-Name}", "session": ""}                            "" stands for what is missing

A v3 date is the server's local time with its zone's abbreviation: set `timezone`, or send `%{integer:Event-Timestamp}`.
The answer is 204 after the commit, and never any of what was sent: v3 expands `%{...}` in answers. What is no JSON (an
unescaped quote in a body written by hand) is kept among the rejections and answered too: it would come again as it is.

Facts: FreeRADIUS v3.2.x @0ee591a (rest.c, print.c) and v4 @65a8088 (json.c), November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.strict_json import strict_json
from meter.sources.fields import bad_payload
from meter.sources.make import refused
from meter.sources.signature import require_token
from meter.sources.spec import Covers, Delivery, Hook, Option, Reading, Reply, Setup, Vendor
from meter.sources.wifi import accounting

# What bodies written by hand call attributes, without case and marks; the RFC's own names need no entry.
_BY_HAND: Final[Mapping[str, str]] = {
    "username": "User-Name",
    "user": "User-Name",
    "status": "Acct-Status-Type",
    "statustype": "Acct-Status-Type",
    "session": "Acct-Session-Id",
    "sessionid": "Acct-Session-Id",
    "uniqueid": "Acct-Unique-Session-Id",
    "sessiontime": "Acct-Session-Time",
    "inputoctets": "Acct-Input-Octets",
    "outputoctets": "Acct-Output-Octets",
    "inputgigawords": "Acct-Input-Gigawords",
    "outputgigawords": "Acct-Output-Gigawords",
    "timestamp": "Event-Timestamp",
    "mac": "Calling-Station-Id",
    "callingstation": "Calling-Station-Id",
    "calledstation": "Called-Station-Id",
    "nas": "NAS-Identifier",
    "nasip": "NAS-IP-Address",
    "cause": "Acct-Terminate-Cause",
    "cui": "Chargeable-User-Identity",
}
_READ: Final = (
    "User-Name", "Acct-Status-Type", "Acct-Session-Id", "Acct-Unique-Session-Id", "Acct-Multi-Session-Id",
    "Acct-Session-Time", "Acct-Input-Octets", "Acct-Output-Octets", "Acct-Input-Gigawords", "Acct-Output-Gigawords",
    "Acct-Delay-Time", "Acct-Terminate-Cause", "Event-Timestamp", "Calling-Station-Id", "Called-Station-Id",
    "NAS-Identifier", "NAS-IP-Address", "NAS-IPv6-Address", "Class", "Chargeable-User-Identity",
)  # fmt: skip
_MARKS: Final = str.maketrans("", "", "-_. ")


def _plain(name: str) -> str:
    return name.translate(_MARKS).lower()


_NAMES: Final[Mapping[str, str]] = {**_BY_HAND, **{_plain(name): name for name in _READ}}


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the event of a request, or its refusal; both are answered without a body."""
    try:
        names = {_plain(name): str(known) for name, known in setup.options["names"].items()}
        attributes = attributes_of(_json(delivery.body), prefix=setup.options["prefix"], names=names)
        items = accounting.read(setup, attributes, received_at=delivery.received_at)
    except BadInput as error:
        items = [refused(error, delivery.body)]
    return Reading(items, reply=Reply(status=204))


def _json(body: bytes) -> Json:
    """Return the body's JSON; what no text may hold (octets of a Class, Latin-1 names) is replaced in it.

    Usage is counted whatever its attributes of no use look like. Raises BadInput, as `strict_json` does.
    """
    return strict_json(body.decode(errors="replace").replace("\\u0000", "\\ufffd").encode())


def attributes_of(body: Json, *, prefix: str = "", names: Mapping[str, str] | None = None) -> dict[str, Json]:
    """Return RFC names and first values of a request's JSON; what is "" or unknown is left out.

    `names`: further names, plain, to the RFC's. Raises BadInput (`bad_payload`).
    """
    known_names = {**_NAMES, **(names or {})}
    found: dict[str, Json] = {}
    for name, value in _pairs(body):
        known = known_names.get(_plain(name.removeprefix(prefix)))
        if known is not None and value not in ("", None):
            # The first of several counts, as in a packet.
            found.setdefault(known, value)
    return found


def _pairs(body: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(body, list):
        for item in body:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise bad_payload("the body is an array of something else than attributes with name and value")
            yield item["name"], _first(item.get("value"))
    elif isinstance(body, dict):
        for name, value in body.items():
            yield name, _first(value.get("value") if isinstance(value, dict) else value)
    else:
        raise bad_payload("the body is no object; an object of attributes is documented here")


def _first(value: Json) -> Json:
    return (value[0] if value else None) if isinstance(value, list) else value


FREERADIUS: Final = Vendor(
    title="FreeRADIUS",
    area="wifi",
    needs=frozenset({"secrets", "site"}),
    options={
        **accounting.OPTIONS,
        "prefix": Option(default="", about="What stands before each attribute's name in the JSON of version 4."),
        "names": Option(
            default={},
            about="Names of a body written by hand to the RFC's, like `{who: User-Name}`, beside the usual ones.",
        ),
    },
    hook=Hook(check=require_token, read=read),
    covers=(
        Covers(
            what="Start, Interim-Update, Stop", state="done", becomes="wifi.session", note="counters are cumulative"
        ),
        Covers(what="Accounting-On, Accounting-Off", state="done", becomes="nas.restarted"),
        Covers(what="tunnels, failures", state="not", note="nothing is counted by them"),
        Covers(what="authorize, authenticate", state="not", note="a login is no usage; the gateway answers no logins"),
    ),
    facts="FreeRADIUS v3.2.x @0ee591a and v4 @65a8088, RFC 2866, 2869, 4372; November 2026",
)
