"""Nexudus: signed webhooks with arrays of whole entities, and a poll of bookings.

    a booking (FromTime, ToTime)        ─▶ room.booking
    a customer (FullName)               ─▶ drafts of account and member; the access card is an identity
    a contract (CoworkerId, TariffId)   ─▶ draft of a subscription

- The signature is HMAC-SHA256 of the raw body in upper-case hexadecimal. There is no time in it and no id: the entity's
  id and UpdatedOn make the event.
- No webhook says which action it is of. What is deleted is told by `?event=deleted` in the address that is registered
  for that action; a cancelled booking says so itself, a tentative one is not confirmed and stands as cancelled.
- A poll's 200 may carry WasSuccessful=false: then nothing was read and it is asked again.

Facts: developers.nexudus.com (bookings, customers), the handler of kong-nexudus-webhook-hmac, November 2026.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.strict_json import exact_json, strict_json
from meter.model.wire import Parsed
from meter.sources.api import api_request
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import refused
from meter.sources.signature import any_equal, hmac_hex, require
from meter.sources.spaces.booking import booking_event
from meter.sources.spaces.moments import day, moment
from meter.sources.spaces.people import account_draft, member_draft, our_plan, people_options, subscription_draft
from meter.sources.spec import (
    Answer,
    Covers,
    Delivery,
    Feed,
    Hook,
    Page,
    Reading,
    Request,
    Setup,
    Vendor,
)

SIGNATURE_HEADER: Final = "x-nexudus-hook-signature"
_BASE: Final = "https://spaces.nexudus.com"
# Times are UTC whether they say so or not; those of the place have names of their own (FromTimeLocal).
_ZONE: Final = "UTC"
_PAGE_RECORDS: Final = 100
# Bookings that are written while a page is read have an UpdatedOn before that of the page.
_OVERLAP: Final = timedelta(minutes=10)
_FIRST: Final = timedelta(days=1)


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the body was signed with an active key."""
    expected = [hmac_hex(key, delivery.body).upper() for key in setup.secrets if key]
    require(any_equal(delivery.headers.get(SIGNATURE_HEADER, ""), expected), remedy="check the shared secret")


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return what the entities become, each by itself. Raises BadInput (`bad_payload`, or as `strict_json` does)."""
    body = strict_json(delivery.body)
    deleted = delivery.query.get("event") == "deleted"
    items: list[Parsed] = []
    for index, entity in enumerate(body if isinstance(body, list) else [body]):
        try:
            items += _entity(setup, Fields(entity, path=f"[{index}]"), deleted=deleted)
        except BadInput as error:
            items.append(refused(error, exact_json(entity).encode()))
    return Reading(items)


def _entity(setup: Setup, entity: Fields, *, deleted: bool) -> list[Parsed]:
    if entity.raw("FromTime") is not None or entity.raw("ToTime") is not None:
        return [_booking(setup, entity, deleted=deleted)]
    if entity.raw("CoworkerId") is not None and entity.raw("TariffId") is not None:
        return [] if deleted else [_contract(setup, entity)]
    if entity.raw("FullName") is not None:
        return [] if deleted else _coworker(setup, entity)
    if entity.raw("Id") is None:
        raise bad_payload("the entity has no Id; every one has")
    return []


def _updated(entity: Fields) -> datetime:
    return moment(entity.text("UpdatedOn"), _ZONE, what="UpdatedOn")


def _flag(entity: Fields, name: str) -> bool:
    return entity.raw(name) is not None and entity.flag(name)


def _booking(setup: Setup, entity: Fields, *, deleted: bool) -> Parsed:
    customer, made = entity.opt_text("CoworkerId"), entity.opt_text("CreatedOn")
    return booking_event(
        setup,
        booking=entity.text("UniqueId"),
        resource=entity.text("ResourceId"),
        resource_name=entity.opt_text("ResourceName"),
        start=moment(entity.text("FromTime"), _ZONE, what="FromTime"),
        end=moment(entity.text("ToTime"), _ZONE, what="ToTime"),
        subject=None if customer is None else f"nexudus:{customer}",
        changed_at=_updated(entity),
        made_at=None if made is None else moment(made, _ZONE, what="CreatedOn"),
        standing=not (deleted or _flag(entity, "IsCancelled") or _flag(entity, "Tentative")),
    )


def _coworker(setup: Setup, entity: Fields) -> list[Parsed]:
    customer, name, time = entity.text("Id"), entity.text("FullName"), _updated(entity)
    card = entity.opt_text("AccessCardId")
    return [
        account_draft(setup, customer, name=entity.opt_text("CompanyName") or name, time=time),
        member_draft(
            setup,
            customer,
            account=customer,
            name=name,
            email=entity.opt_text("Email"),
            identities=() if card is None else (f"badge:{card}",),
            time=time,
        ),
    ]


def _contract(setup: Setup, entity: Fields) -> Parsed:
    plan = our_plan(setup, entity.opt_text("TariffId"), entity.opt_text("TariffName"))
    if plan is None:
        raise bad_payload("the contract names no tariff; TariffId is documented here")
    return subscription_draft(
        setup,
        entity.text("Id"),
        plan=plan,
        account=entity.text("CoworkerId"),
        start=day(entity.opt_text("StartDate"), _ZONE, what="StartDate"),
        end=day(entity.opt_text("CancellationDate"), _ZONE, what="CancellationDate"),
        time=_updated(entity),
    )


# --- polling ----------------------------------------------------------------------------------------------------------


def ask_bookings(setup: Setup, cursor: Json, now: datetime) -> Request:
    """Return the request for the next page of bookings that changed since the cursor, the oldest change first."""
    since = instant_text(now - _FIRST) if cursor is None else cursor["since"]
    page = 1 if cursor is None else cursor["page"]
    return api_request(
        setup,
        "/api/spaces/bookings",
        base=_BASE,
        query={
            "from_Booking_UpdatedOn": since,
            "orderby": "UpdatedOn",
            "dir": "Ascending",
            "size": str(_PAGE_RECORDS),
            "page": str(page),
        },
    )


def read_bookings(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return the page's bookings. Raises BadInput (`bad_payload`): the vendor says that it was not successful."""
    body = Fields.of_json(answer.body)
    if body.raw("WasSuccessful") is not None and not body.flag("WasSuccessful"):
        said = body.raw("Message")
        raise bad_payload(f"Nexudus says that the request was not successful: {said!r:.200}")
    if not isinstance(body.raw("Records"), list):
        raise bad_payload("Records is missing; an array is documented here")
    items: list[Parsed] = []
    newest: datetime | None = None
    for record, told in zip(body.objects("Records"), body.raw("Records"), strict=True):
        try:
            items.append(_booking(setup, record, deleted=False))
            changed_at = _updated(record)
            newest = changed_at if newest is None else max(newest, changed_at)
        except BadInput as error:
            items.append(refused(error, exact_json(told).encode()))
    since = instant_text(answer.received_at - _FIRST) if cursor is None else str(cursor["since"])
    seen = _latest(None if cursor is None else cursor.get("newest"), newest)
    if body.raw("HasNextPage") is not None and body.flag("HasNextPage") and items:
        page = 1 if cursor is None else int(cursor["page"])
        return Page(items=items, cursor={"since": since, "page": page + 1, "newest": seen}, more=True)
    begin = since if seen is None else instant_text(parse_instant(seen, what="newest") - _OVERLAP)
    return Page(items=items, cursor={"since": max(since, begin), "page": 1, "newest": None})


