"""What takes a credit note off the invoice that it gives back on, as far as that is open.

Each allocation takes as much as there is, so a second one after an answer that was lost finds nothing left.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from meter.export.contract import Delivered, Outcome, Refused, Uncertain
from meter.export.http import Ends, Fault
from meter.export.payload import Invoice
from meter.export.targets.books import Document
from meter.export.targets.reading import number_of, object_of, objects_of, word_of
from meter.export.targets.xero.api import Api
from meter.export.targets.xero.documents import allocation, entity_of
from meter.export.targets.xero.replies import Json, made
from meter.log import log
from meter.model.money import ZERO
from meter.store.outbox import OutboxItem


class Allocations:
    """The allocations of one tenant's credit notes. `allocates`: drafts cannot be, only what is approved."""

    def __init__(self, api: Api, *, allocates: bool) -> None:
        """Ask nothing yet."""
        self._api = api
        self._allocates = allocates

    async def settle(self, item: OutboxItem, note: Invoice, id: str, left: Decimal) -> Outcome:
        """Take what is left of the note off its invoice; return what becomes of the item, whose note is there."""
        try:
            invoice = await self._open_invoice(note) if left > ZERO else None
            if invoice is not None:
                return await self._allocate(item, note, id, min(left, number_of(invoice, "AmountDue")), invoice)
        except Fault as error:
            return Uncertain(f"the credit note is made, its allocation is not known: {error}")
        except Ends as end:
            return Uncertain(f"the credit note is made, not yet allocated: {end}")
        return Delivered(id)

    async def _allocate(self, item: OutboxItem, note: Invoice, id: str, amount: Decimal, invoice: Json) -> Outcome:
        body = allocation(amount, note.issued, word_of(invoice, "InvoiceID"))
        answer = await self._api.write(f"/CreditNotes/{id}/Allocations", body, key=f"{item.key}-allocation")
        outcome = made(answer, "Allocations")
        if isinstance(outcome, Refused) and answer.status <= 400:
            # What stands in the way is the customer's credit all the same.
            log.warning("credit_not_allocated", target=item.target, batch=item.batch, reason=outcome.reason)
        elif not isinstance(outcome, Mapping):
            raise Ends(outcome)
        return Delivered(id)

    async def is_wanting(self, content: Document, held: Json) -> bool:
        """Tell whether something held is a credit note that still has to be taken off its invoice. Raises Ends."""
        if not isinstance(content, Invoice) or entity_of(content) != "CreditNotes":
            return False
        if held.get("Status") != "AUTHORISED" or held.get("Allocations") or number_of(held, "RemainingCredit") <= ZERO:
            return False
        return await self._open_invoice(content) is not None

    async def _open_invoice(self, note: Invoice) -> Json | None:
        """Return the invoice that a note gives back on, where something of it is due. Raises Ends."""
        if note.credits is None or not self._allocates:
            return None
        found = await self._api.read("/Invoices", InvoiceNumbers=note.credits)
        for one in objects_of(found, "Invoices", required=True):
            same = object_of(one, "Contact").get("ContactID") == note.customer
            if same and one.get("Status") == "AUTHORISED" and one.get("CurrencyCode") == note.currency:
                return one if number_of(one, "AmountDue") > ZERO else None
        return None
