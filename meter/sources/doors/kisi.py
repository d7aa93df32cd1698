"""Kisi's event webhooks: unlocks become door accesses.

    lock.unlock ─▶ success: granted; else denied, with Kisi's reason          every other type ─▶ nothing, counted

- The id is Kisi's `uuid`: the documents say that one event may be sent several times.
- Only an actor of type User is a person (`kisi:17`). A link, an API key, a schedule or an exit button opens for nobody
  whom Kisi names: the event has no subject and is in no bill.
- One lock is one way: it is an entry unless the settings say otherwise.
- `X-Signature` is the body's HMAC-SHA256. Whether in hexadecimal or base64 is not documented, so it is a setting. It
  holds no time: a replayed body is a duplicate.

Facts: docs.kisi.io, event webhooks and track unlocks, November 2026.
"""

from __future__ import annotations

from typing import Final

from meter.sources.clocks import from_text
from meter.sources.doors.access import WAYS, access, direction_of, hint
from meter.sources.fields import Fields
from meter.sources.signature import any_equal, hmac_base64, hmac_hex, require
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Setup, Vendor

_SIGNATURE_HEADER: Final = "x-signature"


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the body was signed with an active key."""
    in_hex = setup.options["encoding"] == "hex"
    given = delivery.headers.get(_SIGNATURE_HEADER, "")
    encode, given = (hmac_hex, given.lower()) if in_hex else (hmac_base64, given)
    expected = [encode(key, delivery.body) for key in setup.secrets if key]
    require(any_equal(given, expected), remedy="check the signature key and the option encoding")


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_time`, or as `strict_json` does)."""
    event = Fields.of_json(delivery.body)
    if event.text("type") != "lock.unlock":
        return NOTHING
    lock, lock_name = event.text("object_id"), event.opt_text("object_name")
    granted = event.flag("success")
    timed = from_text(event.text("created_at"), what="created_at")
    actor_type, actor = event.opt_text("actor_type"), event.opt_text("actor_id")
    is_person = actor_type == "User" and actor is not None
    return Reading(
        [
            access(
                setup,
                id=event.text("uuid"),
                door=lock,
                granted=granted,
                subject=f"kisi:{actor}" if is_person else None,
                time=timed.time,
                flag=timed.flag,
                door_name=lock_name,
                direction=direction_of(setup, lock, lock_name),
                reason=None if granted else event.opt_text("error_code") or event.opt_text("error_message"),
                by=None if is_person else actor_type,
                hint=hint(name=event.raw("actor_name")) if is_person else None,
            )
        ]
    )


KISI: Final = Vendor(
    title="Kisi",
    area="doors",
    needs=frozenset({"secrets", "site"}),
    options={
        "encoding": Option(default="hex", about="How X-Signature is written.", choices=("hex", "base64")),
        **WAYS,
    },
    hook=Hook(check=check, read=read),
    covers=(
        Covers(what="lock.unlock", state="done", becomes="door.access", note="a failed one with granted false"),
        Covers(
            what="unlocks that Kisi has given up to deliver",
            state="not",
            note="how often it tries is not documented, and nothing is polled",
        ),
        Covers(what="members, groups, lockdowns, contact sensors", state="not"),
    ),
    facts="docs.kisi.io, event webhooks and track unlocks, November 2026",
)
