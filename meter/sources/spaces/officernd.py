"""OfficeRnD Flex: signed webhooks with whole objects.

    booking.created, .updated, .removed ─▶ room.booking        member.*, company.*, membership.* ─▶ drafts
    everything else ─▶ nothing, counted

- The header is `officernd-signature: t=<seconds>,signature=<hex>`; signed is the body, then a full stop, then t: the
  other way round than elsewhere.
- A booking counts when it was last modified; where its object does not say so, at the signature's time.
- A tentative booking is not confirmed yet, so it stands as cancelled. A series is one object: what it comes to is not
  told, so it is refused unless the option `series` says that it counts once.
- A company's booking without a member is seen as `officernd:` and the company's id.

Facts: the vendor's webhooks-demo (signature), developer.officernd.com (bookings, memberships), November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from meter.model.wire import Parsed
from meter.sources.clocks import from_epoch
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import TimeFlag
from meter.sources.signature import any_equal, hmac_hex, require, require_recent
from meter.sources.spaces.booking import booking_event
from meter.sources.spaces.moments import day, moment
from meter.sources.spaces.people import (
    account_draft,
    member_draft,
    our_plan,
    people_options,
    subscription_draft,
)
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Setup, Vendor

SIGNATURE_HEADER: Final = "officernd-signature"
_EPOCH_DIGITS_MAX: Final = 12
_REMOVED: Final = "removed"


def _signed(delivery: Delivery) -> Mapping[str, str]:
    """Return the parts of the signature's header by name."""
    parts = (part.partition("=") for part in delivery.headers.get(SIGNATURE_HEADER, "").split(","))
    return {name.strip(): value.strip() for name, _, value in parts}


