"""Stripe's invoices: a draft takes items, a finalised one never changes.

draft --finalize--> open --pay--> paid
                    open --void--> void
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.targets.fakes.base import Handler
from tests.targets.fakes.http import Answer, Call
from tests.targets.fakes.stripe_core import Json, created_within, page, parameters, refuse
from tests.targets.fakes.stripe_items import ITEMS_MAX, StripeItems, taxes_on

_SAME_ON_LINES = (
    "amount", "currency", "description", "discountable", "discounts", "invoice", "metadata", "period", "pricing",
    "quantity", "quantity_decimal",
)  # fmt: skip


class StripeInvoices(StripeItems):
    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            *super().routes(),
            ("POST", "/v1/invoices", self._create_invoice),
            ("GET", "/v1/invoices", self._list_invoices),
            ("GET", "/v1/invoices/{id}", lambda call: self._shown(self.invoices.one(call.parts["id"]))),
            ("POST", "/v1/invoices/{id}", self._update_invoice),
            ("DELETE", "/v1/invoices/{id}", self._delete_invoice),
            ("GET", "/v1/invoices/{id}/lines", self._list_lines),
            ("POST", "/v1/invoices/{id}/finalize", self._finalize),
            ("POST", "/v1/invoices/{id}/void", self._void),
            ("POST", "/v1/invoices/{id}/pay", lambda call: self._shown(self.pay(call.parts["id"]))),
        ]

    def pay(self, id: str) -> Json:
        """Let the customer have paid what was left; return the invoice. Raises Refuse where there is nothing to pay."""
        invoice = self._open(id)
        invoice.update(amount_paid=invoice["amount_remaining"], amount_remaining=0, status="paid")
        return invoice

    def lines(self, invoice: Json) -> list[Json]:
        """Return an invoice's lines, in the order of its items."""
        return [self._line(item) for item in self.items_of(invoice["id"])]

    def _line(self, item: Json) -> Json:
        taxes = taxes_on(item["amount"], item["tax_rates"])
        same = {name: item[name] for name in _SAME_ON_LINES}
        parent = {"type": "invoice_item_details", "invoice_item_details": {"invoice_item": item["id"]}}
        inclusive = sum(one["amount"] for one in taxes if one["tax_behavior"] == "inclusive")
        return same | {
            "id": item["id"].replace("ii_", "il_"), "object": "line_item", "livemode": False, "parent": parent,
            "pretax_credit_amounts": [], "discount_amounts": [], "subscription": None, "taxes": taxes,
            "subtotal": item["amount"] - inclusive,
        }  # fmt: skip

    def _create_invoice(self, call: Call) -> Answer:
        asked = parameters(call)
        if "customer" not in asked:
            raise refuse("Missing required param: customer.", param="customer", code="parameter_missing")
        customer = self.customers.one(asked["customer"], "customer")["id"]
        pulled = self.pending(customer) if asked.get("pending_invoice_items_behavior") == "include" else []
        currency = str(asked.get("currency") or (pulled[0]["currency"] if pulled else "usd")).lower()
        pulled = [item for item in pulled if item["currency"] == currency]
        now = self.clock.unix_s()
        invoice = self.made(
            self.invoices, status="draft", customer=customer, currency=currency, created=now, period_start=now,
            period_end=now, metadata=asked.get("metadata", {}), description=asked.get("description"), number=None,
            auto_advance=asked.get("auto_advance") == "true", billing_reason="manual", amount_paid=0,
            collection_method=asked.get("collection_method", "charge_automatically"), due_date=None,
            pre_payment_credit_notes_amount=0, post_payment_credit_notes_amount=0, attempted=False,
        )  # fmt: skip
        for item in pulled[:ITEMS_MAX]:
            item["invoice"] = invoice["id"]
        return self._shown(invoice)

    def _sum(self, invoice: Json) -> None:
        lines = self.lines(invoice)
        exclusive = sum(tax["amount"] for line in lines for tax in line["taxes"] if tax["tax_behavior"] == "exclusive")
        subtotal = sum(line["amount"] for line in lines)
        total = subtotal + exclusive
        credited = invoice["pre_payment_credit_notes_amount"]
        due = total - credited
        invoice.update(
            subtotal=subtotal, total=total, amount_due=due,
            amount_remaining=0 if invoice["status"] == "paid" else due - invoice["amount_paid"],
            subtotal_excluding_tax=sum(line["subtotal"] for line in lines),
            total_excluding_tax=sum(line["subtotal"] for line in lines),
            total_taxes=[tax for line in lines for tax in line["taxes"]],
        )  # fmt: skip

    def _shown(self, invoice: Json) -> Answer:
        self._sum(invoice)
        url = f"/v1/invoices/{invoice['id']}/lines"
        first = self.lines(invoice)
        shown: Json = {"object": "list", "url": url, "has_more": len(first) > 10, "data": first[:10]}
        return Answer(content=invoice | {"lines": shown})

    def _list_invoices(self, call: Call) -> Answer:
        asked = parameters(call)
        wanted = [
            self._shown(one).content for one in self.invoices.objects.values()
            if all(asked.get(name, one[name]) == one[name] for name in ("customer", "status"))
            and created_within(one, asked)
        ]  # fmt: skip
        return page(call.path, wanted, asked)

    def _list_lines(self, call: Call) -> Answer:
        # Lines come in their order; other lists have the newest first.
        return page(call.path, self.lines(self.invoices.one(call.parts["id"]))[::-1], parameters(call))

    def _update_invoice(self, call: Call) -> Answer:
        asked: dict[str, Any] = parameters(call)
        invoice = self.draft(call.parts["id"], "id")
        invoice["metadata"] = invoice["metadata"] | asked.get("metadata", {})
        invoice["description"] = asked.get("description", invoice["description"])
        return self._shown(invoice)

    def _delete_invoice(self, call: Call) -> Answer:
        invoice = self.draft(call.parts["id"], "id")
        for item in self.items_of(invoice["id"]):
            del self.items.objects[item["id"]]
        del self.invoices.objects[invoice["id"]]
        return Answer(content={"id": invoice["id"], "object": "invoice", "deleted": True})

    def _finalize(self, call: Call) -> Answer:
        invoice = self.draft(call.parts["id"], "id")
        self._sum(invoice)
        invoice.update(status="open", number=f"FAKE-{self.new_number():04d}", effective_at=self.clock.unix_s())
        if invoice["amount_due"] <= 0:
            invoice["status"] = "paid"
        return self._shown(invoice)

    def _open(self, id: str) -> Json:
        invoice = self.invoices.one(id)
        if invoice["status"] not in {"open", "uncollectible"}:
            raise refuse(f"The invoice is {invoice['status']}, not open.", code="invoice_not_open", param="invoice")
        self._sum(invoice)
        return invoice

    def _void(self, call: Call) -> Answer:
        invoice = self._open(call.parts["id"])
        if any(note["status"] == "issued" for note in self.notes_on(invoice["id"])):
            raise refuse("An invoice with credit notes is not voided.", param="invoice")
        invoice["status"] = "void"
        return self._shown(invoice)

    def notes_on(self, invoice: str) -> list[Json]:
        """Return an invoice's credit notes."""
        return [one for one in self.credit_notes.objects.values() if one["invoice"] == invoice]