def _latest(before: Json, newest: datetime | None) -> str | None:
    """Return the later of the newest change on earlier pages and on this one."""
    told = None if newest is None else instant_text(newest)
    if not isinstance(before, str) or told is None:
        return before if isinstance(before, str) else told
    return told if parse_instant(told) > parse_instant(before) else before


NEXUDUS: Final = Vendor(
    title="Nexudus",
    area="spaces",
    needs=frozenset({"secrets", "site"}),
    options=dict(people_options("nexudus")),
    hook=Hook(check=check, read=read, reads_query=("event",)),
    feeds={"bookings": Feed(every_s=300, request=ask_bookings, read=read_bookings)},
    covers=(
        Covers(
            what="bookings created and updated",
            state="done",
            becomes="room.booking",
            note="cancelled and tentative ones are cancelled; also polled, by when they changed",
        ),
        Covers(
            what="bookings deleted",
            state="done",
            becomes="room.booking",
            note="cancelled; register that action with `?event=deleted`; a poll does not see them",
        ),
        Covers(
            what="customers created and updated",
            state="done",
            becomes="directory.draft",
            note="account and member; AccessCardId is the badge",
        ),
        Covers(what="contracts", state="done", becomes="directory.draft", note="a subscription, by TariffId or name"),
        Covers(what="customers and contracts deleted", state="not", note="end them by hand"),
        Covers(what="passes, time credits, charges, invoices", state="not", note="credit is the catalog's"),
    ),
    facts="developers.nexudus.com and kong-nexudus-webhook-hmac, November 2026; contracts are not verified",
)
