"""Cisco Meraki's dashboard webhooks: checked and acknowledged; none of them is usage.

The default template signs nothing: the shared secret stands in the body, in clear. It is compared in constant time, and
taken out of whatever is kept. A template of one's own may rename the field: `secret_field`.

Alerts say that something happened, never how much was used, and hold no counters; `occurredAt` may lie far before
`sentAt`. For usage have the access points send RADIUS accounting.

Facts: github.com/meraki/webhook-payload-templates @81fe37b, body.liquid and its 51 samples, November 2026.
"""

from __future__ import annotations

import re
from typing import Final

from meter.model.errors import BadInput
from meter.model.strict_json import strict_json
from meter.sources.fields import Fields
from meter.sources.make import refused
from meter.sources.signature import any_equal, require
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Setup, Vendor

_REDACTED: Final = rb'\1"redacted"'


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the body shows an active secret."""
    try:
        body = strict_json(delivery.body)
    except BadInput:
        body = None
    shown = body.get(setup.options["secret_field"]) if isinstance(body, dict) else None
    expected = [secret.encode() for secret in setup.secrets if secret]
    require(any_equal(shown if isinstance(shown, str) else "", expected), remedy="check the shared secret")


def redacted(setup: Setup, delivery: Delivery) -> bytes:
    """Return the body without its secret, whether it is JSON or not, and without ours wherever they stand."""
    field = re.escape(str(setup.options["secret_field"]).encode())
    body = re.sub(rb'("' + field + rb'"\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|[^\s,}]+)', _REDACTED, delivery.body)
    for secret in filter(None, setup.secrets):
        body = body.replace(secret.encode(), b"redacted")
    return body


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return nothing; what is no alert is a refusal, without the secret."""
    try:
        Fields.of_json(delivery.body).text("alertTypeId")
    except BadInput as error:
        return Reading([refused(error, redacted(setup, delivery))])
    return NOTHING


MERAKI: Final = Vendor(
    title="Cisco Meraki dashboard",
    area="wifi",
    needs=frozenset({"secrets", "site"}),
    options={"secret_field": Option(default="sharedSecret", about="The field of the body that holds the secret.")},
    hook=Hook(check=check, read=read, redact=redacted),
    covers=(
        Covers(
            what="alerts (client_connectivity and 50 others)",
            state="not",
            note="no counters, so no usage; have the access points send RADIUS accounting",
        ),
        Covers(what="clients API", state="not", note="its usage is a network's total, not a session's"),
    ),
    facts="meraki/webhook-payload-templates @81fe37b, November 2026",
)
