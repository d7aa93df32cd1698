"""Sending lines and notices to Stripe, exactly once (the algorithm is in this package's docstring)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

from meter.export.contract import Absent, Delivered, Figures, Finding, Held, Limits, Outcome, Refused
from meter.export.http import Ends
from meter.export.payload import LineItem, PeriodClosed, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.options import names
from meter.export.targets.spec import Setup
from meter.export.targets.stripe.api import Api, NotTaken
from meter.export.targets.stripe.drafts import Drafts
from meter.export.targets.stripe.rates import Rates
from meter.export.targets.stripe.reconciling import figures_of, holdings
from meter.export.targets.stripe.sender import LineSender
from meter.export.targets.stripe.wanted import COMPLETE
from meter.model.catalog import Catalog
from meter.model.errors import BadInput
from meter.store.outbox import OutboxItem

KEYS_KEPT: Final = timedelta(hours=20)  # Stripe keeps them for 24 hours at least
SETTLES_S: Final = 10.0
# Four fifths of what an account takes with a live key, 100 requests a second in all and 25 of one endpoint; no second
# has more than those with the bursts (docs.stripe.com/rate-limits, November 2026).
LIMITS: Final = Limits(
    items_max=100,
    in_flight=8,
    rate_per_s=80.0,
    burst=20,
    endpoint_rate_per_s=20.0,
    endpoint_burst=5,
    keys_kept_s=KEYS_KEPT.total_seconds(),
    settles_s=SETTLES_S,
)
# A sandbox takes 25 in all.
SANDBOX_LIMITS: Final = replace(LIMITS, rate_per_s=20.0, burst=5)


class StripeTarget:
    """Invoice items, drafts and credit notes of one account at Stripe."""

    def __init__(self, setup: Setup) -> None:
        """Connect to nothing yet."""
        self._setup = setup
        self.limits = SANDBOX_LIMITS if "_test_" in (setup.api_key or "") else LIMITS
        self._api = Api(setup.api_key or "", self.limits, base_url=setup.base_url, guard=setup.guard)
        self._drafts = Drafts(self._api, setup.options)
        self._rates = Rates(self._api, used=setup.options["tax"] == "rates")
        self._lines = LineSender(self._api, self._drafts, self._rates, setup.options)

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()

    async def check(self) -> None:
        """Return where invoices can be read and every tax rate is there. Raises MeterError."""
        await self._api.allows("/v1/invoices", limit=1)
        codes = self._setup.options["tax_codes"].values() if self._rates.used else ()
        try:
            for code in codes:
                await self._rates.find(str(code))
        except Ends as end:
            raise end.as_error() from end

    async def mismatches(self, catalog: Catalog) -> Sequence[str]:
        """Return which tax rates are others than the catalog's taxes. Raises MeterError."""
        if not self._rates.used:
            return ()
        found = []
        for name, code in names(self._setup, "tax_codes").items():
            tax = catalog.taxes.get(name)
            try:
                if tax is not None:
                    await self._rates.same(code, name=name, fraction=tax.rate, inclusive=tax.inclusive)
            except BadInput as error:
                found.append(error.detail)
            except Ends as end:
                raise end.as_error() from end
        return found

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Send items, streams side by side."""
        return await one_by_one(items, self._send, self.limits)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Tell of each item whether Stripe holds all of it, by listing what bears its batch's name."""
        return await ask_each(items, self._look_up, self.limits)

    def figures(self, item: OutboxItem) -> Figures:
        """Return what Stripe must hold of a delivered item."""
        return figures_of(item)

    def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give what Stripe holds of ours. Raises MeterError."""
        return holdings(self._api, since, until)

    async def _send(self, item: OutboxItem) -> Outcome:
        content = thawed(item.operation, item.payload)
        if isinstance(content, PeriodClosed):
            return await self._close_period(item, content)
        if not isinstance(content, LineItem):
            return Refused(f"Stripe takes lines and notices, not {item.operation}; check the target's mode")
        return await self._lines.send(item, content)

    async def _close_period(self, item: OutboxItem, notice: PeriodClosed) -> Outcome:
        """Mark the drafts of the invoice as complete, or finalise them; nothing where there is none."""
        if self._setup.options["invoices"] == "none":
            return Delivered()
        last: str | None = None
        for _, one in await self._drafts.of_invoice(notice.customer, notice.invoice, notice.start):
            last = last or str(one["id"])
            if one["status"] == "draft":
                await self._complete(one["id"], key=f"{item.key}-{one['id']}")
        self._drafts.forget(notice.invoice)
        return Delivered(last)

    async def _complete(self, invoice: str, *, key: str) -> None:
        options = self._setup.options
        try:
            if options["invoices"] == "finalize":
                params: dict[str, Any] = {"auto_advance": options["auto_advance"]}
                await self._api.write(f"/v1/invoices/{invoice}/finalize", params, key=key)
            else:
                params = {"metadata": {COMPLETE: "true"}}
                await self._api.write(f"/v1/invoices/{invoice}", params, key=key)
        except NotTaken:
            found = await self._api.find(f"/v1/invoices/{invoice}")
            if found is not None and found["status"] == "draft":
                raise

    async def _look_up(self, item: OutboxItem) -> Finding:
        content = thawed(item.operation, item.payload)
        if isinstance(content, PeriodClosed):
            return await self._look_up_notice(content)
        if not isinstance(content, LineItem):
            return Absent()
        return await self._lines.look_up(item, content)

    async def _look_up_notice(self, notice: PeriodClosed) -> Finding:
        """Tell whether every draft is as the notice wants it; to do it again where it is not does no harm."""
        found = await self._drafts.of_invoice(notice.customer, notice.invoice, notice.start)
        wanting = [
            one
            for _, one in found
            if one["status"] == "draft"
            and (self._setup.options["invoices"] == "finalize" or COMPLETE not in one["metadata"])
        ]
        return Absent() if wanting else Delivered(found[0][1]["id"] if found else None)