def _signed_at(delivery: Delivery) -> datetime | None:
    stamp = _signed(delivery).get("t", "")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= _EPOCH_DIGITS_MAX):
        return None
    return from_epoch(int(stamp), what="t").time


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`; `stale`) unless the body and t were signed with an active key just now."""
    signed = _signed(delivery)
    at = _signed_at(delivery)
    expected = [
        hmac_hex(key, delivery.body, b".", signed["t"].encode()) for key in setup.secrets if key and at is not None
    ]
    require(any_equal(signed.get("signature", ""), expected))
    if at is not None:
        require_recent(at, delivery.received_at, skew_s_max=int(setup.options["skew_s"]))


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the booking or the drafts in a webhook. Raises BadInput (`bad_payload`, or as `strict_json` does)."""
    webhook = Fields.of_json(delivery.body)
    what, _, action = webhook.text("eventType").partition(".")
    if what not in {"booking", "member", "company", "membership"} or action not in {"created", "updated", _REMOVED}:
        return NOTHING
    thing = webhook.object("data.object")
    fallback = _signed_at(delivery) or delivery.received_at
    if what == "booking":
        return Reading([_booking(setup, thing, fallback, removed=action == _REMOVED)])
    if action == _REMOVED:
        return NOTHING
    time, _ = _changed_at(setup, thing, fallback)
    made = {"member": _member, "company": _company, "membership": _membership}[what]
    return Reading(made(setup, thing, time))


def _changed_at(setup: Setup, thing: Fields, fallback: datetime) -> tuple[datetime, TimeFlag | None]:
    name = str(setup.options["updated_field"])
    said = thing.opt_text(name)
    return (fallback, "fallback") if said is None else (moment(said, setup.timezone, what=name), None)


def _reference(thing: Fields, *names: str) -> str | None:
    """Return the id that one of the fields refers to: a string, or the object itself with its `_id`."""
    for name in names:
        if isinstance(thing.raw(name), dict):
            return thing.object(name).text("_id")
        if (given := thing.opt_text(name)) is not None:
            return given
    return None


def _when(thing: Fields, setup: Setup, name: str) -> datetime:
    path = f"{name}.dateTime" if isinstance(thing.raw(name), dict) else name
    return moment(thing.text(path), setup.timezone, what=path)


def _booking(setup: Setup, thing: Fields, fallback: datetime, *, removed: bool) -> Parsed:
    if setup.options["series"] == "refuse" and thing.opt_text("recurrence.rrule") is not None:
        raise bad_payload("recurrence.rrule says that this is a series, and what it comes to is not told; see `series`")
    changed_at, flag = _changed_at(setup, thing, fallback)
    resource = _reference(thing, "resourceId", "resource")
    if resource is None:
        raise bad_payload("resourceId is missing; a string is documented here")
    who = _reference(thing, "member") or _reference(thing, "team", "company")
    off = removed or any(thing.raw(name) is not None and thing.flag(name) for name in ("canceled", "tentative"))
    return booking_event(
        setup,
        booking=thing.text("_id"),
        resource=resource,
        resource_name=None,
        start=_when(thing, setup, "start"),
        end=_when(thing, setup, "end"),
        subject=None if who is None else f"officernd:{who}",
        changed_at=changed_at,
        made_at=None if thing.opt_text("createdAt") is None else _when(thing, setup, "createdAt"),
        standing=not off,
        flag=flag,
    )


def _member(setup: Setup, thing: Fields, time: datetime) -> list[Parsed]:
    member, name = thing.text("_id"), thing.opt_text("name")
    company = _reference(thing, "team", "company")
    drafts = [] if company is not None else [account_draft(setup, member, name=name, time=time)]
    email = thing.opt_text("email")
    return [*drafts, member_draft(setup, member, account=company or member, name=name, email=email, time=time)]


def _company(setup: Setup, thing: Fields, time: datetime) -> list[Parsed]:
    return [account_draft(setup, thing.text("_id"), name=thing.opt_text("name"), time=time)]


def _membership(setup: Setup, thing: Fields, time: datetime) -> list[Parsed]:
    holder = _reference(thing, "team", "company")
    member = _reference(thing, "member")
    name = thing.opt_text("plan.name") if isinstance(thing.raw("plan"), dict) else thing.opt_text("name")
    plan = our_plan(setup, _reference(thing, "plan"), name)
    if plan is None or (holder or member) is None:
        raise bad_payload("the membership has no plan, or neither company nor member; both are documented here")
    # A company's membership that names a member is that member's own; of one without, the company has the seats.
    start = day(thing.opt_text("startDate"), setup.timezone, what="startDate")
    end = day(thing.opt_text("endDate"), setup.timezone, what="endDate")
    whose = {"member": member} if member is not None and holder is not None else {"account": holder or member}
    return [subscription_draft(setup, thing.text("_id"), plan=plan, **whose, start=start, end=end, time=time)]


OFFICERND: Final = Vendor(
    title="OfficeRnD Flex",
    area="spaces",
    needs=frozenset({"secrets", "site"}),
    options={
        **people_options("officernd"),
        "updated_field": Option(default="modifiedAt", about="The field of an object that says when it changed."),
        "skew_s": Option(default=300, about="So many seconds may a signature's time be off, either way."),
        "series": Option(
            default="refuse",
            choices=("refuse", "once"),
            about="What becomes of a repeated booking, sent as one object.",
        ),
    },
    hook=Hook(check=check, read=read),
    covers=(
        Covers(
            what="booking.created, booking.updated, booking.removed",
            state="partly",
            becomes="room.booking",
            note="removed and tentative ones are cancelled; a series is refused, or counts once",
        ),
        Covers(
            what="member.created, member.updated, company.created, company.updated",
            state="done",
            becomes="directory.draft",
        ),
        Covers(
            what="membership.created, membership.updated",
            state="done",
            becomes="directory.draft",
            note="a subscription of the company, or of the member where it names one",
        ),
        Covers(what="member.removed, company.removed, membership.removed", state="not", note="end them by hand"),
        Covers(what="invoices, fees, contracts, tickets, passes, check-ins, coins", state="not"),
        Covers(what="polling", state="not"),
    ),
    facts="the vendor's webhooks-demo and developer.officernd.com, November 2026; event times are not verified",
)
