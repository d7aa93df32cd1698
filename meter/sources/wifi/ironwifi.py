"""IronWiFi's webhooks: a hosted RADIUS that passes its accounting on as JSON.

    session.start ─▶ start    session.update ─▶ interim    session.stop ─▶ stop    logins, users ─▶ nothing, counted

Published: the events' names, that a shared secret signs them, that they are about what RADIUS accounting holds. Not
published: how they are signed and what their fields are called. Both are options; fields may have the names of RADIUS
as they stand, as FreeRADIUS' bodies do, at the top, below `data` or below `session`.

Facts: help.ironwifi.com/api/webhooks, November 2026.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Final

from meter.model.event import Json
from meter.model.strict_json import strict_json
from meter.sources.fields import Fields
from meter.sources.signature import any_equal, require
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Setup, Vendor
from meter.sources.wifi import accounting
from meter.sources.wifi.freeradius import attributes_of

_STATUSES: Final = {"session.start": "Start", "session.update": "Interim-Update", "session.stop": "Stop"}
_BELOW: Final = ("data", "session", "data.session")


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the header holds the HMAC of the body by an active secret."""
    options = setup.options
    shown = delivery.headers.get(str(options["signature_header"]).lower(), "")
    given = shown.removeprefix(options["signature_prefix"])
    digests = [hmac.digest(key.encode(), delivery.body, options["signature_algorithm"]) for key in setup.secrets if key]
    expected = [
        b64encode(signature) if options["signature_encoding"] == "base64" else signature.hex().encode()
        for signature in digests
    ]
    require(any_equal(given, expected), remedy="check the secret and the options signature_...")


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the session's event. Raises BadInput (`bad_payload`, or as `strict_json` does)."""
    body = strict_json(delivery.body)
    webhook = Fields(body)
    status = _STATUSES.get(webhook.text(setup.options["event_field"]))
    if status is None:
        return NOTHING
    attributes: dict[str, Json] = {}
    for name, path in setup.options["fields"].items():
        value = webhook.raw(str(path))
        if value not in ("", None):
            attributes[name] = value
    for place in (body, *map(webhook.raw, _BELOW)):
        if isinstance(place, dict):
            attributes = attributes_of(place) | attributes
    attributes["Acct-Status-Type"] = status
    return Reading(accounting.read(setup, attributes, received_at=delivery.received_at))


IRONWIFI: Final = Vendor(
    title="IronWiFi",
    area="wifi",
    needs=frozenset({"secrets", "site"}),
    options={
        **accounting.OPTIONS,
        "signature_header": Option(default="X-IronWiFi-Signature", about="The header that holds the signature."),
        "signature_algorithm": Option(
            default="sha256", about="The digest of its HMAC.", choices=("sha1", "sha256", "sha512")
        ),
        "signature_encoding": Option(default="hex", about="How the digest is written.", choices=("hex", "base64")),
        "signature_prefix": Option(default="sha256=", about="What may stand before it."),
        "event_field": Option(default="event", about="The path of the event's name."),
        "fields": Option(
            default={}, about="Paths of RADIUS attributes whose fields are called otherwise: `{User-Name: data.login}`."
        ),
    },
    hook=Hook(check=check, read=read),
    covers=(
        Covers(
            what="session.start, session.update, session.stop",
            state="partly",
            becomes="wifi.session",
            note="its fields and its signature are not published: check the options against the first deliveries",
        ),
        Covers(what="auth.accept, auth.reject, auth.challenge", state="not", note="a login is no usage"),
        Covers(what="users", state="not", note="the directory is kept elsewhere"),
        Covers(what="reports API", state="not", note="session.stop has the same figures"),
    ),
    facts="help.ironwifi.com/api/webhooks, November 2026",
)
