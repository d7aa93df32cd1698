"""Stripe's customers, tax rates and invoice items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.targets.fakes.base import Handler, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call
from tests.targets.fakes.stripe_core import (
    Json,
    Shelf,
    StripeCore,
    created_within,
    fraction,
    page,
    parameters,
    refuse,
    whole,
)

ITEMS_MAX = 250  # of an invoice, and pending for a customer


def rounded(amount: Decimal) -> int:
    """Return whole minor units."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def taxes_on(amount: int, rates: Iterable[Json]) -> list[Json]:
    """Return the taxes of a line in Stripe's shape. Each line is rounded by itself."""
    found = []
    for rate in rates:
        share = Decimal(rate["percentage"]) / 100
        taxable = Decimal(amount) / (1 + share) if rate["inclusive"] else Decimal(amount)
        found.append({
            "amount": rounded(taxable * share),
            "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": rate["id"]},
            "taxability_reason": "standard_rated",
            "taxable_amount": rounded(taxable),
            "type": "tax_rate_details",
        })  # fmt: skip
    return found


def with_changes(old: Mapping[str, str], asked: Any) -> dict[str, str]:
    """Return metadata after an update: an empty text removes a name, an empty value removes all."""
    if asked == "":
        return {}
    return {name: value for name, value in {**old, **asked}.items() if value != ""}


