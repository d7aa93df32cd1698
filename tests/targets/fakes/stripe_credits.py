"""Stripe's credit notes: against a finalised invoice, and never more than is left of it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tests.targets.fakes.base import Handler
from tests.targets.fakes.http import Answer, Call
from tests.targets.fakes.stripe_core import Json, created_within, fraction, missing, page, parameters, refuse, whole
from tests.targets.fakes.stripe_invoices import StripeInvoices
from tests.targets.fakes.stripe_items import rounded, taxes_on

_AFTER_PAYMENT = ("refund_amount", "credit_amount", "out_of_band_amount")


class StripeCredits(StripeInvoices):
    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            *super().routes(),
            ("POST", "/v1/credit_notes", self._create_note),
            ("GET", "/v1/credit_notes", self._list_notes),
            ("GET", "/v1/credit_notes/{id}", lambda call: Answer(content=self.credit_notes.one(call.parts["id"]))),
            ("GET", "/v1/credit_notes/{id}/lines", self._list_note_lines),
        ]

    def _create_note(self, call: Call) -> Answer:
        asked = parameters(call)
        invoice = self.invoices.one(asked.get("invoice", ""), "invoice")
        if invoice["status"] not in {"open", "paid", "uncollectible"}:
            raise refuse(
                f"A credit note is made for a finalised invoice; this one is {invoice['status']}.", param="invoice"
            )
        if ("amount" in asked) == ("lines" in asked):
            raise refuse("A credit note has one of amount and lines.", param="amount")
        self._sum(invoice)
        lines = [self._note_line(invoice, line) for line in asked.get("lines", [])]
        taxes = [tax for line in lines for tax in line["taxes"]]
        exclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")
        inclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")
        net = sum(line["amount"] for line in lines)
        total = whole(asked["amount"], "amount") if "amount" in asked else net + exclusive
        before = self._before_payment(invoice, asked, total)
        note = self.made(
            self.credit_notes, amount=total, amount_shipping=0, created=self.clock.unix_s(),
            customer=invoice["customer"], currency=invoice["currency"], discount_amount=0, discount_amounts=[],
            invoice=invoice["id"], memo=asked.get("memo"), metadata=asked.get("metadata", {}),
            number=f"{invoice['number']}-CN-{self.new_number():02d}",
            out_of_band_amount=None, pdf="", post_payment_amount=total - before, pre_payment_amount=before,
            reason=asked.get("reason"), refunds=[], shipping_cost=None, status="issued",
            subtotal=total if "amount" in asked else net, total=total, total_taxes=taxes, voided_at=None,
            total_excluding_tax=total - exclusive - inclusive, type="pre_payment" if before else "post_payment",
            subtotal_excluding_tax=total - exclusive - inclusive,
        )  # fmt: skip
        note["lines"] = {
            "object": "list",
            "url": f"/v1/credit_notes/{note['id']}/lines",
            "has_more": False,
            "data": lines,
        }
        invoice["pre_payment_credit_notes_amount"] += before
        invoice["post_payment_credit_notes_amount"] += total - before
        self._sum(invoice)
        if invoice["status"] == "open" and invoice["amount_due"] == 0:
            invoice["status"] = "paid"
        return Answer(content=note)

    def _before_payment(self, invoice: Json, asked: Json, total: int) -> int:
        """Return how much of `total` lowers what is due. Raises Refuse where more is credited than is left."""
        credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
        if not 0 < total <= invoice["total"] - credited:
            left = invoice["total"] - credited
            raise refuse(
                f"{total} are not above 0 and within the {left} left to credit on the invoice.", param="amount"
            )
        unpaid = 0 if invoice["status"] == "paid" else invoice["amount_remaining"]
        after = total - min(total, unpaid)
        said = sum(whole(asked[name], name) for name in _AFTER_PAYMENT if name in asked)
        if said != after:
            raise refuse(
                f"{', '.join(_AFTER_PAYMENT)} sum to {said}; {after} were paid already.", param="refund_amount"
            )
        return total - after

    def _note_line(self, invoice: Json, asked: Json) -> Json:
        on_invoice = {line["id"]: line for line in self.lines(invoice)}
        quantity = whole(asked.get("quantity", "1"), "lines[quantity]")
        unit: Decimal | None = None
        if asked.get("type") == "invoice_line_item":
            line = on_invoice.get(asked.get("invoice_line_item", ""))
            if line is None:
                raise missing("invoice line item", asked.get("invoice_line_item", ""), "lines")
            amount = whole(asked["amount"], "lines[amount]") if "amount" in asked else rounded(
                Decimal(line["pricing"]["unit_amount_decimal"]) * quantity
            )  # fmt: skip
            left = line["amount"] - self._credited(invoice["id"], line["id"])
            if not 0 < amount <= left:
                raise refuse(f"{amount} are not above 0 and within the {left} left of the line.", param="lines")
            item = line["parent"]["invoice_item_details"]["invoice_item"]
            rates = self.items.objects[item]["tax_rates"]
        else:
            unit = fraction(asked.get("unit_amount_decimal") or asked.get("unit_amount", ""), "lines[unit_amount]")
            amount = rounded(unit * quantity)
            rates = [self.tax_rates.one(id, "lines[tax_rates]") for id in asked.get("tax_rates") or []]
        return {
            "id": self.new_id("cnli"), "object": "credit_note_line_item", "livemode": False, "amount": amount,
            "description": asked.get("description"), "discount_amount": 0, "discount_amounts": [],
            "invoice_line_item": asked.get("invoice_line_item"), "metadata": asked.get("metadata", {}),
            "pretax_credit_amounts": [], "quantity": quantity, "tax_rates": rates, "taxes": taxes_on(amount, rates),
            "type": asked["type"], "unit_amount": None,
            "unit_amount_decimal": None if unit is None else format(unit, "f"),
        }  # fmt: skip

    def _credited(self, invoice: str, line: str) -> int:
        notes = [one for note in self.notes_on(invoice) if note["status"] == "issued" for one in note["lines"]["data"]]
        return sum(one["amount"] for one in notes if one["invoice_line_item"] == line)

    def _list_notes(self, call: Call) -> Answer:
        asked = parameters(call)
        wanted = [
            one for one in self.credit_notes.objects.values()
            if all(asked.get(name, one[name]) == one[name] for name in ("customer", "invoice"))
            and created_within(one, asked)
        ]  # fmt: skip
        return page(call.path, wanted, asked)

    def _list_note_lines(self, call: Call) -> Answer:
        lines = self.credit_notes.one(call.parts["id"])["lines"]["data"]
        return page(call.path, lines[::-1], parameters(call))
