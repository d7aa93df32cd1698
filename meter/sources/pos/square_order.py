"""Square's orders: what a completed one sold, line by line, and which part of it each payment paid.

- A line is net of discounts and of tax: what is collected for it less the tax in it, whether that was on top or inside.
  Service charges are lines, what is exchanged against it is lines below 0; Square's rounding of cash is none.
- Several payments share the lines in proportion, by largest remainders in the smallest unit: each line's parts sum to
  the line, each payment's lines to what it paid less its tip.
- Figures that do not sum to what was paid are refused: then the plain sale stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.event import Json
from meter.model.money import parse_decimal, plain
from meter.sources.fields import Fields, bad_payload
from meter.sources.pos.square_money import opt_minor, split, text_of

# Tenders that nothing came of.
_UNPAID: Final = frozenset({"VOIDED", "FAILED", "CANCELED", "DECLINED"})
_DETAILS: Final = ("card", "bank_account", "buy_now_pay_later", "square_account")
# A quantity of which several pay a part is told to a millionth at least.
_QUANTITY_PLACES: Final = 6
_DEFAULT_VARIATION: Final = "Regular"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """A line of an order; `net` and `tax` in the smallest unit. `uid` is Square's name for it within the order."""

    uid: str | None
    sku: str | None
    name: str
    category: str | None
    quantity: Decimal
    net: int
    tax: int
    tax_name: str | None

    def to_json(self, currency: str) -> dict[str, Json]:
        """Return the line of a sale or a refund."""
        line = {
            "sku": self.sku,
            "name": self.name,
            "category": self.category,
            "quantity": plain(self.quantity),
            "amount": text_of(self.net, currency),
            "tax": text_of(self.tax, currency) if self.tax or self.tax_name else None,
            "tax_name": self.tax_name,
        }
        return {name: value for name, value in line.items() if value is not None}


class Tender(NamedTuple):
    """What a payment paid of an order, without its tip."""

    payment: str
    amount: int
    cash: bool


def is_completed(order: Fields) -> bool:
    """Tell whether nothing of the order's lines can change any more."""
    return order.opt_text("state") == "COMPLETED"


def lines_of(order: Fields, currency: str, *, side: str = "") -> list[OrderLine]:
    """Return an order's lines, without service charges; `side` `return_` reads those of an entry of its returns.

    Raises BadInput.
    """
    taxes = _tax_names(order, f"{side}taxes")
    return [_line(line, currency, taxes) for line in order.objects(f"{side}line_items")]


def charges_of(order: Fields, currency: str, *, side: str = "", apportioned: bool = False) -> list[OrderLine]:
    """Return an order's service charges as lines: those beside its lines, or those that Square put into them."""
    taxes = _tax_names(order, f"{side}taxes")
    return [
        _charge(charge, currency, taxes)
        for charge in order.objects(f"{side}service_charges")
        if (charge.opt_text("treatment_type") == "APPORTIONED_TREATMENT") == apportioned
    ]


def tenders_of(order: Fields, currency: str) -> list[Tender]:
    """Return who paid, by the payments' ids. Raises BadInput."""
    return sorted(
        Tender(
            payment=tender.opt_text("payment_id") or tender.text("id"),
            amount=(opt_minor(tender, "amount_money", currency) or 0) - (opt_minor(tender, "tip_money", currency) or 0),
            cash=tender.opt_text("type") == "CASH",
        )
        for tender in order.objects("tenders")
        if not any(_status(tender, details) in _UNPAID for details in _DETAILS)
    )


def rounding_of(order: Fields, currency: str) -> int:
    """Return by what an order, or an entry of its returns, was rounded for cash."""
    adjustment = order.opt_object("rounding_adjustment")
    return 0 if adjustment is None else opt_minor(adjustment, "amount_money", currency) or 0


def paid_lines(order: Fields, *, payment: str, amount: int, currency: str) -> list[Json]:
    """Return the lines that `payment` paid with `amount` (without its tip), whole or in part.

    Raises BadInput (`bad_payload`): it is none of the order's payments, or the figures do not sum.
    """
    tenders = tenders_of(order, currency)
    own = next((n for n, tender in enumerate(tenders) if tender.payment == payment), None)
    if own is None or tenders[own].amount != amount:
        raise bad_payload(f"the order's tenders do not show {amount} of the payment; its plain sale stands")
    rounding = rounding_of(order, currency)
    lines = _sold(order, currency, whole=sum(tender.amount for tender in tenders) - rounding)
    if len(tenders) == 1:
        return [line.to_json(currency) for line in lines]
    return [line.to_json(currency) for line in _shares(lines, _less(tenders, rounding))[own]]


def _sold(order: Fields, currency: str, *, whole: int) -> list[OrderLine]:
    """Return all lines; they sum to `whole`, or it raises BadInput."""
    lines = [*lines_of(order, currency), *charges_of(order, currency), *_taken_back(order, currency)]
    apportioned = charges_of(order, currency, apportioned=True)
    # Whether the lines' totals hold the charges that were apportioned to them is not documented; the sum tells.
    for found in (lines, [*lines, *apportioned]):
        if sum(line.net + line.tax for line in found) == whole:
            return found
    told = sum(line.net + line.tax for line in lines)
    raise bad_payload(f"the order's lines sum to {told}, its tenders to {whole} (smallest unit); its plain sale stands")


