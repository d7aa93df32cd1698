"""Avigilon Alta (Openpath): the Event Forwarder's hooks become door accesses.

One unlock is three events, of which only the last is an access; a chain that fails ends in one failed event:

    entry.authenticated ─▶ entry.authorized ─▶ entry.unlocked ─▶ granted      ....failed ─▶ denied, with the stage

- Handshake: an empty POST with `X-Hook-Secret` is answered with the same header.
- The body's layout and its signature are not in the public documents: where each field stands is a setting, and a
  field that is not there is a refusal whose bytes show how to set it. The secret is a token in the URL (the default),
  or the key of `X-Hook-Signature`, HMAC-SHA256 in hexadecimal, as REST Hooks have it.
- The id is the event's own; without one, a digest of when, where and who.

Facts: openpath.atlassian.net, Event Forwarder (759922713) and event definitions (1504247809), November 2026.
"""

from __future__ import annotations

from typing import Final

from meter.model.errors import BadInput
from meter.sources.clocks import Timed, from_epoch, from_epoch_ms, from_text
from meter.sources.doors.access import WAYS, access, direction_of, hint
from meter.sources.fields import Fields
from meter.sources.make import digest
from meter.sources.signature import any_equal, hmac_hex, require, require_token
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Reply, Setup, Vendor

_HANDSHAKE_HEADER: Final = "x-hook-secret"
_SIGNATURE_HEADER: Final = "x-hook-signature"
_HANDSHAKE_CHARS_MAX: Final = 256
_UNLOCKED: Final = "entry.unlocked"
_FAILED: Final = frozenset(("entry.authenticated.failed", "entry.authorized.failed", "entry.unlocked.failed"))
# Seconds since 1970 have ten digits until 2286.
_SECONDS_MAX: Final = 10**11


def greet(setup: Setup, delivery: Delivery) -> Reply | None:
    """Return the handshake's answer; where the secret is a token, only to who shows it."""
    secret = delivery.headers.get(_HANDSHAKE_HEADER, "")
    if delivery.body or not 0 < len(secret) <= _HANDSHAKE_CHARS_MAX or not (secret.isascii() and secret.isprintable()):
        return None
    if setup.options["verify"] == "token":
        try:
            require_token(setup, delivery)
        except BadInput:
            return None
    return Reply(headers={"X-Hook-Secret": secret})


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the body is from who knows a secret."""
    if setup.options["verify"] == "token":
        require_token(setup, delivery)
        return
    given = delivery.headers.get(_SIGNATURE_HEADER, "")
    require(any_equal(given, [hmac_hex(key, delivery.body) for key in setup.secrets if key]))


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_time`, or as `strict_json` does)."""
    event = Fields.of_json(delivery.body)
    kind = event.text(setup.options["type_path"])
    if kind != _UNLOCKED and kind not in _FAILED:
        return NOTHING
    door = event.text(setup.options["door_path"])
    when, timed = event.text(setup.options["time_path"]), _time(event, setup.options["time_path"])
    person, door_name = _at(setup, event, "person"), _at(setup, event, "door_name")
    granted = kind == _UNLOCKED
    return Reading(
        [
            access(
                setup,
                id=_at(setup, event, "id") or digest(when, door, person, kind),
                door=door,
                granted=granted,
                subject=None if person is None else f"alta:{person}",
                time=timed.time,
                flag=timed.flag,
                door_name=door_name,
                direction=direction_of(setup, door, door_name),
                reason=None if granted else kind,
                hint=None if person is None else hint(email=event.raw(setup.options["email_path"])),
            )
        ]
    )


def _at(setup: Setup, event: Fields, what: str) -> str | None:
    return event.opt_text(setup.options[f"{what}_path"])


def _time(event: Fields, path: str) -> Timed:
    """Return the time at `path`: RFC 3339, or seconds or milliseconds since 1970."""
    text = event.text(path)
    if not text.isdecimal():
        return from_text(text, what=path)
    number = event.integer(path)
    return from_epoch(number, what=path) if number < _SECONDS_MAX else from_epoch_ms(number, what=path)


def _path(default: str, what: str) -> Option:
    return Option(default=default, about=f"The dotted path of {what}.")


ALTA: Final = Vendor(
    title="Avigilon Alta (Openpath)",
    area="doors",
    needs=frozenset({"secrets", "site"}),
    options={
        "verify": Option(
            default="token",
            about="How the secret is shown: in the URL, or as the key of X-Hook-Signature.",
            choices=("token", "signature"),
        ),
        "type_path": _path("type", "the kind of event"),
        "id_path": _path("id", "the event's id"),
        "time_path": _path("time", "when it happened"),
        "door_path": _path("entry.id", "the entry's id"),
        "door_name_path": _path("entry.name", "the entry's name"),
        "person_path": _path("user.id", "the user's id"),
        "email_path": _path("user.email", "the user's e-mail address"),
        **WAYS,
    },
    hook=Hook(check=check, read=read, greet=greet),
    covers=(
        Covers(what="the handshake", state="done", becomes="an answer"),
        Covers(
            what="entry.unlocked, entry.*.failed",
            state="partly",
            becomes="door.access",
            note="the body's layout is not public: compare the paths below with what is among the rejections",
        ),
        Covers(what="unlocks that Alta has given up to deliver", state="not", note="nothing is polled"),
        Covers(what="entry.authenticated, entry.authorized, forced open, contact sensors", state="not"),
    ),
    facts="openpath.atlassian.net, Event Forwarder and event definitions, November 2026",
)
