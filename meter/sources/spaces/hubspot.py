"""HubSpot: a deal that is won becomes a draft of a member.

    deal.propertyChange, dealstage = closedwon ─▶ source.changed ─▶ the deal ─▶ source.changed ─▶ its contacts ─▶ drafts

- A batch is a JSON array in no order; each change is one notice, told apart by portal, subscription, event, object and
  time, for the event's id alone is not unique.
- Version 3 of the signature covers method, address, body and a time in milliseconds; HubSpot's own library does not
  refuse a time that is ahead, this does. Versions 1 and 2 hold no time and are read only where they are set.
- The deal is asked anew: one that was reopened meanwhile is no member.

Facts: developers.hubspot.com (validating requests) and the vendor's own examples of each version, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import unquote

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.strict_json import exact_json, strict_json
from meter.model.wire import Parsed
from meter.sources.api import api_request
from meter.sources.clocks import from_epoch_ms
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import changed, refused
from meter.sources.signature import any_equal, hmac_base64, require, require_recent
from meter.sources.spaces.moments import day, moment
from meter.sources.spaces.people import account_draft, member_draft, our_plan, people_options, subscription_draft
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

_BASE: Final = "https://api.hubapi.com"
# The vendor's own limit for a signature's age.
_SKEW_S_MAX: Final = 300
_STAMP_DIGITS_MAX: Final = 15
# The percent-escapes that are decoded before the address is signed (validating requests, version 3).
_DECODED: Final = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_DEAL_TYPE: Final = "0-3"


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`; `stale`) unless HubSpot signed the request with an active key."""
    version = setup.options["signature"]
    if version != "v3":
        given = delivery.headers.get("x-hubspot-signature", "")
        require(any_equal(given, [_hashed(setup, delivery, key) for key in setup.secrets if key]))
        return
    stamp = delivery.headers.get("x-hubspot-request-timestamp", "")
    require(stamp.isascii() and stamp.isdecimal() and len(stamp) <= _STAMP_DIGITS_MAX)
    address = _DECODED.sub(lambda escape: unquote(escape[0]), setup.url or "")
    head = f"{delivery.method}{address}".encode()
    expected = [hmac_base64(key, head, delivery.body, stamp.encode()) for key in setup.secrets if key]
    require(any_equal(delivery.headers.get("x-hubspot-signature-v3", ""), expected), remedy="check secret and url")
    signed_at = from_epoch_ms(int(stamp), what="the signature's time").time
    require(signed_at is not None)
    if signed_at is not None:
        require_recent(signed_at, delivery.received_at, skew_s_max=_SKEW_S_MAX)


def _hashed(setup: Setup, delivery: Delivery, key: str) -> bytes:
    """Return the signature of version 1 or 2: a hash that begins with the secret."""
    address = f"{delivery.method}{setup.url or ''}" if setup.options["signature"] == "v2" else ""
    return sha256(key.encode() + address.encode() + delivery.body).hexdigest().encode()


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return a notice for each deal that was won. Raises BadInput (`bad_payload`, or as `strict_json` does)."""
    batch = strict_json(delivery.body)
    if not isinstance(batch, list):
        raise bad_payload("the body is no array; a batch is documented here")
    items: list[Parsed] = []
    for index, change in enumerate(batch):
        try:
            items += _notice(setup, Fields(change, path=f"[{index}]"))
        except BadInput as error:
            items.append(refused(error, exact_json([change]).encode()))
    return Reading(items)


def _notice(setup: Setup, change: Fields) -> list[Parsed]:
    kind = change.text("subscriptionType")
    of_deal = kind == "deal.propertyChange" or (
        kind == "object.propertyChange" and change.opt_text("objectTypeId") == _DEAL_TYPE
    )
    if not of_deal or change.opt_text("propertyName") != "dealstage":
        return []
    if change.opt_text("propertyValue") not in setup.options["won_stages"]:
        return []
    names = ("portalId", "subscriptionId", "eventId", "objectId", "occurredAt")
    time = from_epoch_ms(change.integer("occurredAt"), what="occurredAt").time
    if time is None:
        raise bad_payload(f"occurredAt is {change.integer('occurredAt')}; milliseconds since 1970 are documented here")
    told_apart = ":".join(change.text(name) for name in names)
    return [changed(setup, kind="deal", object_id=change.text("objectId"), id=f"deal:{told_apart}", time=time)]


def _request(setup: Setup, path: str, query: Mapping[str, str]) -> Request:
    return api_request(setup, f"/crm/v3/objects/{path}", base=_BASE, query=query)


def _object_id(wanted: Mapping[str, Json]) -> str:
    """Return the id to ask for. Raises BadInput (`bad_payload`): HubSpot's are numbers, and it becomes an address."""
    named = str(wanted["object"])
    if not (named.isascii() and named.isdecimal()):
        raise bad_payload(f"the object is {named[:40]!r}; a number is documented here")
    return named


