"""Stripe: invoice items, invoices, credit notes, metered usage, and the webhooks it sends."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import aiohttp

from tests.targets.fakes.base import Held, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.money import major
from tests.targets.fakes.stripe_core import Json
from tests.targets.fakes.stripe_credits import StripeCredits
from tests.targets.fakes.stripe_items import taxes_on
from tests.targets.fakes.stripe_meters import StripeMeters

WEBHOOK_SECRET = "whsec_of_the_fake"


class FakeStripe(StripeCredits, StripeMeters):
    """`books` says what customers owe, items and credit notes alike; `usage` what meters counted.

    `reference` names the entry of an object's metadata that is ours.
    """

    def __init__(
        self, *, clock: Clock | None = None, check_request: RequestCheck | None = None, reference: str = "key"
    ) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self._reference = reference

    def books(self) -> tuple[Held, ...]:
        charged = [
            self._held(one, one["amount"], one["tax_rates"], state)
            for one in self.items.objects.values()
            if (state := self._state(one)) != "void"
        ]
        credited = [self._credited_back(one) for one in self.credit_notes.objects.values() if one["status"] == "issued"]
        return (*charged, *credited)

    def by_hand(self, id: str, changes: Mapping[str, Any] | None) -> None:
        """Change fields of an item, invoice or credit note as a person in the dashboard would; None deletes it."""
        for shelf in (self.items, self.invoices, self.credit_notes):
            if id in shelf.objects:
                if changes is None:
                    del shelf.objects[id]
                else:
                    shelf.objects[id].update(changes)
                return
        raise KeyError(id)

    async def webhook(
        self, url: str, event: Mapping[str, Any], *, secret: str = WEBHOOK_SECRET, at_s: int | None = None
    ) -> int:
        """Send a signed event as Stripe does; return the status it got. `at_s`: signed then, else now."""
        body = json.dumps(event).encode()
        headers = {"Stripe-Signature": signature(body, secret, at_s), "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
            return answer.status

    def event(self, kind: str, id: str) -> Json:
        """Return the snapshot event of an object for `webhook`, such as invoice.finalized of in_..."""
        found = next(
            shelf.objects[id] for shelf in (self.items, self.invoices, self.credit_notes) if id in shelf.objects
        )
        return {
            "id": self.new_id("evt"), "object": "event", "type": kind, "created": self.clock.unix_s(),
            "livemode": False, "api_version": None, "data": {"object": found}, "pending_webhooks": 1,
            "request": {"id": None},
        }  # fmt: skip

    def _state(self, item: Json) -> str:
        invoice = self.invoices.objects.get(item["invoice"] or "")
        return "pending" if invoice is None else str(invoice["status"])

    def _held(self, one: Json, amount: int, rates: list[Json], state: str) -> Held:
        taxes = taxes_on(amount, rates)
        inclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")
        return Held(
            id=one["id"], kind=one["object"], reference=one["metadata"].get(self._reference, ""),
            customer=one["customer"], amount=major(amount - inclusive, one["currency"]), state=state,
            currency=one["currency"].upper(),
            tax=major(sum(tax["amount"] for tax in taxes), one["currency"]), details=dict(one["metadata"]),
        )  # fmt: skip

    def _credited_back(self, note: Json) -> Held:
        tax = sum(tax["amount"] for tax in note["total_taxes"])
        return Held(
            id=note["id"], kind=note["object"], reference=note["metadata"].get(self._reference, ""),
            customer=note["customer"], amount=-major(note["total_excluding_tax"], note["currency"]),
            tax=-major(tax, note["currency"]) + Decimal(0), currency=note["currency"].upper(), state=note["status"],
            details=dict(note["metadata"]),
        )  # fmt: skip


def signature(body: bytes, secret: str, at_s: int | None = None) -> str:
    """Return the Stripe-Signature header of a body."""
    at = int(time.time()) if at_s is None else at_s
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"
