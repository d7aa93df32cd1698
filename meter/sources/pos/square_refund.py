"""Square's refunds: money given back of a payment, by amount or, where that is the same to the cent, by lines.

    refund ─▶ pos.refund by amount, at once
           └▶ "refund": the payment ─┬ its only refund ─▶ "return": the return order ─▶ "returned": the order that was
                                     │                     sold, too ─▶ pos.refund by lines
                                     └ one of several ─▶ "several" for each other ─▶ pos.refund by amount for good

- The thing is the refund; a state's time is when it came about (`updated_at`), so the last one counts, and of states of
  one instant the one with the highest rank in its id: pending, completed, failed, each by amount, by lines, for good.
- A return order names the lines where the till gave back articles; a refund of a custom amount has none. Lines are told
  only where the sale had one payment, nothing of a tip or a rounding of cash is in it, and the bill will give back
  exactly what Square did: otherwise the amount is, which takes the same share of everything.
- Of several refunds of one payment none is by lines: what an amount took of an article could not be given back with it.
- What names no payment (an unlinked refund) gives back no sale: refused, for somebody to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

from meter.model.event import REFUND, Json
from meter.model.instant import instant_text, parse_instant
from meter.model.money import EXACT
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import changed, digest, usage_event
from meter.sources.pos.square_money import is_object_id, is_ours, money, opt_minor, text_of
from meter.sources.pos.square_order import OrderLine, charges_of, is_completed, lines_of, rounding_of, tenders_of
from meter.sources.pos.square_own import is_own_refund
from meter.sources.spec import Setup

_STATUS: Final[Mapping[str, str]] = {
    "PENDING": "pending",
    "COMPLETED": "completed",
    "REJECTED": "failed",
    "FAILED": "failed",
}
_RANK: Final[Mapping[str, int]] = {"pending": 0, "completed": 1, "failed": 2}
_BY_AMOUNT: Final = 0
_BY_LINES: Final = 1
_FOR_GOOD: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRefund:
    """One state of a refund; `amount` in the smallest unit, `order` the return order."""

    id: str
    payment: str
    order: str | None
    status: str
    amount: int
    currency: str
    time: datetime


def refund_of(setup: Setup, refund: Fields) -> PaymentRefund | None:
    """Return a refund as the API and the webhooks tell it; None where it gives back nothing of this source's.

    What the export target gives back on an invoice of its own is none either.

    Raises BadInput (`bad_payload`), for a completed refund without a payment too.
    """
    if not is_ours(setup, refund) or is_own_refund(refund):
        return None
    told = refund.text("status")
    status = _STATUS.get(told)
    if status is None:
        raise bad_payload(f"the refund's status is {told[:40]!r}; {', '.join(_STATUS)} are documented here")
    amount, currency = money(refund, "amount_money")
    payment = refund.opt_text("payment_id")
    if payment is None or refund.raw("unlinked") is True:
        if status != "completed":
            return None
        message = f"the refund of {text_of(amount, currency)} {currency} names no payment; enter what it is for by hand"
        raise bad_payload(message)
    return PaymentRefund(
        id=refund.text("id"),
        payment=payment,
        order=refund.opt_text("order_id"),
        status=status,
        amount=amount,
        currency=currency,
        time=parse_instant(refund.text("updated_at"), what="the refund's updated_at"),
    )


def of_refund(setup: Setup, refund: Fields, *, cause: str = "") -> Sequence[Parsed]:
    """Return what a refund becomes: its state by amount and, with `api_key`, the notice to look at its payment.

    `cause` tells another reason to look apart from the first. Raises BadInput.
    """
    found = refund_of(setup, refund)
    if found is None:
        return ()
    plain = _event(setup, found, detail=_BY_AMOUNT)
    if not setup.fetched or not is_object_id(found.payment):
        return [plain]
    object_id = _event_id(found, _data(setup, found, None), detail=_BY_AMOUNT)
    return [plain, _notice(setup, "refund", found, {"object": object_id, "cause": cause or None})]


def refund_for_good(setup: Setup, refund: Fields) -> Sequence[Parsed]:
    """Return the refund by amount for good. Raises BadInput."""
    found = refund_of(setup, refund)
    return () if found is None else [_event(setup, found, detail=_FOR_GOOD)]


def refunds_of(payment: Fields) -> list[str]:
    """Return the ids of a payment's refunds."""
    listed = payment.raw("refund_ids")
    return sorted({one for one in listed if is_object_id(one)}) if isinstance(listed, list) else []


def payment_notices(setup: Setup, wanted: Mapping[str, Json], payment: Fields) -> Sequence[Parsed]:
    """Return what to look at once the payment is known: the return order of its only refund, or every other refund."""
    refund = refund_for(wanted)
    others = [other for other in refunds_of(payment) if other != refund.id]
    if others:
        return [changed(setup, kind="several", object_id=other, id=f"several:{other}") for other in others]
    looked_into = refund.status == "completed" and is_object_id(refund.order)
    return [_notice(setup, "return", refund, wanted)] if looked_into else ()


def source_notice(setup: Setup, wanted: Mapping[str, Json], return_order: Fields) -> Sequence[Parsed]:
    """Return the notice that lines can be told of a refund, once the order that was sold is known; else nothing."""
    refund, entry = refund_for(wanted), _only_return(return_order)
    source = None if entry is None else entry.opt_text("source_order_id")
    if entry is None or _returned(entry, refund) is None or not is_object_id(source):
        return ()
    return [_notice(setup, "returned", refund, wanted, source=source)]