def _ask_deal(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    plan = str(setup.options["plan_property"])
    properties = ",".join(filter(None, ("dealname", "dealstage", "closedate", "hs_lastmodifieddate", plan)))
    query = {"associations": "contacts,companies", "properties": properties}
    return _request(setup, f"deals/{_object_id(wanted)}", query)


def _read_deal(setup: Setup, _wanted: Mapping[str, Json], answer: Answer) -> Reading:
    if answer.status != 200:
        return NOTHING
    deal = Fields.of_json(answer.body)
    if deal.text("properties.dealstage") not in setup.options["won_stages"]:
        return NOTHING
    deal_id, time = deal.text("id"), _modified(deal)
    company = next(iter(_associated(deal, "companies")), None)
    more: dict[str, Json] = {"deal": deal_id, "company": company, "at": instant_text(time)}
    items: list[Parsed] = []
    for contact in _associated(deal, "contacts"):
        notice_id = f"contact:{contact}:{deal_id}:{instant_text(time)}"
        items.append(changed(setup, kind="contact", object_id=contact, id=notice_id, time=time, **more))
    plan = our_plan(setup, deal.opt_text(f"properties.{setup.options['plan_property']}"))
    holder = company or next(iter(_associated(deal, "contacts")), None)
    if setup.options["plan_property"] and plan is not None and holder is not None:
        start = day(deal.opt_text("properties.closedate"), setup.timezone, what="closedate")
        items.append(subscription_draft(setup, deal_id, plan=plan, account=holder, start=start, end=None, time=time))
    if company is not None:
        name = deal.opt_text("properties.dealname")
        items.insert(0, account_draft(setup, company, name=name, time=time, note="named as the deal"))
    return Reading(items)


def _modified(found: Fields) -> datetime:
    for path in ("properties.hs_lastmodifieddate", "properties.lastmodifieddate", "updatedAt"):
        said = found.opt_text(path)
        if said is not None:
            return moment(said, "UTC", what=path)
    raise bad_payload("updatedAt is missing; a time is documented here")


def _associated(found: Fields, kind: str) -> list[str]:
    """Return the ids that a deal or a contact is associated with, each once, in the vendor's order."""
    if found.raw(f"associations.{kind}") is None:
        return []
    results = found.object(f"associations.{kind}").objects("results")
    return list(dict.fromkeys(result.text("id") for result in results))


def _ask_contact(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    return _request(
        setup,
        f"contacts/{_object_id(wanted)}",
        {"associations": "companies", "properties": "firstname,lastname,email,company"},
    )


def _read_contact(setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
    if answer.status != 200:
        return NOTHING
    contact = Fields.of_json(answer.body)
    contact_id = contact.text("id")
    names = (contact.opt_text("properties.firstname"), contact.opt_text("properties.lastname"))
    name = " ".join(part for part in names if part is not None) or None
    email = contact.opt_text("properties.email")
    time = max(_modified(contact), parse_instant(str(wanted.get("at")), what="the notice's time"))
    # The deal's company, where it is the contact's too: by HubSpot's own word, not by the notice's.
    company = next((named for named in _associated(contact, "companies") if named == wanted.get("company")), None)
    account = contact_id if company is None else company
    drafts = [member_draft(setup, contact_id, account=account, name=name or email, email=email, time=time)]
    if company is None:
        called = contact.opt_text("properties.company") or name or email
        drafts.insert(0, account_draft(setup, contact_id, name=called, time=time))
    return Reading(drafts)


HUBSPOT: Final = Vendor(
    title="HubSpot",
    area="spaces",
    needs=frozenset({"secrets", "url", "site", "api_key"}),
    options={
        **people_options("hubspot"),
        "signature": Option(default="v3", choices=("v3", "v2", "v1"), about="The version of the signature."),
        "won_stages": Option(default=["closedwon"], about="The stages of a deal at which its contacts become members."),
        "plan_property": Option(default="", about="The deal's property that names the plan; empty: no subscription."),
    },
    hook=Hook(check=check, read=read),
    fetches={
        "deal": Fetch(request=_ask_deal, read=_read_deal),
        "contact": Fetch(request=_ask_contact, read=_read_contact),
    },
    covers=(
        Covers(
            what="deal.propertyChange of dealstage",
            state="done",
            becomes="directory.draft",
            note="deal and contacts are fetched; a company is an account named as the deal",
        ),
        Covers(what="contacts, companies, other deals' changes", state="not", note="only who was won is news"),
    ),
    facts="developers.hubspot.com and HubSpot's Python library, November 2026",
)
