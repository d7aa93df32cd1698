"""Charges as they leave: JSON and CSV (docs/api.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from meter.api.routing import DecimalText, InstantText, Model
from meter.model.charge import Charge, Kind, Role, SalesRole, Settlement
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.model.period import Period
from meter.rating.explain import short_text
from meter.store.engine import encode_json


class EventJson(Model, kw_only=True):
    """The event that a line comes from; of a session its start."""

    source: str
    id: str
    type: str
    time: InstantText


class EventKeyJson(Model, kw_only=True):
    """An event by what makes it one."""

    source: str
    id: str


class PeriodJson(Model, kw_only=True):
    """A half-open span `[start, end)`."""

    start: InstantText
    end: InstantText


class TaxJson(Model, kw_only=True):
    """The tax of a line; `rate` is a fraction, null where the till gave none."""

    name: str
    rate: DecimalText | None
    inclusive: bool
    amount: DecimalText


class DrawJson(Model, kw_only=True):
    """Credit taken from (negative: given back to) an instance of a grant."""

    grant: str
    unit: str
    amount: DecimalText


class ShareJson(Model, kw_only=True):
    """What of a charge belongs to `party`: a fraction (`share`) of its revenue without tax, before money grants.

    `role` is the operator's in the sale, principal or agent. `amount` is in the currency's minor unit, and sums as
    `rounded` does.
    """

    party: str
    share: DecimalText
    role: SalesRole
    amount: DecimalText


class ChargeJson(Model, kw_only=True):
    """One booked line. `amount` is exact and before tax, `rounded` its part of its group in the currency's minor unit.

    `role` tells a correction's two halves apart. `tip` and `total` are a paid sale's, as the till recorded them. Lines
    without an event (fees, minimums, deposits, credit bought or expired) have no `event`, and may have no `site`.
    `time` is where a line stands: the event's time, else when it fell due. The revenue is earned evenly from then until
    `earned_until`, at once where that is null.
    """

    id: str
    account: str
    member: str | None
    site: str | None
    meter: str
    plan: str | None
    kind: Kind
    role: Role
    time: InstantText
    event: EventJson | None
    events: list[EventKeyJson]
    period: PeriodJson
    invoice_period: PeriodJson
    quantity: DecimalText
    unit: str
    covered: DecimalText
    billable: DecimalText
    dimensions: dict[str, Any]
    price: str | None
    amount: DecimalText
    rounded: DecimalText
    currency: str
    tax: TaxJson | None
    draws: list[DrawJson]
    settlement: Settlement
    estimated: bool
    unpriced: bool
    tip: DecimalText | None
    total: DecimalText | None
    shares: list[ShareJson]
    earned_until: InstantText | None
    corrects: str | None
    reason: str | None
    booked_at: InstantText
    explain: str


class ChargeLine(ChargeJson, kw_only=True):
    """A charge of a stream, with the cursor behind it: a reader that was cut off goes on from the last whole line."""

    cursor: Annotated[str, msgspec.Meta(description="Where a reader goes on after this line.")]


def charge_fields(charge: Charge) -> dict[str, Any]:
    """Return the fields of `ChargeJson`."""
    line, key = charge.line, charge.line.key
    time = instant_text(key.time)
    event = EventJson(source=key.source, id=key.id, type=line.event_type, time=time) if key.source else None
    tax = None
    if line.tax is not None:
        tax = TaxJson(
            name=line.tax.name,
            rate=_number(line.tax.rate),
            inclusive=line.tax.inclusive,
            amount=plain(charge.tax_amount),
        )
    return {
        "id": charge.id,
        "account": line.account,
        "member": line.member,
        "site": line.site or None,
        "meter": line.meter,
        "plan": line.plan,
        "kind": charge.kind,
        "role": charge.role,
        "time": time,
        "event": event,
        "events": [EventKeyJson(source=event.source, id=event.id) for event in line.events],
        "period": period_json(line.period),
        "invoice_period": period_json(charge.invoice_period),
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "covered": plain(line.covered),
        "billable": plain(line.billable),
        # Values of the event's own: a number stays the number that was sent.
        "dimensions": {name: msgspec.Raw(encode_json(value)) for name, value in line.dimensions.items()},
        "price": line.price,
        "amount": plain(line.amount),
        "rounded": plain(charge.rounded),
        "currency": line.currency,
        "tax": tax,
        "draws": [DrawJson(grant=draw.grant, unit=draw.unit, amount=plain(draw.amount)) for draw in line.draws],
        "settlement": line.settlement,
        "estimated": line.estimated,
        "unpriced": line.unpriced,
        "tip": _number(line.tip),
        "total": _number(line.total),
        "shares": _shares(charge),
        "earned_until": None if line.earned_until is None else instant_text(line.earned_until),
        "corrects": charge.corrects,
        "reason": charge.reason,
        "booked_at": instant_text(charge.booked_at),
        "explain": short_text(charge),
    }


def _shares(charge: Charge) -> list[ShareJson]:
    return [
        ShareJson(party=share.party, share=plain(share.share), role=share.role, amount=plain(shared.amount))
        for share, shared in zip(charge.line.shares, charge.shared, strict=True)
    ]


def charge_json(charge: Charge) -> ChargeJson:
    """Return the charge as it leaves."""
    return ChargeJson(**charge_fields(charge))


def charge_line(charge: Charge, cursor: str) -> ChargeLine:
    """Return the charge as a line of a stream."""
    return ChargeLine(**charge_fields(charge), cursor=cursor)


def period_json(period: Period) -> PeriodJson:
    """Return a period as it leaves."""
    return PeriodJson(start=instant_text(period.start), end=instant_text(period.end))


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


CSV_COLUMNS: Final = (
    "id account member site meter plan kind role time event_source event_id event_type event_time period_start "
    "period_end invoice_start invoice_end quantity unit covered billable dimensions price amount rounded currency "
    "tax_name tax_rate tax_inclusive tax_amount draws settlement estimated unpriced tip total shares "
    "earned_until corrects reason booked_at explain cursor"
).split()
# Texts that people and devices choose; the rest is ours.
_GUARDED: Final = frozenset(
    "account member site meter plan event_source event_id event_type unit price tax_name reason explain".split()
)
# What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection, 2026-03), full-width forms included.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_header() -> str:
    """Return the first line of the CSV form (RFC 4180)."""
    return csv_text([CSV_COLUMNS])


def csv_rows(lines: Iterable[ChargeLine]) -> str:
    """Return lines as CSV: numbers plain, nested values as JSON, texts that would run as formulas behind a `'`."""
    return csv_text(_csv_row(line) for line in lines)


def _csv_row(line: ChargeLine) -> list[str]:
    event, tax = line.event, line.tax
    cells: dict[str, Any] = {
        **msgspec.structs.asdict(line),
        "event_source": event and event.source,
        "event_id": event and event.id,
        "event_type": event and event.type,
        "event_time": event and event.time,
        "period_start": line.period.start,
        "period_end": line.period.end,
        "invoice_start": line.invoice_period.start,
        "invoice_end": line.invoice_period.end,
        "dimensions": msgspec.json.encode(line.dimensions).decode(),
        "draws": msgspec.json.encode(line.draws).decode(),
        "shares": msgspec.json.encode(line.shares).decode(),
        "tax_name": tax and tax.name,
        "tax_rate": tax and tax.rate,
        "tax_inclusive": tax and tax.inclusive,
        "tax_amount": tax and tax.amount,
    }
    return [csv_cell(cells[column], guarded=column in _GUARDED) for column in CSV_COLUMNS]


def csv_cell(value: Any, *, guarded: bool) -> str:
    """Return a value as a cell; a `guarded` text that a spreadsheet would run stands behind a `'`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return "'" + text if guarded and text.startswith(_FORMULA_STARTS) else text


def csv_text(rows: Iterable[list[str]]) -> str:
    """Return cells as CSV (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()
