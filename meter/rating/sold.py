"""A sale as it was billed, and what refunds have given back of it: what the fold keeps of sales that have refunds.

Shares are exact fractions, so that any number of partial refunds comes to the same as one of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple, Protocol

from meter.model.charge import Line, LineTax, Settlement, Share
from meter.model.event import EventKey, Json, Position, UsageEvent
from meter.model.money import EXACT, ZERO, is_currency, round_amount
from meter.model.strict_json import exact_json, strict_json
from meter.rating.values import number

NOTHING: Final = Fraction(0)
ALL: Final = Fraction(1)


class Drawing(Protocol):
    """A step of a draw: `amount` of the instance's unit paid for `covered` of the meter's (or of the money)."""

    @property
    def instance(self) -> str:
        """Return the instance's id."""

    @property
    def unit(self) -> str:
        """Return the instance's unit."""

    @property
    def amount(self) -> Decimal:
        """Return what was drawn, in that unit."""

    @property
    def covered(self) -> Decimal:
        """Return what it paid for, in the measure that the other draws of the line have."""


class Billed(NamedTuple):
    """A line of a sale with its draws in their order, and the element of the sale's `lines` that it comes from."""

    line: Line
    draws: Sequence[Drawing] = ()
    item: Mapping[str, Json] | None = None


class SoldDraw(NamedTuple):
    """A draw that can be given back, once: by refunds of its sale and by negative lines of its meter and period.

    `back` is what has come back of `amount` so far, `uncovered` what of `covered`.
    """

    instance: str
    unit: str
    amount: Decimal
    covered: Decimal
    back: Decimal = ZERO
    uncovered: Decimal = ZERO

    @property
    def money(self) -> bool:
        """Tell whether it lowered the amount instead of the quantity."""
        return is_currency(self.unit)

    def returned(self, amount: Decimal, covered: Decimal) -> SoldDraw:
        """Return the draw with so much more of it given back."""
        return self._replace(back=self.back + amount, uncovered=self.uncovered + covered)


class SoldItem(NamedTuple):
    """An element of the sale's `lines` as the till recorded it; `given` is the share given back so far (0 to 1)."""

    net: Decimal
    tax: Decimal
    quantity: Decimal
    sku: str | None
    name: str | None
    given: Fraction = NOTHING


class SoldLine(NamedTuple):
    """A line that the sale was billed with. `item` is the index of its element; None: the sale as a whole."""

    meter: str
    element: int
    part: str
    plan: str | None
    price: str | None
    unit: str
    quantity: Decimal
    covered: Decimal
    billable: Decimal
    amount: Decimal
    currency: str
    unpriced: bool
    tip: bool
    tax: LineTax | None
    dimensions: Mapping[str, Json]
    item: int | None
    draws: tuple[SoldDraw, ...]
    shares: tuple[Share, ...] = ()

    @property
    def uncovered(self) -> Decimal:
        """Return what of `covered` has come back; the draws say it in base units."""
        covers = [draw for draw in self.draws if not draw.money]
        back = sum([draw.uncovered for draw in covers], ZERO)
        if not back:
            return ZERO
        whole = sum([draw.covered for draw in covers], ZERO)
        return self.covered if back == whole else round_amount(EXACT.divide(EXACT.multiply(self.covered, back), whole))

    def draw_of(self, instance: str) -> SoldDraw:
        """Return the line's draw of an instance: there is but one."""
        return next(draw for draw in self.draws if draw.instance == instance)

    def with_draw(self, changed: SoldDraw) -> SoldLine:
        """Return the line with another state of one of its draws."""
        return self._replace(draws=tuple(changed if draw.instance == changed.instance else draw for draw in self.draws))


class Returned(NamedTuple):
    """What a till has given back so far, in its own figures: `gross` is net, tax, tip and the gap between them."""

    gross: Decimal
    net: Decimal
    tax: Decimal
    tip: Decimal


