"""Stripe: what becomes of invoices, and which meter events it threw away.

    invoice.* ─▶ invoice.status               v1.billing.meter.error_report_triggered ─▶ fetched ─▶ export.refused

Each says the whole state of its object at the event's time: whichever order they come in, the latest counts. Signed is
`{t}.{body}` with HMAC-SHA256 in hexadecimal; `Stripe-Signature: t=...,v1=...` has a v1 for each of the endpoint's keys.
A thin event (`v2.core.event`) holds no data: that is fetched, for which `api_key` is needed.

Facts: docs.stripe.com (webhooks, event types, meter error reports), November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

from meter.model.errors import BadInput
from meter.model.event import EXPORT_REFUSED, INVOICE_STATUS, Json
from meter.model.instant import EPOCH, instant_text, parse_instant
from meter.model.money import is_currency
from meter.model.wire import Parsed
from meter.sources.api import api_request
from meter.sources.billing.currency import major
from meter.sources.clocks import from_epoch
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import changed, usage_event
from meter.sources.signature import any_equal, hmac_hex, require, require_recent
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

SIGNATURE_HEADER: Final = "stripe-signature"
# What Stripe's own libraries take.
SKEW_S_MAX: Final = 300
_BASE: Final = "https://api.stripe.com"
# v2 is asked under a version; that of the stripe package with which this was tested.
_VERSION: Final = "2026-10-28.endive"
_ERROR_REPORTS: Final = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
_STATUSES: Final = frozenset({"draft", "open", "paid", "uncollectible", "void"})
_REASON_CHARS_MAX: Final = 300


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput: `bad_signature` unless the body was signed with an active key, `stale` if that was long ago."""
    stamp, given = "", []
    for part in delivery.headers.get(SIGNATURE_HEADER, "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            given.append(value)
    require(stamp.isascii() and stamp.isdigit() and len(stamp) <= 12, remedy="send Stripe's own header")
    expected = [hmac_hex(key, stamp.encode(), b".", delivery.body) for key in setup.secrets if key]
    require(
        any([any_equal(one, expected) for one in given]),  # noqa: C419 -- all are compared, whichever fits
        remedy="check the endpoint's signing secret",
    )
    signed_at = from_epoch(int(stamp), what="t").time
    require_recent(EPOCH if signed_at is None else signed_at, delivery.received_at, skew_s_max=SKEW_S_MAX)


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return what an event becomes; nothing where it is about something else.

    Raises BadInput (`bad_payload`, or as `strict_json` does) where it is not what Stripe documents.
    """
    event = Fields.of_json(delivery.body)
    kind = event.text("type")
    if kind in _ERROR_REPORTS:
        return _error_report(setup, event)
    return Reading([_invoice(setup, event, kind)]) if kind.startswith("invoice.") else NOTHING


def _invoice(setup: Setup, event: Fields, kind: str) -> Parsed:
    invoice = event.object("data.object")
    currency = invoice.text("currency").upper()
    if not is_currency(currency):
        raise bad_payload(f"data.object.currency is {currency[:20]!r}; a currency is documented here")
    metadata = invoice.opt_object("metadata") or Fields({})
    customer = invoice.raw("customer")
    data: dict[str, Json] = {
        "vendor": setup.vendor,
        "target": setup.options["target"],
        "remote_id": invoice.text("id"),
        "status": _status(invoice, kind),
        "invoice": metadata.opt_text("meter_invoice"),
        "account": metadata.opt_text("account"),
        "customer": invoice.opt_text("customer.id") if isinstance(customer, dict) else invoice.opt_text("customer"),
        "number": invoice.opt_text("number"),
        "currency": currency,
        "total": _amount(invoice, "total", currency),
        "amount_due": _amount(invoice, "amount_due", currency),
        "amount_paid": _amount(invoice, "amount_paid", currency),
        "url": invoice.opt_text("hosted_invoice_url"),
        "start": _instant(metadata, "meter_start"),
        "end": _instant(metadata, "meter_end"),
        "items": _items(invoice),
    }
    time = from_epoch(event.integer("created"), what="created").time
    return usage_event(setup, kind="billing", id=event.text("id"), type=INVOICE_STATUS, data=data, time=time)


def _status(invoice: Fields, kind: str) -> str:
    """Return the status in words that every target shares: `failed` is open, and a payment did not go through."""
    if kind == "invoice.deleted":
        return "deleted"
    status = invoice.text("status")
    if status not in _STATUSES:
        raise bad_payload(f"data.object.status is {status[:40]!r}; one of {', '.join(sorted(_STATUSES))} is documented")
    return "failed" if status == "open" and kind == "invoice.payment_failed" else status


def _amount(invoice: Fields, name: str, currency: str) -> str:
    return format(major(invoice.integer(name), currency), "f")


def _items(invoice: Fields) -> list[str]:
    """Return the invoice items of the lines that the event shows: the first ten."""
    lines = invoice.opt_object("lines")
    shown = () if lines is None else lines.objects("data")
    found = [line.opt_text("parent.invoice_item_details.invoice_item") for line in shown]
    return [item for item in found if item is not None]


def _instant(metadata: Fields, name: str) -> str | None:
    """Return a time of ours; None where somebody wrote something else there."""
    try:
        return instant_text(parse_instant(metadata.opt_text(name) or "", what=name))
    except BadInput:
        return None


def _error_report(setup: Setup, event: Fields) -> Reading:
    """Return what was thrown away, where the event says it; else the notice to fetch it, where that is possible."""
    if event.raw("data.reason") is not None:
        return Reading(_refusals(setup, event))
    if not setup.fetched:
        return NOTHING
    id = event.text("id")
    return Reading([changed(setup, kind="event", object_id=id, id=id, time=_created(event))])


def _created(event: Fields) -> datetime:
    created = event.raw("created")
    if isinstance(created, str):
        try:
            return parse_instant(created, what="created")
        except BadInput as error:
            raise bad_payload(error.detail) from error
    time = from_epoch(event.integer("created"), what="created").time
    if time is None:
        raise bad_payload("created is before there was anything to report")
    return time


def _refusals(setup: Setup, event: Fields) -> Sequence[Parsed]:
    report, time, made = event.text("id"), _created(event), []
    for kind in event.objects("data.reason.error_types"):
        code = kind.text("code")
        for sample in kind.objects("sample_errors"):
            identifier = sample.text("request.identifier")
            said = sample.opt_text("error_message") or code
            data = {
                "vendor": setup.vendor,
                "target": setup.options["meters_target"],
                "key": identifier,
                "reason": f"Stripe threw the usage away ({code}): {said}"[:_REASON_CHARS_MAX],
            }
            id = f"{report}:{identifier}"
            made.append(usage_event(setup, kind="billing", id=id, type=EXPORT_REFUSED, data=data, time=time))
    return made


def ask_event(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    """Return the request for an event with its data."""
    path = f"/v2/core/events/{quote(str(wanted['object']), safe='')}"
    return api_request(setup, path, base=_BASE, headers={"Stripe-Version": _VERSION})


def read_event(setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
    """Return what an error report says was thrown away. Raises BadInput (`bad_payload`)."""
    del wanted
    if answer.status in {404, 410}:
        return NOTHING
    return Reading(_refusals(setup, Fields.of_json(answer.body)))


STRIPE: Final = Vendor(
    title="Stripe",
    area="billing",
    needs=frozenset({"secrets", "site"}),
    options={
        "target": Option(default="stripe", about="The export target whose invoices these are."),
        "meters_target": Option(default="stripe-meters", about="The export target whose meter events these are."),
    },
    hook=Hook(check=check, read=read),
    fetches={"event": Fetch(request=ask_event, read=read_event)},
    covers=(
        Covers(
            what="invoice.created, updated, finalized, paid, payment_failed, voided, marked_uncollectible, deleted",
            state="done",
            becomes=INVOICE_STATUS,
            note="the account's invoices; what was delivered to it is verified once it is final",
        ),
        Covers(
            what="v1.billing.meter.error_report_triggered, v1.billing.meter.no_meter_found",
            state="done",
            becomes=EXPORT_REFUSED,
            note="with `api_key`; the events that Stripe names (samples, not always all) are dead deliveries",
        ),
        Covers(what="credit_note.*", state="not", note="invoice.updated says what is due after it"),
        Covers(what="customers, payments, subscriptions and everything else", state="not"),
    ),
    facts="docs.stripe.com (webhooks, event types, meter error reports), November 2026",
)