class StripeItems(StripeCore):
    """Customers and tax rates are made by the test or through the interface; items of others are refused."""

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self.customers = Shelf("customer", "cus")
        self.tax_rates = Shelf("tax_rate", "txr")
        self.items = Shelf("invoiceitem", "ii")
        self.invoices = Shelf("invoice", "in")
        self.credit_notes = Shelf("credit_note", "cn")

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            ("GET", "/v1/account", lambda _: Answer(content={"id": "acct_1", "object": "account"})),
            ("POST", "/v1/customers", self._create_customer),
            ("GET", "/v1/customers", lambda call: page(call.path, self.customers.objects.values(), parameters(call))),
            ("GET", "/v1/customers/{id}", lambda call: Answer(content=self.customers.one(call.parts["id"]))),
            ("POST", "/v1/tax_rates", self._create_tax_rate),
            ("GET", "/v1/tax_rates", lambda call: page(call.path, self.tax_rates.objects.values(), parameters(call))),
            ("POST", "/v1/invoiceitems", self._create_item),
            ("GET", "/v1/invoiceitems", self._list_items),
            ("GET", "/v1/invoiceitems/{id}", lambda call: Answer(content=self.items.one(call.parts["id"]))),
            ("POST", "/v1/invoiceitems/{id}", self._update_item),
            ("DELETE", "/v1/invoiceitems/{id}", self._delete_item),
        ]

    def add_customer(self, id: str = "") -> str:
        """Let a customer exist; return its id."""
        customer = self.made(self.customers, created=self.clock.unix_s(), metadata={}, name=None, email=None)
        if id:
            del self.customers.objects[customer["id"]]
            self.customers.objects[id] = customer | {"id": id}
        return id or str(customer["id"])

    def add_tax_rate(self, percentage: str, *, inclusive: bool = False, name: str = "VAT") -> str:
        """Let a tax rate exist; return its id."""
        rate = self.made(
            self.tax_rates, active=True, country=None, created=self.clock.unix_s(), description=None, display_name=name,
            effective_percentage=Decimal(percentage), flat_amount=None, inclusive=inclusive, jurisdiction=None,
            jurisdiction_level=None, metadata={}, percentage=Decimal(percentage), rate_type="percentage", state=None,
            tax_type="vat",
        )  # fmt: skip
        return str(rate["id"])

    def items_of(self, invoice: str) -> list[Json]:
        """Return an invoice's items in the order they were made."""
        return [one for one in self.items.objects.values() if one["invoice"] == invoice]

    def pending(self, customer: str) -> list[Json]:
        """Return the customer's items that are on no invoice."""
        return [one for one in self.items.objects.values() if (one["invoice"], one["customer"]) == (None, customer)]

    def draft(self, id: str, param: str = "invoice") -> Json:
        """Return an invoice that takes items. Raises Refuse."""
        invoice = self.invoices.one(id, param)
        if invoice["status"] != "draft":
            raise refuse("This invoice is no longer editable", code="invoice_not_editable", param=param)
        return invoice

    def _create_customer(self, call: Call) -> Answer:
        asked = parameters(call)
        customer = self.customers.objects[self.add_customer()]
        customer.update(name=asked.get("name"), email=asked.get("email"), metadata=asked.get("metadata", {}))
        return Answer(content=customer)

    def _create_tax_rate(self, call: Call) -> Answer:
        asked = parameters(call)
        inclusive, name = asked["inclusive"] == "true", asked["display_name"]
        rate = self.add_tax_rate(asked["percentage"], inclusive=inclusive, name=name)
        return Answer(content=self.tax_rates.objects[rate])

    def _create_item(self, call: Call) -> Answer:
        asked = parameters(call)
        if "customer" not in asked:
            raise refuse("Missing required param: customer.", param="customer", code="parameter_missing")
        customer = self.customers.one(asked["customer"], "customer")["id"]
        invoice = asked.get("invoice")
        if invoice is not None and self.draft(invoice)["customer"] != customer:
            raise refuse(f"The invoice {invoice} is of another customer.", param="invoice")
        if len(self.items_of(invoice) if invoice else self.pending(customer)) >= ITEMS_MAX:
            raise refuse(f"There are at most {ITEMS_MAX} items on an invoice, and pending for a customer.")
        if "currency" not in asked and "price_data" not in asked:
            raise refuse("Missing required param: currency.", param="currency", code="parameter_missing")
        currency = (asked.get("currency") or asked["price_data"]["currency"]).lower()
        if invoice is not None and self.invoices.objects[invoice]["currency"] != currency:
            raise refuse(f"The invoice's currency is not {currency}.", param="currency")
        now = self.clock.unix_s()
        fields: Json = {
            "currency": currency, "customer": customer, "customer_account": None, "date": now, "discountable": False,
            "discounts": [], "invoice": invoice, "parent": None, "period": {"start": now, "end": now},
            "proration": False, "test_clock": None, "description": None, "metadata": {}, "tax_rates": [],
        }  # fmt: skip
        return Answer(content=self.made(self.items, **(fields | self._changes(fields, asked))))

    def _changes(self, old: Json, asked: Json) -> Json:
        """Return what a request makes of an item: all but the fields that never change."""
        unit, quantity, amount = self._price(old, asked)
        period = asked.get("period")
        rates = asked.get("tax_rates")
        return {
            "amount": amount,
            "net_amount": amount,
            "quantity": int(quantity),
            "quantity_decimal": format(quantity, "f"),
            "pricing": {"type": "price_details", "price_details": None, "unit_amount_decimal": format(unit, "f")},
            "description": asked.get("description", old["description"]),
            "metadata": with_changes(old["metadata"], asked.get("metadata", {})),
            "period": {name: whole(period[name], "period") for name in ("start", "end")} if period else old["period"],
            "tax_rates": old["tax_rates"] if rates is None else [self.tax_rates.one(id, "tax_rates") for id in rates],
        }

    def _price(self, old: Json, asked: Json) -> tuple[Decimal, Decimal, int]:
        """Return unit amount, quantity and amount, in minor units."""
        priced = asked.get("price_data", asked)
        given = {"amount", "unit_amount_decimal", "unit_amount"} & {*asked, *priced}
        if not given and "amount" in old:
            return Decimal(old["pricing"]["unit_amount_decimal"]), Decimal(old["quantity_decimal"]), old["amount"]
        if len(given) != 1:
            raise refuse("An item has one of amount, unit_amount_decimal and price_data.", param="amount")
        if {"quantity", "quantity_decimal"} <= asked.keys():
            raise refuse("An item has one of quantity and quantity_decimal.", param="quantity")
        quantity = fraction(asked.get("quantity_decimal", "1"), "quantity_decimal")
        if "quantity" in asked:
            quantity = Decimal(whole(asked["quantity"], "quantity"))
        if "amount" in asked:
            amount = whole(asked["amount"], "amount")
            return Decimal(amount), Decimal(1), amount
        unit = fraction(priced.get("unit_amount_decimal") or priced["unit_amount"], "unit_amount_decimal")
        return unit, quantity, rounded(unit * quantity)

    def _list_items(self, call: Call) -> Answer:
        asked = parameters(call)
        wanted = [
            one for one in self.items.objects.values()
            if asked.get("customer", one["customer"]) == one["customer"]
            and asked.get("invoice", one["invoice"]) == one["invoice"]
            and asked.get("pending", str(one["invoice"] is None).lower()) == str(one["invoice"] is None).lower()
            and created_within({"created": one["date"]}, asked)
        ]  # fmt: skip
        return page(call.path, wanted, asked)

    def _editable(self, call: Call) -> Json:
        item = self.items.one(call.parts["id"])
        if item["invoice"] is not None:
            self.draft(item["invoice"])
        return item

    def _update_item(self, call: Call) -> Answer:
        item = self._editable(call)
        item.update(self._changes(item, parameters(call)))
        return Answer(content=item)

    def _delete_item(self, call: Call) -> Answer:
        item = self._editable(call)
        del self.items.objects[item["id"]]
        return Answer(content={"id": item["id"], "object": "invoiceitem", "deleted": True})