NONE_RETURNED: Final = Returned(ZERO, ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """A sale as it was billed. `total` is what the guest owed, tip included; `tip_given` the share of the tip returned.

    `tipped`: the sale names a tip at all. `currency` is the sale's, which lines on account need not share.
    """

    position: Position
    type: str
    site: str
    member: str | None
    settlement: Settlement
    currency: str
    total: Decimal
    tip: Decimal
    tipped: bool
    items: tuple[SoldItem, ...]
    lines: tuple[SoldLine, ...]
    tip_given: Fraction = NOTHING
    returned: Returned = NONE_RETURNED

    @property
    def key(self) -> EventKey:
        """Return the key of the event that the sale is."""
        return EventKey(self.position.source, self.position.id)

    @property
    def net(self) -> Decimal:
        """Return the net of all its elements."""
        return sum((item.net for item in self.items), ZERO)

    @property
    def tax(self) -> Decimal:
        """Return the tax of all its elements."""
        return sum((item.tax for item in self.items), ZERO)

    @property
    def left(self) -> Decimal:
        """Return what is left to refund, gross."""
        return self.total - self.returned.gross

    @property
    def share(self) -> Fraction:
        """Return the share of the elements, by their net amounts, that was given back; of the tip where there is none.

        Elements below 0 (discounts) have no weight: the share never falls.
        """
        weight = sum((item.net for item in self.items if item.net > ZERO), ZERO)
        if weight:
            given = sum((Fraction(item.net) * item.given for item in self.items if item.net > ZERO), NOTHING)
            return given / Fraction(weight)
        if self.items:
            return sum((item.given for item in self.items), NOTHING) / len(self.items)
        return self.tip_given

    def line_of(self, meter: str, element: int) -> SoldLine:
        """Return the line that a meter made of an element; the tip's is none of these."""
        return next(line for line in self.lines if line.meter == meter and line.element == element and not line.tip)

    def with_line(self, changed: SoldLine) -> Sold:
        """Return the sale with another state of one of its lines."""
        place = (changed.meter, changed.element, changed.part)
        lines = (changed if (line.meter, line.element, line.part) == place else line for line in self.lines)
        return replace(self, lines=tuple(lines))

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, numbers as strings: `from_json` gives back an equal one."""
        return {
            "position": [self.position.time.isoformat(), self.position.source, self.position.id],
            "type": self.type,
            "site": self.site,
            "member": self.member,
            "settlement": self.settlement,
            "currency": self.currency,
            "total": str(self.total),
            "tip": str(self.tip),
            "tipped": self.tipped,
            "items": [_item_row(item) for item in self.items],
            "lines": [_line_row(line) for line in self.lines],
            "tip_given": str(self.tip_given),
            "returned": [str(figure) for figure in self.returned],
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Sold:
        """Return the record that `to_json` wrote."""
        time, source, event_id = body["position"]
        return Sold(
            position=Position(datetime.fromisoformat(time), source, event_id),
            type=body["type"],
            site=body["site"],
            member=body["member"],
            settlement=body["settlement"],
            currency=body["currency"],
            total=Decimal(body["total"]),
            tip=Decimal(body["tip"]),
            tipped=body["tipped"],
            items=tuple(_item_of(row) for row in body["items"]),
            lines=tuple(_line_of(row) for row in body["lines"]),
            tip_given=Fraction(body["tip_given"]),
            returned=Returned(*map(Decimal, body["returned"])),
        )


def sold(event: UsageEvent, billed: Sequence[Billed], *, member: str | None, currency: str) -> Sold:
    """Return the sale as it was billed, with nothing given back; `currency` stands in where the sale names none.

    A till's total that is missing or not above 0 is taken to be the sum of its net, tax and tip.
    """
    items = tuple(_sold_item(element) for element in _elements(event))
    tip = number(event.data.get("tip"))
    total = number(event.data.get("total"))
    if total is None or total <= ZERO:
        total = sum((item.net + item.tax for item in items), tip or ZERO)
    named = event.data.get("currency")
    return Sold(
        position=event.position,
        type=event.type,
        site=event.site,
        member=member,
        settlement="paid" if event.data.get("settlement") == "paid" else "account",
        currency=named if isinstance(named, str) else currency,
        total=total,
        tip=tip or ZERO,
        tipped=tip is not None,
        items=items,
        lines=sold_lines(event, billed),
    )


def sold_lines(event: UsageEvent, billed: Sequence[Billed]) -> tuple[SoldLine, ...]:
    """Return what the sale was billed with, as refunds will want to know it."""
    elements = _elements(event)
    return tuple(_sold_line(one, elements) for one in billed)


def _elements(event: UsageEvent) -> list[Mapping[str, Json]]:
    lines = event.data.get("lines")
    return [item for item in lines if isinstance(item, Mapping)] if isinstance(lines, list | tuple) else []


def text_of(element: Mapping[str, Json], name: str) -> str | None:
    """Return a name within a sale's element; some vendors number their articles."""
    value = element.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _sold_item(element: Mapping[str, Json]) -> SoldItem:
    return SoldItem(
        net=number(element.get("amount")) or ZERO,
        tax=number(element.get("tax")) or ZERO,
        quantity=number(element.get("quantity")) or ZERO,
        sku=text_of(element, "sku"),
        name=text_of(element, "name"),
    )


def _sold_line(billed: Billed, elements: Sequence[Mapping[str, Json]]) -> SoldLine:
    line = billed.line
    return SoldLine(
        meter=line.meter,
        element=line.key.element,
        part=line.key.part,
        plan=line.plan,
        price=line.price,
        unit=line.unit,
        quantity=line.quantity,
        covered=line.covered,
        billable=line.billable,
        amount=line.amount,
        currency=line.currency,
        unpriced=line.unpriced,
        tip=line.key.of_tip,
        tax=line.tax,
        dimensions=line.dimensions,
        # By identity: two equal elements are two.
        item=next((n for n, element in enumerate(elements) if element is billed.item), None),
        # Credit that a negative element gave back is not the refund's to return.
        draws=tuple(
            SoldDraw(draw.instance, draw.unit, draw.amount, draw.covered)
            for draw in billed.draws
            if draw.covered > ZERO
        ),
        shares=line.shares,
    )


def _item_row(item: SoldItem) -> list[Any]:
    return [str(item.net), str(item.tax), str(item.quantity), item.sku, item.name, str(item.given)]


def _item_of(row: Sequence[Any]) -> SoldItem:
    net, tax, quantity, sku, name, given = row
    return SoldItem(Decimal(net), Decimal(tax), Decimal(quantity), sku, name, Fraction(given))


def _line_row(line: SoldLine) -> dict[str, Any]:
    tax = line.tax
    return {
        **line._asdict(),
        **{name: str(getattr(line, name)) for name in _FIGURES},
        "tax": tax
        and [
            tax.name,
            None if tax.rate is None else str(tax.rate),
            tax.inclusive,
            None if tax.amount is None else str(tax.amount),
        ],
        # As text: what reads the record must not take a decimal for a float.
        "dimensions": exact_json(line.dimensions),
        "draws": [[draw.instance, draw.unit, *map(str, draw[2:])] for draw in line.draws],
        "shares": [[one.party, str(one.share), one.role] for one in line.shares],
    }


def _line_of(row: Mapping[str, Any]) -> SoldLine:
    tax = row["tax"]
    return SoldLine(
        **{
            **row,
            **{name: Decimal(row[name]) for name in _FIGURES},
            "tax": tax
            and LineTax(
                name=tax[0],
                rate=None if tax[1] is None else Decimal(tax[1]),
                inclusive=tax[2],
                amount=None if tax[3] is None else Decimal(tax[3]),
            ),
            "dimensions": strict_json(row["dimensions"].encode()),
            "draws": tuple(
                SoldDraw(instance, unit, *map(Decimal, figures)) for instance, unit, *figures in row["draws"]
            ),
            "shares": tuple(
                Share(party=party, share=Decimal(share), role=role) for party, share, role in row["shares"]
            ),
        }
    )


_FIGURES: Final = ("quantity", "covered", "billable", "amount")
