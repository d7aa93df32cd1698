"""Cobot: a webhook says only which address has changed; what stands there is fetched with the token.

    {"url": ".../api/bookings/17"}     ─▶ source.changed ─▶ GET /api/bookings/17    ─▶ room.booking
    {"url": ".../api/memberships/9a"}  ─▶ source.changed ─▶ GET /api/memberships/9a ─▶ drafts of account, member, plan
    a deleted booking, whole           ─────────────────────────────────────────────▶ room.booking, cancelled

- Nothing is signed, so nothing in a notice is believed but that something changed. The address that is asked is made
  of `api_base` and the id; one of another host is refused.
- Notices have no id: each one is a reason to look, told apart by its receipt. What is found is told apart by itself.
- Where a booking does not say when it changed, the notice's receipt is the moment.

Facts: dev.cobot.me/api-docs (webhooks, memberships), November 2026; field names of bookings are not verified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.wire import Parsed
from meter.sources.api import api_request
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import TimeFlag, changed
from meter.sources.signature import require_token
from meter.sources.spaces.booking import booking_event
from meter.sources.spaces.moments import day, moment
from meter.sources.spaces.people import (
    account_draft,
    member_draft,
    our_plan,
    people_options,
    subscription_draft,
)
from meter.sources.spec import (
    NOTHING,
    Answer,
    Covers,
    Delivery,
    Fetch,
    Hook,
    Option,
    Reading,
    Request,
    Setup,
    Vendor,
)

_KINDS: Final[Mapping[str, str]] = {"bookings": "booking", "memberships": "membership"}
_PATH: Final = re.compile(r"/api/([a-z_]+)/([A-Za-z0-9_-]{1,64})/?", re.ASCII)


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the notice, or the booking that was deleted; nothing where it is about something else.

    Raises BadInput (`bad_payload`, or as `strict_json` does).
    """
    body = Fields.of_json(delivery.body)
    if body.raw("url") is None:
        return _deleted(setup, body, delivery.received_at)
    found = _named(setup, body.text("url"))
    if found is None:
        return NOTHING
    kind, object_id = found
    at = instant_text(delivery.received_at)
    return Reading([changed(setup, kind=kind, object_id=object_id, id=f"{kind}:{object_id}:{at}", at=at)])


def _named(setup: Setup, url: str) -> tuple[str, str] | None:
    """Return kind and id of the object at `url`; None where it is of no kind that is read."""
    try:
        given, own = urlsplit(url), urlsplit(setup.api_base or "")
        hosts = given.hostname, own.hostname
    except ValueError as error:
        raise bad_payload(f"url is {url[:60]!r}: {error}") from error
    if given.scheme != own.scheme or hosts[0] is None or hosts[0] != hosts[1]:
        raise bad_payload(f"url is {url[:80]!r}, which is not at api_base ({hosts[1]}); nothing else is asked")
    match = _PATH.fullmatch(given.path)
    if match is None or match[1] not in _KINDS:
        return None
    return _KINDS[match[1]], match[2]


def _deleted(setup: Setup, body: Fields, received_at: datetime) -> Reading:
    """Return a deleted booking as cancelled: it comes whole, for its address is gone."""
    if body.raw("resource") is None:
        if body.raw("id") is None:
            raise bad_payload("the body has neither url nor id; one of them is documented here")
        return NOTHING
    return Reading([_booking(setup, body, seen_at=received_at, standing=False)])


