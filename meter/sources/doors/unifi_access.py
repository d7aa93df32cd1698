"""UniFi Access: the controller's webhooks, and its system log by polling.

Webhook and log tell of the same acts, and nothing in them says which of the one is which of the other: a source counts
one of them (`usage_from`) and takes the other for a hint.

    usage_from   access.door.unlock webhook                          system log
    webhook      door.access                                         not counted
    log          source.changed: look at the log around now          door.access, every 60 s and when told to

Without a choice it is the log where `api_key` is set: the log has the true time and the way through the door, and
nothing in it is lost while the gateway is away.

- `Signature: t=...,v1=...` is HMAC-SHA256 of `t.body` in hexadecimal (of the body alone where `signed` says so).
- A webhook has no id and no time, and a repetition may be signed anew: the fact is "this person, this door, this
  result, around then", known by a window of the signed time; the receipt time stands in, flagged.
- A person is `unifi:` and the controller's id, where one stood at the door: a remote unlock names who clicked, not who
  came. A card that the controller does not know is `badge:`. A PIN is never passed on.

Facts: the API's reference (notification, system log) as transcribed publicly, and public receivers, November 2026.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from meter.model.errors import BadInput
from meter.model.instant import EPOCH
from meter.sources.clocks import from_epoch
from meter.sources.doors.access import BADGES, WAYS, access, direction_of
from meter.sources.doors.trail import trail_options
from meter.sources.doors.unifi_log import (
    ENTRY_METHODS,
    UNLOCK,
    by_log,
    hint_of,
    read_around,
    read_log,
    request_around,
    request_log,
    subject_of,
)
from meter.sources.fields import Fields
from meter.sources.make import changed, digest, window_id
from meter.sources.signature import any_equal, hmac_hex, require, require_recent
from meter.sources.spec import NOTHING, Covers, Delivery, Feed, Fetch, Hook, Option, Reading, Setup, Vendor

_SIGNATURE_HEADER: Final = "signature"
# The row may be written a little later than the webhook is sent, by a clock that is a little off.
_AROUND_S: Final = 120


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput unless the body was signed with an active key (`bad_signature`), and just now (`stale`)."""
    parts = [part.strip().partition("=") for part in delivery.headers.get(_SIGNATURE_HEADER, "").split(",")]
    given = [value for name, _, value in parts if name == "v1"]
    at = _signed_at(delivery)
    first = f"{at}.".encode() if setup.options["signed"] == "t.body" else b""
    expected = [hmac_hex(key, first, delivery.body) for key in setup.secrets if key]
    require(any(any_equal(value, expected) for value in given), remedy="check the secret and the option signed")
    signed_at = from_epoch(int(at), what="t").time or EPOCH
    require_recent(signed_at, delivery.received_at, skew_s_max=setup.options["skew_s"])


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the access, or where the log has it the notice to look there. Raises BadInput, as `Fields` does."""
    webhook = Fields.of_json(delivery.body)
    if webhook.text("event") != UNLOCK:
        return NOTHING
    signed_s = _signed_s(delivery)
    if by_log(setup):
        # One look a minute is enough for all who come in it; what is written later still, the next poll finds.
        minute = signed_s // 60
        since, until = minute * 60 - _AROUND_S, minute * 60 + 60 + _AROUND_S
        told = digest(minute, delivery.body.decode())
        return Reading([changed(setup, kind="log", object_id=str(minute), id=f"log:{told}", since=since, until=until)])
    door, door_name = webhook.text(setup.options["door_path"]), webhook.opt_text("data.location.name")
    result = webhook.text(setup.options["result_path"])
    how = webhook.opt_text("data.object.authentication_type") or ""
    shown = webhook.opt_text("data.object.authentication_value") if how == "NFC" else None
    actor = webhook.opt_object("data.actor")
    subject = subject_of(setup, actor, how=how, card=shown)
    way = webhook.opt_text(setup.options["direction_path"]) if setup.options["direction_path"] else None
    granted = result == setup.options["granted"]
    fact = (door, subject, how, result, way)
    return Reading(
        [
            access(
                setup,
                id=window_id(EPOCH + timedelta(seconds=signed_s), setup.options["window_s"], *fact),
                door=door,
                granted=granted,
                subject=subject,
                flag="fallback",
                door_name=door_name,
                direction=ENTRY_METHODS.get(way or "", direction_of(setup, door, door_name)),
                reason=None if granted else result,
                credential=how or None,
                hint=hint_of(actor, subject, "name"),
            )
        ]
    )


def _signed_s(delivery: Delivery) -> int:
    """Return the signed time in seconds since 1970; what is handed in again has lost its headers, and is by receipt."""
    if _SIGNATURE_HEADER in delivery.headers:
        return int(_signed_at(delivery))
    return (delivery.received_at - EPOCH) // timedelta(seconds=1)


def _signed_at(delivery: Delivery) -> str:
    """Return the signature's `t`, seconds, as it stands there. Raises BadInput (`bad_signature`) where it has none."""
    for part in delivery.headers.get(_SIGNATURE_HEADER, "").split(","):
        name, _, value = part.strip().partition("=")
        # Eleven digits reach beyond the year 5000.
        if name == "t" and value.isascii() and value.isdecimal() and len(value) <= 11:
            return value
    message = "the header Signature holds no t=SECONDS; check that the webhook is UniFi Access's own"
    raise BadInput(message, code="bad_signature")


UNIFI_ACCESS: Final = Vendor(
    title="UniFi Access",
    area="doors",
    options={
        "usage_from": Option(
            default="",
            about="What is counted, webhooks or the polled log; empty: the log where api_key is set.",
            choices=("", "webhook", "log"),
        ),
        "signed": Option(default="t.body", about="What the signature is of.", choices=("t.body", "body")),
        "skew_s": Option(default=300, about="How far the signed time may be off, in seconds."),
        "window_s": Option(default=30, about="Within how many seconds equal webhooks are one access."),
        "verify_tls": Option(default=True, about="False: the controller has a certificate of its own."),
        **trail_options(overlap_s=3600),
        "door_path": Option(default="data.location.id", about="Where a webhook names the door."),
        "result_path": Option(default="data.object.result", about="Where a webhook says whether the door opened."),
        "granted": Option(default="Access Granted", about="What a webhook says there when it did."),
        "direction_path": Option(default="", about="Where a webhook says `entry` or `exit`, if it does."),
        "not_at_the_door": Option(
            default=["REMOTE", "CALL", "BUTTON", "REX", "EXIT", "SCHEDULE"],
            about="How the names of authentications begin by which somebody else opens: they are nobody's.",
        ),
        **BADGES,
        **WAYS,
    },
    hook=Hook(check=check, read=read),
    fetches={"log": Fetch(request=request_around, read=read_around)},
    feeds={"log": Feed(every_s=60, request=request_log, read=read_log, polled=by_log)},
    covers=(
        Covers(
            what="access.door.unlock", state="done", becomes="door.access", note="or a look at the log, see usage_from"
        ),
        Covers(what="system log, door_openings", state="done", becomes="door.access", note="by polling, with api_key"),
        Covers(
            what="rows that a hub uploads later than overlap_s",
            state="not",
            note="ask for more overlap where hubs go offline",
        ),
        Covers(what="doorbells, schedules, emergencies, visitors, door contacts", state="not"),
        Covers(what="websocket notifications, Alarm Manager's unsigned webhooks", state="not"),
    ),
    facts="the API's reference as transcribed publicly and public receivers, November 2026",
)
