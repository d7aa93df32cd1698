"""Charges as rows of a table: their columns, in an order to which only is added (docs/api.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meter.export.charge_json import ChargeJson
from meter.export.csv_text import Column, ColumnKind
from meter.store.engine import encode_json

_KINDS: Final[Mapping[str, ColumnKind]] = {
    **dict.fromkeys(
        "time event_time period_start period_end invoice_start invoice_end earned_until booked_at".split(), "instant"
    ),
    **dict.fromkeys("quantity covered billable amount rounded tax_rate tax_amount tip total".split(), "number"),
    **dict.fromkeys("tax_inclusive estimated unpriced".split(), "flag"),
    **dict.fromkeys("dimensions draws shares".split(), "json"),
}
_GUARDED: Final = frozenset(
    "account member site meter plan event_source event_id event_type unit price tax_name reason explain grant".split()
)
CHARGE_COLUMNS: Final = tuple(
    Column(name=name, kind=_KINDS.get(name, "text"), guarded=name in _GUARDED)
    for name in (
        "id account member site meter plan kind role time event_source event_id event_type event_time period_start "
        "period_end invoice_start invoice_end quantity unit covered billable dimensions price amount rounded currency "
        "tax_name tax_rate tax_inclusive tax_amount draws settlement estimated unpriced tip total shares "
        "earned_until corrects reason booked_at explain grant"
    ).split()
)


def charge_values(charge: ChargeJson) -> dict[str, Any]:
    """Return the value of each column: what is nested apart in columns of its own, or as JSON."""
    event, tax = charge.event, charge.tax
    return {
        **msgspec.structs.asdict(charge),
        "event_source": event and event.source,
        "event_id": event and event.id,
        "event_type": event and event.type,
        "event_time": event and event.time,
        "period_start": charge.period.start,
        "period_end": charge.period.end,
        "invoice_start": charge.invoice_period.start,
        "invoice_end": charge.invoice_period.end,
        "dimensions": encode_json(charge.dimensions),
        "draws": encode_json(charge.draws),
        "shares": encode_json(charge.shares),
        "tax_name": tax and tax.name,
        "tax_rate": tax and tax.rate,
        "tax_inclusive": tax and tax.inclusive,
        "tax_amount": tax and tax.amount,
    }