def _ask(collection: str) -> Fetch:
    read_answer = _read_booking if collection == "bookings" else _read_membership

    def request(setup: Setup, wanted: Mapping[str, Json]) -> Request:
        path = f"/api/{collection}/{wanted['object']}"
        if not _PATH.fullmatch(path):
            raise bad_payload(f"the object is {wanted['object']!r:.60}; an id is documented here")
        return api_request(setup, path)

    def read_fetched(setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
        if answer.status != 200:
            return NOTHING
        seen_at = parse_instant(str(wanted.get("at")), what="the notice's time")
        return Reading(read_answer(setup, Fields.of_json(answer.body), seen_at))

    return Fetch(request=request, read=read_fetched)


def _read_booking(setup: Setup, body: Fields, seen_at: datetime) -> list[Parsed]:
    return [_booking(setup, body, seen_at=seen_at, standing=True)]


def _booking(setup: Setup, body: Fields, *, seen_at: datetime, standing: bool) -> Parsed:
    changed_at, flag = _changed_at(setup, body, seen_at)
    membership = body.opt_object("membership")
    resource, made = body.object("resource"), body.opt_text("created_at")
    return booking_event(
        setup,
        booking=body.text("id"),
        resource=resource.text("id"),
        resource_name=resource.opt_text("name"),
        start=moment(body.text("from"), setup.timezone, what="from"),
        end=moment(body.text("to"), setup.timezone, what="to"),
        subject=None if membership is None else f"cobot:{membership.text('id')}",
        changed_at=changed_at,
        made_at=None if made is None else moment(made, setup.timezone, what="created_at"),
        standing=standing,
        flag=flag,
    )


def _changed_at(setup: Setup, body: Fields, seen_at: datetime) -> tuple[datetime, TimeFlag | None]:
    said = body.opt_text(str(setup.options["updated_field"]))
    if said is None:
        return seen_at, "fallback"
    return moment(said, setup.timezone, what=str(setup.options["updated_field"])), None


def _read_membership(setup: Setup, body: Fields, seen_at: datetime) -> list[Parsed]:
    member, name = body.text("id"), body.opt_text("name")
    time, _ = _changed_at(setup, body, seen_at)
    email = body.opt_text("email") or body.opt_text("user.email")
    drafts = [
        account_draft(setup, member, name=body.opt_text("address.company") or name, time=time),
        member_draft(setup, member, account=member, name=name, email=email, time=time),
    ]
    plan = our_plan(setup, body.opt_text("plan.id"), body.opt_text("plan.name"))
    if plan is not None:
        start = body.opt_text(str(setup.options["start_field"]))
        drafts.append(
            subscription_draft(
                setup,
                member,
                plan=plan,
                account=member,
                start=day(start, setup.timezone, what=str(setup.options["start_field"])),
                end=day(body.opt_text("canceled_to"), setup.timezone, what="canceled_to"),
                time=time,
            )
        )
    return drafts


COBOT: Final = Vendor(
    title="Cobot",
    area="spaces",
    needs=frozenset({"secrets", "site", "api_base", "api_key"}),
    options={
        **people_options("cobot"),
        "updated_field": Option(
            default="updated_at", about="The field that says when a booking or a membership changed."
        ),
        "start_field": Option(default="confirmed_at", about="The membership's field that says since when it runs."),
    },
    hook=Hook(check=require_token, read=read),
    fetches={"booking": _ask("bookings"), "membership": _ask("memberships")},
    covers=(
        Covers(
            what="created_booking, updated_booking, booking_will_begin, booking_has_ended",
            state="done",
            becomes="room.booking",
            note="fetched; counts when it was changed, or where Cobot does not say, when it told",
        ),
        Covers(
            what="deleted_booking",
            state="done",
            becomes="room.booking",
            note="cancelled; the notice holds the whole booking",
        ),
        Covers(
            what="what is told of memberships (confirmed, changed, canceled, ...)",
            state="done",
            becomes="directory.draft",
            note="fetched; account, member and subscription",
        ),
        Covers(what="deleted_membership", state="not", note="ends nothing by itself: end the subscription"),
        Covers(
            what="polling",
            state="not",
            note="the API lists bookings by their own time only: a change would not be seen",
        ),
        Covers(what="time passes, booking credits, check-ins, invoices", state="not", note="credit is the catalog's"),
    ),
    facts="dev.cobot.me/api-docs, November 2026; field names of bookings are not verified",
)
