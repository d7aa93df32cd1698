"""Sending an invoice to Square: three steps, each of which is looked for before it is done.

    standing ──▶ nothing ──────▶ order (calculated first) ─▶ invoice ─▶ publish
             ├─▶ order, open ───────────────────────────────▶ invoice ─▶ publish
             ├─▶ draft ─────────────────────────────────────────────────▶ publish
             └─▶ more than a draft, paid, cancelled: there is nothing to do

Each step has a key of its own, which derives from the item's, so that what a look could not see yet is not made twice.
An order or a draft of other content (the item was mended, or the settings changed) is withdrawn first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from meter.export.contract import Absent, Delivered, Finding, Outcome, Refused
from meter.export.http import Ends
from meter.export.targets.reading import word_of
from meter.export.targets.square.api import Api
from meter.export.targets.square.held import batch_in, is_taken_back, metadata_in, sums_of
from meter.export.targets.square.wanted import (
    CONTENT,
    CREDITS,
    Json,
    Rules,
    Wanted,
    invoice_body,
    is_taxable,
    order_body,
)
from meter.log import log
from meter.store.outbox import name_of

DRAFT: Final = "DRAFT"
# Nothing of a billing period is sent before it begins, in whatever zone.
MADE_BEFORE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What Square holds of a batch: `whole` is the name of what needs nothing more, else how far it has come."""

    whole: str | None = None
    order: Json | None = None
    invoice: Json | None = None


class InvoiceSender:
    """Orders and invoices of one location."""

    def __init__(self, api: Api, rules: Rules) -> None:
        """Ask by `api`."""
        self._api = api
        self._rules = rules

    async def send(self, key: str, wanted: Wanted) -> Outcome:
        """Go on from where Square stands until it holds the invoice. Raises Ends."""
        standing = await self._standing(wanted)
        if standing.whole is not None:
            return Delivered(standing.whole)
        order, invoice = standing.order, standing.invoice
        if order is not None and _is_other(order, invoice, wanted):
            await self._withdraw(key, order, invoice)
            order = invoice = None
        if order is None:
            order = await self._ordered(key, wanted)
        if invoice is None:
            body = invoice_body(wanted, self._rules, order["id"])
            made = await self._api.write("invoices.create", invoice=body, idempotency_key=f"{key}-invoice")
            invoice = made["invoice"]
        if self._rules.publish:
            await self._publish(key, invoice)
        return Delivered(word_of(invoice, "id"))

    async def look_up(self, wanted: Wanted) -> Finding:
        """Tell whether Square holds all of the invoice. Raises Ends."""
        standing = await self._standing(wanted)
        if standing.whole is not None:
            return Delivered(standing.whole)
        if standing.order is None or standing.invoice is None or self._rules.publish:
            return Absent()
        same = not _is_other(standing.order, standing.invoice, wanted)
        return Delivered(word_of(standing.invoice, "id")) if same else Absent()

    async def _standing(self, wanted: Wanted) -> Standing:
        since, customer = wanted.invoice.start - MADE_BEFORE, wanted.invoice.customer
        customers = {"customer_filter": {"customer_ids": [customer]}}
        every = [one async for one in self._api.orders(self._rules.location, since, **customers)]
        orders = {word_of(one, "id"): one for one in every if batch_in(one) == wanted.batch}
        if not orders:
            return Standing()
        invoices = [
            one async for one in self._api.invoices(self._rules.location, customer) if one.get("order_id") in orders
        ]
        more = [one for one in invoices if one["status"] != DRAFT]
        if len(invoices) > 1:
            log.error("square_invoice_twice", number=wanted.invoice.number, invoices=len(invoices))
        if more:
            return Standing(whole=word_of(more[0], "id"))
        noted = {metadata_in(one).get(CREDITS) for one in every}
        credited = [id for id, one in orders.items() if is_taken_back(one) and id in noted]
        if credited:
            return Standing(whole=credited[0])
        return _unfinished(list(orders.values()), invoices)

    async def _ordered(self, key: str, wanted: Wanted) -> Json:
        taxed = is_taxable(wanted, self._rules) and await self._computes_the_same(wanted)
        body = order_body(wanted, self._rules, taxed=taxed)
        order: Json = (await self._api.write("orders.create", order=body, idempotency_key=f"{key}-order"))["order"]
        if not _comes_to(order, wanted):
            await self._withdraw(key, order, None)
            came = sums_of(order).total
            reason = f"Square computes {came} minor units for {wanted.invoice.number}, not {wanted.total}"
            raise Ends(Refused(f"{reason}; set options.tax to lines, then retry the delivery"))
        return order

    async def _computes_the_same(self, wanted: Wanted) -> bool:
        body = order_body(wanted, self._rules, taxed=True)
        return _comes_to((await self._api.read("orders.calculate", order=body))["order"], wanted)

    async def _withdraw(self, key: str, order: Json, invoice: Json | None) -> None:
        """Take back what is not what is wanted: a draft takes its order along."""
        if invoice is not None:
            await self._api.write("invoices.delete", invoice_id=invoice["id"], version=invoice["version"])
        else:
            await withdraw_order(self._api, key, order)

    async def _publish(self, key: str, invoice: Json) -> None:
        version = invoice["version"]
        step = f"{key}-publish-{version}"
        await self._api.write("invoices.publish", invoice_id=invoice["id"], version=version, idempotency_key=step)


async def withdraw_order(api: Api, key: str, order: Json) -> None:
    """Cancel an open order that has no invoice. Raises Ends."""
    version = order["version"]
    body = {"location_id": order["location_id"], "version": version, "state": "CANCELED"}
    step = name_of(key, "withdraw", order["id"], version)
    await api.write("orders.update", order_id=order["id"], order=body, idempotency_key=step)


def _unfinished(orders: Sequence[Json], drafts: Sequence[Json]) -> Standing:
    drafted = {str(one["order_id"]): one for one in drafts}
    open_ones = [one for one in orders if one.get("state") == "OPEN"]
    open_ones.sort(key=lambda one: str(one["id"]) not in drafted)  # one with a draft first
    if not open_ones:
        return Standing()
    return Standing(order=open_ones[0], invoice=drafted.get(str(open_ones[0]["id"])))


def _is_other(order: Json, invoice: Json | None, wanted: Wanted) -> bool:
    """Tell whether what is there is not what is wanted; what somebody changed in a draft by hand is left to them."""
    if metadata_in(order).get(CONTENT) != wanted.content:
        return True
    return invoice is None and not _comes_to(order, wanted)


def _comes_to(order: Json, wanted: Wanted) -> bool:
    sums = sums_of(order)
    return (sums.total, sums.tax) == (wanted.total, wanted.tax)