def _taken_back(order: Fields, currency: str) -> list[OrderLine]:
    """Return what an exchange takes back, as lines below 0."""
    back = [
        line
        for entry in order.objects("returns")
        for line in (*lines_of(entry, currency, side="return_"), *charges_of(entry, currency, side="return_"))
    ]
    return [replace(line, quantity=-line.quantity, net=-line.net, tax=-line.tax) for line in back]


def _less(tenders: Sequence[Tender], rounding: int) -> list[int]:
    """Return what each tender paid for lines: what cash was rounded by is the first cash tender's, else the last's."""
    amounts = [tender.amount for tender in tenders]
    amounts[next((n for n, tender in enumerate(tenders) if tender.cash), -1)] -= rounding
    return amounts


def _shares(lines: Sequence[OrderLine], amounts: Sequence[int]) -> list[list[OrderLine]]:
    """Return each tender's part of the lines. Raises BadInput: something is negative, which has no share."""
    left = [figure for line in lines for figure in (line.net, line.tax)]
    if min([*left, *amounts]) < 0:
        raise bad_payload("an exchange that several payments paid cannot be shared among them; their plain sales stand")
    parts: list[list[int]] = []
    for amount in amounts:
        parts.append(split(amount, left))
        left = [figure - part for figure, part in zip(left, parts[-1], strict=True)]
    shares: list[list[OrderLine]] = [[] for _ in amounts]
    for n, line in enumerate(lines):
        figures = [(part[2 * n], part[2 * n + 1]) for part in parts]
        quantities = _quantities(line.quantity, [net + tax for net, tax in figures], amounts)
        for share, (net, tax), quantity in zip(shares, figures, quantities, strict=True):
            if net or tax or quantity:
                share.append(replace(line, quantity=quantity, net=net, tax=tax))
    return shares


def _quantities(quantity: Decimal, weights: Sequence[int], amounts: Sequence[int]) -> list[Decimal]:
    exponent = quantity.as_tuple().exponent
    places = max(_QUANTITY_PLACES, -exponent if isinstance(exponent, int) else 0)
    parts = split(int(quantity.scaleb(places)), weights if any(weights) else amounts)
    return [Decimal(part).scaleb(-places) for part in parts]


def _line(line: Fields, currency: str, taxes: Mapping[str, str]) -> OrderLine:
    total, tax = _figures(line, currency)
    variation, name = line.opt_text("variation_name"), line.opt_text("name")
    if name is not None and variation not in {None, _DEFAULT_VARIATION, name}:
        name = f"{name}, {variation}"
    quantity = parse_decimal(line.text("quantity"), what="a line's quantity")
    if quantity < 0:
        raise bad_payload("a line's quantity is below 0; none is documented here")
    return OrderLine(
        uid=line.opt_text("source_line_item_uid") or line.opt_text("uid"),
        sku=line.opt_text("catalog_object_id"),
        name=name or variation or "Custom amount",
        # Square's lines know no category; a gift card is no revenue yet, so it must be told apart.
        category="gift_card" if line.opt_text("item_type") == "GIFT_CARD" else None,
        quantity=quantity,
        net=total - tax,
        tax=tax,
        tax_name=_tax_name(line, taxes),
    )


def _charge(charge: Fields, currency: str, taxes: Mapping[str, str]) -> OrderLine:
    total, tax = _figures(charge, currency)
    return OrderLine(
        uid=charge.opt_text("source_service_charge_uid") or charge.opt_text("uid"),
        sku=charge.opt_text("catalog_object_id"),
        name=charge.opt_text("name") or "Service charge",
        category="service_charge",
        quantity=Decimal(1),
        net=total - tax,
        tax=tax,
        tax_name=_tax_name(charge, taxes),
    )


def _figures(of: Fields, currency: str) -> tuple[int, int]:
    """Return what is collected for a line, tax included, and the tax."""
    total = opt_minor(of, "total_money", currency)
    if total is None:
        raise bad_payload("a line's total_money is missing; an amount is documented here")
    return total, opt_minor(of, "total_tax_money", currency) or 0


def _tax_names(order: Fields, name: str) -> dict[str, str]:
    return {
        uid: tax.opt_text("name") or "tax" for tax in order.objects(name) if (uid := tax.opt_text("uid")) is not None
    }


def _tax_name(line: Fields, taxes: Mapping[str, str]) -> str | None:
    applied = {taxes.get(tax.text("tax_uid"), "tax") for tax in line.objects("applied_taxes")}
    return ", ".join(sorted(applied)) or None


def _status(tender: Fields, details: str) -> str | None:
    found = tender.opt_object(f"{details}_details")
    return None if found is None else found.opt_text("status")