def _notice(setup: Setup, kind: str, refund: PaymentRefund, before: Mapping[str, Json], **more: Json) -> Parsed:
    """Return the next step of looking into a state of a refund: each state is an object of its own."""
    object_id, cause = str(before.get("object")), before.get("cause")
    notice_id = ":".join([kind, object_id, *([cause] if isinstance(cause, str) else [])])
    facts = _facts(refund)
    return changed(setup, kind=kind, object_id=object_id, id=notice_id, refund=facts, cause=cause, **more)


def lined_refund(setup: Setup, refund: PaymentRefund, return_order: Fields, sale_order: Fields) -> Sequence[Parsed]:
    """Return the refund by lines where the bill gives back the same by them; nothing where the amount has to do.

    Raises BadInput.
    """
    entry = _only_return(return_order)
    returned = None if entry is None else _returned(entry, refund)
    if not returned or not is_completed(sale_order):
        return ()
    tenders = tenders_of(sale_order, refund.currency)
    # With all lines of a sale the bill gives back what it was rounded by, too.
    if [tender.payment for tender in tenders] != [refund.payment] or rounding_of(sale_order, refund.currency):
        return ()
    sold = [*lines_of(sale_order, refund.currency), *charges_of(sale_order, refund.currency)]
    lines = _matched(returned, sold)
    if lines is None:
        return ()
    return [_event(setup, refund, detail=_BY_LINES, lines=[line.to_json(refund.currency) for line in lines])]


def refund_for(wanted: Mapping[str, Json]) -> PaymentRefund:
    """Return the refund that a notice of ours speaks of. Raises BadInput."""
    facts = Fields(wanted.get("refund"), path="refund")
    status = facts.text("status")
    if status not in _RANK:
        raise bad_payload("refund.status is none of this source's")
    return PaymentRefund(
        id=facts.text("id"),
        payment=facts.text("payment"),
        order=facts.opt_text("order"),
        status=status,
        amount=facts.integer("amount"),
        currency=facts.text("currency"),
        time=parse_instant(facts.text("time"), what="refund.time"),
    )


def _only_return(order: Fields) -> Fields | None:
    """Return the one sale that a return order gives back; None where there are several, or where it sells as well."""
    entries = order.objects("returns")
    return entries[0] if len(entries) == 1 and not order.objects("line_items") else None


def _returned(entry: Fields, refund: PaymentRefund) -> list[OrderLine] | None:
    """Return the lines that came back; None where they are not all that did: a tip, a custom amount, a rounding."""
    currency = refund.currency
    tips = sum(opt_minor(tip, "applied_money", currency) or 0 for tip in entry.objects("return_tips"))
    if tips or rounding_of(entry, currency):
        return None
    lines = [*lines_of(entry, currency, side="return_"), *charges_of(entry, currency, side="return_")]
    exact = sum(line.net + line.tax for line in lines) == refund.amount
    return lines if lines and exact else None


def _matched(returned: Sequence[OrderLine], sold: Sequence[OrderLine]) -> list[OrderLine] | None:
    """Return what came back under the names that it was sold by; None where a bill by lines would come out otherwise.

    The bill matches by sku, else by name, gives back the net amount and of the tax the same share (rating.md, 8).
    """
    by_uid = {line.uid: line for line in sold if line.uid is not None}
    lines: list[OrderLine] = []
    tax = Fraction(0)
    for back in returned:
        line = None if back.uid is None else by_uid.get(back.uid)
        if line is None or not 0 <= back.net <= line.net or any(_differs(line, other) for other in sold):
            return None
        lines.append(replace(line, quantity=back.quantity, net=back.net, tax=back.tax))
        tax += Fraction(line.tax * back.net, line.net) if line.net else 0
    exact = EXACT.divide(Decimal(tax.numerator), Decimal(tax.denominator))
    rounded = exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return lines if rounded == sum(line.tax for line in lines) else None


def _differs(line: OrderLine, other: OrderLine) -> bool:
    """Tell whether the bill may take `other` for `line` although it is taxed otherwise, or is below 0."""
    same = line.sku == other.sku if line.sku is not None else line.name == other.name
    return other.net < 0 or (same and line.tax * other.net != other.tax * line.net)


def _event(setup: Setup, refund: PaymentRefund, *, detail: int, lines: Sequence[Json] | None = None) -> Parsed:
    data = _data(setup, refund, lines)
    return usage_event(
        setup, kind="pos", id=_event_id(refund, data, detail=detail), type=REFUND, time=refund.time, data=data
    )


def _event_id(refund: PaymentRefund, data: Mapping[str, Json], *, detail: int) -> str:
    return f"{refund.id}:{_RANK[refund.status]}{detail}:{digest(data, instant_text(refund.time))}"


def _data(setup: Setup, refund: PaymentRefund, lines: Sequence[Json] | None) -> dict[str, Json]:
    amount = text_of(refund.amount, refund.currency)
    # Beside an amount the bill would pass over the lines: then it is the total, to be read only.
    figures = {"amount": amount} if lines is None else {"lines": list(lines), "total": amount}
    data: dict[str, Json] = {
        "refund": refund.id,
        "sale": {"source": setup.source("pos"), "order": refund.payment},
        **figures,
        "currency": refund.currency,
        "status": refund.status,
    }
    if refund.order is not None:
        data["square_order"] = refund.order
    return data


def _facts(refund: PaymentRefund) -> dict[str, Json]:
    return {
        "id": refund.id,
        "payment": refund.payment,
        "order": refund.order,
        "status": refund.status,
        "amount": refund.amount,
        "currency": refund.currency,
        "time": instant_text(refund.time),
    }
