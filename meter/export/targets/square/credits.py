"""What Square does for an invoice that gives back: it has no credit note.

    the credited invoice is      and the credit is      then
    a draft, unpaid, scheduled   all of it              a note is made, and it is deleted or cancelled
    paid, refunded in part       what a payment has     its payment is refunded, where options.refunds allows
    anything else                                       refused: a person must look

A note is an order without lines, cancelled at once: it says which order a batch takes back, before that is done.
Whether it is done shows in that order's state; a cancellation without a note of the batch is somebody else's. Money is
never sent twice: a refund has the batch's name in its reason, and is looked for before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meter.export.contract import Absent, Delivered, Finding, Outcome, Refused
from meter.export.targets.reading import word_of
from meter.export.targets.square.api import Api
from meter.export.targets.square.held import (
    batch_in,
    is_refunded,
    is_taken_back,
    mark_in,
    metadata_in,
    reason_of,
    sums_of,
)
from meter.export.targets.square.sender import DRAFT, MADE_BEFORE, withdraw_order
from meter.export.targets.square.wanted import CREDITS, Json, Rules, Wanted, note_body

_UNPAID: Final = frozenset({DRAFT, "UNPAID", "SCHEDULED"})
_PAID: Final = frozenset({"PAID", "PARTIALLY_REFUNDED", "REFUNDED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credited:
    """The order that a credit is about, the invoice over it if there is one, and the credit's note if it was made."""

    order: Json | None = None
    invoice: Json | None = None
    note: Json | None = None

    @property
    def done(self) -> bool:
        return self.note is not None and is_taken_back(self.order)


class CreditSender:
    """Credits on invoices of one location."""

    def __init__(self, api: Api, rules: Rules) -> None:
        """Ask by `api`."""
        self._api = api
        self._rules = rules

    async def send(self, key: str, wanted: Wanted) -> Outcome:
        """Give back what the invoice says. Raises Ends."""
        credited = await self._credited(wanted)
        if credited.done and credited.note is not None:
            return Delivered(word_of(credited.note, "id"))
        order, invoice = credited.order, credited.invoice
        if order is None or invoice is None:
            number = wanted.invoice.credits
            told = f"no invoice {number} that could give it back" if number else "nothing of what it gives back on"
            return Refused(_by_hand(wanted, f"there is {told}"))
        status = invoice["status"]
        if status in _UNPAID:
            if sums_of(order).total != -wanted.total:
                return Refused(_by_hand(wanted, f"{wanted.invoice.credits} is not paid yet, and not all is given back"))
            return await self._taken_back(key, wanted, credited.note, order, invoice)
        if status in _PAID:
            return await self._refunded(key, wanted, order)
        return Refused(_by_hand(wanted, f"{wanted.invoice.credits} is {status}"))

    async def look_up(self, wanted: Wanted) -> Finding:
        """Tell whether it was given back. Raises Ends."""
        credited = await self._credited(wanted)
        if credited.done and credited.note is not None:
            return Delivered(word_of(credited.note, "id"))
        if credited.order is not None and credited.invoice is not None and credited.invoice["status"] in _PAID:
            refund = await self._refund_of(wanted, await self._payments(credited.order))
            return Absent() if refund is None else Delivered(refund)
        return Absent()

    async def _credited(self, wanted: Wanted) -> _Credited:
        invoice = wanted.invoice
        since = min((line.adjusts or line.start for line in invoice.lines), default=invoice.start)
        customers = {"customer_filter": {"customer_ids": [invoice.customer]}}
        since = min(since, invoice.start) - MADE_BEFORE
        orders = [one async for one in self._api.orders(self._rules.location, since, **customers)]
        note = next((one for one in orders if batch_in(one) == wanted.batch and CREDITS in metadata_in(one)), None)
        if note is not None:
            found = next((one for one in orders if one["id"] == metadata_in(note)[CREDITS]), None)
            if is_taken_back(found):
                return _Credited(order=found, note=note)
        ours = {
            str(one["id"]): one
            for one in orders
            if invoice.credits is not None and one.get("reference_id") == invoice.credits and batch_in(one)
        }
        if not ours:
            return _Credited(note=note)
        async for one in self._api.invoices(self._rules.location, invoice.customer):
            if one.get("order_id") in ours:
                return _Credited(order=ours[one["order_id"]], invoice=one, note=note)
        return _Credited(note=note)

    async def _taken_back(self, key: str, wanted: Wanted, note: Json | None, order: Json, invoice: Json) -> Outcome:
        """Say what is about to be done, and do it: delete the draft, cancel what was published."""
        if note is None or metadata_in(note).get(CREDITS) != order["id"]:
            body = note_body(wanted, self._rules, str(order["id"]))
            note = (await self._api.write("orders.create", order=body, idempotency_key=f"{key}-note"))["order"]
        if not is_taken_back(note):
            await withdraw_order(self._api, key, note)  # so that no open order stands about
        call = "invoices.delete" if invoice["status"] == DRAFT else "invoices.cancel"
        await self._api.write(call, invoice_id=invoice["id"], version=invoice["version"])
        return Delivered(word_of(note, "id"))

    async def _refunded(self, key: str, wanted: Wanted, order: Json) -> Outcome:
        payments = await self._payments(order)
        known = await self._refund_of(wanted, payments)
        if known is not None:
            return Delivered(known)
        if not self._rules.refunds:
            reason = f"{wanted.invoice.credits} is paid, and options.refunds is false: set it, and retry the delivery"
            return Refused(_by_hand(wanted, reason))
        amount = {"amount": -wanted.total, "currency": wanted.invoice.currency}
        payment = next((one for one in payments if _left(one) >= -wanted.total), None)
        if payment is None:
            return Refused(_by_hand(wanted, f"no payment of {wanted.invoice.credits} has so much left"))
        made = await self._api.write(
            "refunds.refund_payment",
            payment_id=payment["id"],
            amount_money=amount,
            reason=reason_of(wanted),
            idempotency_key=f"{key}-refund",
        )
        refund: Json = made["refund"]
        if not is_refunded(refund):
            return Refused(f"Square could not refund ({refund['status']}); retry the delivery, or refund by hand")
        return Delivered(word_of(refund, "id"))

    async def _payments(self, order: Json) -> list[Json]:
        tenders = [tender.get("payment_id") or tender.get("id") for tender in order.get("tenders") or ()]
        return [(await self._api.read("payments.get", payment_id=id))["payment"] for id in tenders if id]

    async def _refund_of(self, wanted: Wanted, payments: Sequence[Json]) -> str | None:
        """Return the id of the batch's refund that the money goes back by."""
        for id in (id for payment in payments for id in payment.get("refund_ids") or ()):
            refund: Json = (await self._api.read("refunds.get", refund_id=id))["refund"]
            mark = mark_in(refund)
            if mark is not None and mark.batch == wanted.batch and is_refunded(refund):
                return str(id)
        return None


def _left(payment: Json) -> int:
    """Return what of a payment could still be given back."""
    refunded = payment.get("refunded_money") or {"amount": 0}
    return int(payment["total_money"]["amount"]) - int(refunded["amount"])


def _by_hand(wanted: Wanted, fault: str) -> str:
    invoice = wanted.invoice
    amount = f"{-(invoice.net + invoice.tax_amount):f} {invoice.currency}"
    return f"{invoice.number} gives back {amount}, which Square cannot: {fault}; else settle it in Square by hand"
