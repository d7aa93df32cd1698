"""Optix: a webhook names the booking, the GraphQL interface tells it.

    member_booking_created, _updated, _cancelled ─▶ source.changed ─▶ query ─▶ room.booking

- Nothing is signed: the secret stands in the address, and nothing in a notice is believed but that something changed.
- The query asks under names of our own (GraphQL aliases). Where the vendor's schema names a field otherwise, the option
  `query` is written anew and nothing else changes.
- Times are seconds since 1970. A booking that does not say when it changed counts at its notice's receipt.

Facts: developer.optixapp.com (app settings, throttling), November 2026; field names are not verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.sources.clocks import from_epoch
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import TimeFlag, changed
from meter.sources.signature import require_token
from meter.sources.spaces.booking import booking_event
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

_ADDRESS: Final = "https://api.optixapp.com/graphql"
_QUERY: Final = (
    "query($id: ID!) { booking: booking(booking_id: $id) { id: booking_id start: start_timestamp end: end_timestamp "
    "cancelled: is_canceled made: created_timestamp updated: updated_timestamp resource { id: resource_id name } "
    "account { member: member_id team: team_id } } }"
)


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the notice; nothing where it is about no booking. Raises BadInput (`bad_payload`, as `strict_json`)."""
    notice = Fields.of_json(delivery.body)
    if "booking" not in notice.text(str(setup.options["event_field"])):
        return NOTHING
    booking = notice.text(str(setup.options["id_field"]))
    at = instant_text(delivery.received_at)
    return Reading([changed(setup, kind="booking", object_id=booking, id=f"booking:{booking}:{at}", at=at)])


def _request(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    asked = {"query": setup.options["query"], "variables": {"id": str(wanted["object"])}}
    return Request(
        method="POST",
        url=setup.api_base or _ADDRESS,
        headers={"Authorization": f"Bearer {setup.api_key}", "Content-Type": "application/json"},
        body=msgspec.json.encode(asked),
    )


def _read_answer(setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
    body = Fields.of_json(answer.body)
    if answer.status != 200 or body.raw("errors"):
        raise bad_payload(f"Optix answers {answer.status} with errors: {body.raw('errors')!r:.300}; see `query`")
    booking = body.object("data").opt_object("booking")
    if booking is None:
        return NOTHING
    who = booking.opt_text("account.member") or booking.opt_text("account.team")
    changed_at, flag = _changed_at(booking, wanted)
    event = booking_event(
        setup,
        booking=booking.text("id"),
        resource=booking.text("resource.id"),
        resource_name=booking.opt_text("resource.name"),
        start=_moment(booking, "start"),
        end=_moment(booking, "end"),
        subject=None if who is None else f"optix:{who}",
        changed_at=changed_at,
        made_at=None if booking.raw("made") is None else _moment(booking, "made"),
        standing=booking.raw("cancelled") is None or not booking.flag("cancelled"),
        flag=flag,
    )
    return Reading([event])


def _changed_at(booking: Fields, wanted: Mapping[str, Json]) -> tuple[datetime, TimeFlag | None]:
    if booking.raw("updated") is None:
        return parse_instant(str(wanted.get("at")), what="the notice's time"), "fallback"
    return _moment(booking, "updated"), None


def _moment(booking: Fields, name: str) -> datetime:
    time = from_epoch(booking.integer(name), what=name).time
    if time is None:
        raise bad_payload(f"{name} is {booking.raw(name)}; seconds since 1970 are documented here")
    return time


OPTIX: Final = Vendor(
    title="Optix",
    area="spaces",
    needs=frozenset({"secrets", "site", "api_key"}),
    options={
        "event_field": Option(default="event", about="The field of a notice that names what happened."),
        "id_field": Option(default="booking_id", about="The field of a notice that names the booking; dots lead on."),
        "query": Option(default=_QUERY, about="What is asked of a booking; it answers under these names."),
    },
    hook=Hook(check=require_token, read=read),
    fetches={"booking": Fetch(request=_request, read=_read_answer)},
    covers=(
        Covers(
            what="bookings created, changed, cancelled",
            state="partly",
            becomes="room.booking",
            note="fetched; the notice's and the schema's names are not verified, so they are settings",
        ),
        Covers(what="members, teams, plan subscriptions", state="not"),
        Covers(what="polling", state="not"),
        Covers(what="allowances, invoices", state="not", note="credit is the catalog's"),
    ),
    facts="developer.optixapp.com, November 2026; field names are not verified",
)
