"""Sales (rating.md, section 8): those paid at the till as it recorded them, those on account as usage with a tip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.catalog import Catalog, Meter, PassThrough, Price, Tax
from meter.model.charge import TIP_PART, Line, LineKey, LineTax
from meter.model.event import SALE, Json, UsageEvent
from meter.model.money import ONE, ZERO, round_amount, round_quantity, unit_scale
from meter.model.period import Period
from meter.rating.measure import Contribution, Memory, Scene, Unread, measure
from meter.rating.values import number, same

POS: Final = "pos"  # the meter of sales that no meter counts
TIP: Final = TIP_PART
_NO_AMOUNT: Final = "lines.amount is missing or not a number"


def is_paid(data: Mapping[str, Json]) -> bool:
    """Tell whether a sale was paid at the till."""
    return data.get("settlement") == "paid"


def sale_currency(event: UsageEvent) -> str | None:
    """Return the currency of a sale; None if it names none or `event` is no sale."""
    currency = event.data.get("currency") if event.type == SALE else None
    return currency if isinstance(currency, str) else None


class _Counted(NamedTuple):
    """The one meter under which a sale is booked as a whole, and what it counts."""

    meter: str
    quantity: Decimal
    unit: str
    dimensions: Mapping[str, Json]


def _counted(event: UsageEvent, meters: Sequence[Meter], scene: Scene) -> _Counted:
    """Return what the first meter by name that counts the sale makes of it, else one sale under `pos`."""
    for meter in meters:
        # A memory of its own: a sale as a whole uses up no day of the member's and waits for none.
        measured = measure(meter, event, scene, Memory())
        parts = [part for part in measured if isinstance(part, Contribution) and part.quantity]
        quantity = sum((part.quantity for part in parts), ZERO)
        if quantity:
            scale = unit_scale(meter.unit)
            quantity = quantity if scale == ONE else round_amount(quantity / scale)
            return _Counted(meter.id, quantity, meter.unit, _shared([part.dimensions for part in parts]))
    return _Counted(POS, ONE, "sale", {})


def _shared(found: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
    """Return the dimensions on which all parts of the sale agree."""
    first, *others = found
    return {
        name: value
        for name, value in first.items()
        if all(name in other and same(value, other[name]) for other in others)
    }


def _items(event: UsageEvent) -> list[Mapping[str, Json]]:
    lines = event.data.get("lines")
    return [item for item in lines if isinstance(item, Mapping)] if isinstance(lines, list | tuple) else []


def paid_line(
    event: UsageEvent, *, account: str, currency: str, scene: Scene, catalog: Catalog, period: Period
) -> tuple[Line, list[Unread]]:
    """Return the one line of a sale paid at the till, and what of it could not be read.

    Amount, tax, tip and total are the till's; `currency` stands in where it names none. No price, no plan, no draw.
    """
    items = _items(event)
    amounts = [number(item.get("amount")) for item in items]
    unread = [
        Unread(event=event.key, meter=POS, element=n, reason=_NO_AMOUNT, place=event.position)
        for n, amount in enumerate(amounts)
        if amount is None
    ]
    counted = _counted(event, catalog.meters_of(event.type, event.data), scene)
    line = Line(
        key=LineKey(event.time, event.source, event.id, counted.meter),
        account=account,
        member=scene.member,
        site=event.site,
        meter=counted.meter,
        plan=None,
        kind="usage",
        event_type=event.type,
        events=(event.key,),
        period=period,
        quantity=counted.quantity,
        unit=counted.unit,
        covered=ZERO,
        billable=counted.quantity,
        dimensions=counted.dimensions,
        price=None,
        amount=sum((amount for amount in amounts if amount is not None), ZERO),
        currency=sale_currency(event) or currency,
        tax=_settled_tax(items, catalog),
        settlement="paid",
        tip=number(event.data.get("tip")),
        total=number(event.data.get("total")),
        shares=catalog.shares_of(counted.meter, event.site),
    )
    return line, unread


def _settled_tax(items: Sequence[Mapping[str, Json]], catalog: Catalog) -> LineTax | None:
    """Return the sum of the taxes that the till took, under all their names; the rate where there is but one."""
    taxes = [tax for item in items if (tax := number(item.get("tax"))) is not None]
    names = sorted({name for item in items if isinstance(name := item.get("tax_name"), str)})
    if not taxes:
        return None
    known = catalog.taxes.get(names[0]) if len(names) == 1 else None
    rate = None if known is None else known.rate
    return LineTax(name=", ".join(names) or "sale", rate=rate, inclusive=False, amount=sum(taxes, ZERO))


def tip_line(
    event: UsageEvent, *, account: str, currency: str, scene: Scene, catalog: Catalog, period: Period, plan: str | None
) -> Line | None:
    """Return the untaxed line of the tip of a sale on account, under the meter that a paid sale would have."""
    tip = number(event.data.get("tip"))
    if not tip:
        return None
    meter = _counted(event, catalog.meters_of(event.type, event.data), scene).meter
    unit = sale_currency(event) or currency
    return Line(
        key=LineKey(event.time, event.source, event.id, meter, 0, TIP),
        account=account,
        member=scene.member,
        site=event.site,
        meter=meter,
        plan=plan,
        kind="usage",
        event_type=event.type,
        events=(event.key,),
        period=period,
        quantity=tip,
        unit=unit,
        covered=ZERO,
        billable=tip,
        dimensions={},
        price=None,
        amount=tip if unit == currency else ZERO,
        currency=currency,
        unpriced=unit != currency,
    )


def line_tax(catalog: Catalog, site: str, price: Price | None, item: Mapping[str, Json] | None) -> LineTax | None:
    """Return the tax of a line on account: the sale line's, else the price's, else the site's, else none.

    The amounts of a sale line are net: where they are passed through, the tax comes on top whatever the catalog says.
    """
    net = item is not None and price is not None and isinstance(price.model, PassThrough)
    if item is not None and (tax := _item_tax(catalog, item, net=net)) is not None:
        return tax
    name = (price and price.tax) or catalog.site(site).tax
    known = None if name is None else catalog.taxes.get(name)
    return None if known is None else _known_tax(known, net=net)


def _known_tax(tax: Tax, *, net: bool) -> LineTax:
    return LineTax(name=tax.name, rate=tax.rate, inclusive=tax.inclusive and not net)


def _item_tax(catalog: Catalog, item: Mapping[str, Json], *, net: bool) -> LineTax | None:
    name = item.get("tax_name")
    known = catalog.taxes.get(name) if isinstance(name, str) else None
    if known is not None:
        return _known_tax(known, net=net)
    tax, amount = number(item.get("tax")), number(item.get("amount"))
    if tax is None or not amount:
        return None
    rate = round_quantity(tax / amount)
    return LineTax(name=name if isinstance(name, str) else "sale", rate=rate, inclusive=False)
