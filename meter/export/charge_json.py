"""Charges as they leave, by the API and to every target that takes them as they are (docs/api.md)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from meter.model.charge import Charge, Kind, Role, SalesRole, Settlement
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.model.period import Period
from meter.model.texts import DecimalText, InstantText
from meter.rating.calendar import sold_grant
from meter.rating.explain import short_text
from meter.store.engine import encode_json


class EventJson(msgspec.Struct, kw_only=True):
    """The event that a line comes from; of a session its start."""

    source: str
    id: str
    type: str
    time: InstantText


class EventKeyJson(msgspec.Struct, kw_only=True):
    """An event by what makes it one."""

    source: str
    id: str


class PeriodJson(msgspec.Struct, kw_only=True):
    """A half-open span `[start, end)`."""

    start: InstantText
    end: InstantText


class TaxJson(msgspec.Struct, kw_only=True):
    """The tax of a line; `rate` is a fraction, null where the till gave none."""

    name: str
    rate: DecimalText | None
    inclusive: bool
    amount: DecimalText


class DrawJson(msgspec.Struct, kw_only=True):
    """Credit taken from (negative: given back to) an instance of a grant."""

    grant: str
    unit: str
    amount: DecimalText


class ShareJson(msgspec.Struct, kw_only=True):
    """What of a charge belongs to `party`: a fraction (`share`) of its revenue without tax, before money grants.

    `role` is the operator's in the sale, principal or agent. `amount` is in the currency's minor unit, and sums as
    `rounded` does.
    """

    party: str
    share: DecimalText
    role: SalesRole
    amount: DecimalText


class ChargeJson(msgspec.Struct, kw_only=True):
    """One booked line. `amount` is exact and before tax, `rounded` its part of its group in the currency's minor unit.

    `role` tells a correction's two halves apart. `tip` and `total` are a paid sale's, as the till recorded them. Lines
    without an event (fees, minimums, deposits, credit bought or expired) have no `event`, and may have no `site`.
    `time` is where a line stands: the event's time, else when it fell due. The revenue is earned evenly from then until
    `earned_until`, at once where that is null. `grant` is the one that a line of the meter `credit` sells, or of which
    it is what expired; what usage takes of a grant is in `draws`.
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
    # With a default: payloads that an earlier version froze have none.
    grant: str | None = None


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
        "grant": sold_grant(line),
    }


def _shares(charge: Charge) -> list[ShareJson]:
    return [
        ShareJson(party=share.party, share=plain(share.share), role=share.role, amount=plain(shared.amount))
        for share, shared in zip(charge.line.shares, charge.shared, strict=True)
    ]


def charge_json(charge: Charge) -> ChargeJson:
    """Return the charge as it leaves."""
    return ChargeJson(**charge_fields(charge))


def period_json(period: Period) -> PeriodJson:
    """Return a period as it leaves."""
    return PeriodJson(start=instant_text(period.start), end=instant_text(period.end))


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
