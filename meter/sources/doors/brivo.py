"""Brivo Access event subscriptions: events at a site become door accesses.

- Brivo signs nothing: the source's secret is shown as `?token=` in the subscription's URL. Brivo wants a plain 200.
- `occurred` is when it happened; a panel that was offline uploads days later, and that counts where it happened.
- The id is `uuid`, which every event has; a body without it (what a subscription sends is not wholly documented) is
  known by when, where and who.
- No credential, or one with the id 0, is nobody: an exit button, an operator's click, a schedule.

Facts: a public consumer of the subscriptions and the columns of /events/access, November 2026.
"""

from __future__ import annotations

from typing import Final

from meter.sources.clocks import from_text
from meter.sources.doors.access import WAYS, access, direction_of, hint
from meter.sources.fields import Fields
from meter.sources.make import digest
from meter.sources.signature import require_token
from meter.sources.spec import Covers, Delivery, Hook, Option, Reading, Reply, Setup, Vendor

_PLAIN: Final = Reply(status=200)


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_time`, or as `strict_json` does)."""
    event = Fields.of_json(delivery.body)
    occurred = event.text("occurred")
    timed = from_text(occurred, what="occurred")
    actor, credential = _number(event, "actor.id"), _credential(event)
    details = event.object("eventData")
    if details.raw("actionAllowed") is None and actor is None and credential is None:
        return Reading(reply=_PLAIN)  # the site's subscription brings doors held open and panels gone, too
    granted = details.flag("actionAllowed")
    door = event.text(setup.options["door_path"])
    is_person = actor is not None and credential is not None
    return Reading(
        [
            access(
                setup,
                id=event.opt_text("uuid") or digest(occurred, door, actor, credential, granted),
                door=door,
                granted=granted,
                subject=f"brivo:{actor}" if is_person else None,
                time=timed.time,
                flag=timed.flag,
                direction=direction_of(setup, door),
                reason=None if granted else event.opt_text("securityAction.action") or "denied",
                credential=credential,
                hint=hint(name=event.raw("actor.name")) if is_person else None,
            )
        ],
        _PLAIN,
    )


def _credential(event: Fields) -> str | None:
    """Return the id of the first credential that has one."""
    shown = (_number(credential, "id") for credential in event.objects("eventData.credentials"))
    return next((number for number in shown if number is not None), None)


def _number(fields: Fields, path: str) -> str | None:
    """Return the id at `path`; Brivo's 0 is none."""
    number = fields.opt_text(path)
    return None if number == "0" else number


BRIVO: Final = Vendor(
    title="Brivo Access",
    area="doors",
    needs=frozenset({"secrets", "site"}),
    options={
        "door_path": Option(default="eventData.objectName", about="The dotted path of what names the door."),
        **WAYS,
    },
    hook=Hook(check=require_token, read=read),
    covers=(
        Covers(what="access events of a subscription", state="done", becomes="door.access"),
        Covers(what="doors held or forced open, panels", state="not"),
        Covers(what="/events/access by polling", state="not", note="what a subscription missed is not fetched again"),
    ),
    facts="a public consumer of event subscriptions and the columns of /events/access, November 2026",
)
