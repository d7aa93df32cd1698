"""What Square computes of an order: lines, taxes, discounts, in whole minor units, half to even."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

Json = dict[str, Any]
_QUANTITY_CHARACTERS_MAX = 12


def fault_in(order: Json) -> tuple[str, str] | None:
    """Return the field and what is wrong with it, in a new order."""
    for position, line in enumerate(order.get("line_items", [])):
        where = f"order.line_items[{position}]"
        quantity = line.get("quantity", "")
        try:
            fine = Decimal(quantity) > 0 and len(quantity) <= _QUANTITY_CHARACTERS_MAX
        except ArithmeticError:
            fine = False
        if not fine:
            return f"{where}.quantity", f"{quantity!r} is no quantity"
        if line.get("base_price_money", {}).get("amount", 0) < 0:
            return f"{where}.base_price_money", "a price is not negative"
    currencies = {
        money["currency"] for line in order.get("line_items", []) if (money := line.get("base_price_money")) is not None
    }
    return ("order", f"one currency, not {sorted(currencies)}") if len(currencies) > 1 else None


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_EVEN))


def priced(order: Json, new_uid: Callable[[], str]) -> Json:
    """Return the order with its sums, as Square answers it."""
    lines, taxes = order.get("line_items", []), {one["uid"]: one for one in order.get("taxes", [])}
    currency = next((line["base_price_money"]["currency"] for line in lines if "base_price_money" in line), "USD")
    money = {"currency": currency}
    done = []
    sums: dict[str, int] = dict.fromkeys(taxes, 0)
    for line in lines:
        gross = _whole(Decimal(line["base_price_money"]["amount"]) * Decimal(line["quantity"]))
        named = [one["tax_uid"] for one in line.get("applied_taxes", [])]
        used = named or [uid for uid, one in taxes.items() if one.get("scope", "ORDER") == "ORDER"]
        applied, additive, tax = [], 0, 0
        for uid in used:
            share = Decimal(taxes[uid]["percentage"]) / 100
            inclusive = taxes[uid].get("type") == "INCLUSIVE"
            amount = _whole(gross - gross / (1 + share)) if inclusive else _whole(gross * share)
            applied.append({"uid": new_uid(), "tax_uid": uid, "applied_money": {"amount": amount, **money}})
            additive += 0 if inclusive else amount
            tax += amount
            sums[uid] += amount
        done.append(line | {
            "uid": line.get("uid") or new_uid(), "item_type": "CUSTOM_AMOUNT" if "name" not in line else "ITEM",
            "gross_sales_money": {"amount": gross, **money}, "total_tax_money": {"amount": tax, **money},
            "total_money": {"amount": gross + additive, **money}, "total_discount_money": {"amount": 0, **money},
            "variation_total_price_money": {"amount": gross, **money},
            "total_service_charge_money": {"amount": 0, **money},
        } | ({"applied_taxes": applied} if applied else {}))  # fmt: skip
    discount = sum(one["amount_money"]["amount"] for one in order.get("discounts", []) if "amount_money" in one)
    total = sum(line["total_money"]["amount"] for line in done) - discount
    tax_sum = sum(line["total_tax_money"]["amount"] for line in done)
    zero = {"amount": 0, **money}
    sums_shown = {
        "total_money": {"amount": total, **money}, "total_tax_money": {"amount": tax_sum, **money},
        "total_discount_money": {"amount": discount, **money}, "total_tip_money": zero,
        "total_service_charge_money": zero, "net_amount_due_money": {"amount": total, **money},
    }  # fmt: skip
    return order | sums_shown | {
        "line_items": done,
        "taxes": [one | {"applied_money": {"amount": sums[uid], **money}} for uid, one in taxes.items()],
        "net_amounts": {
            "total_money": {"amount": total, **money}, "tax_money": {"amount": tax_sum, **money},
            "discount_money": {"amount": discount, **money}, "tip_money": zero, "service_charge_money": zero,
        },
    }  # fmt: skip
