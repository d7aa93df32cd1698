"""The drafts of our invoices at Stripe: found by their metadata, made when the first line needs one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from meter.export.payload import LineItem
from meter.export.targets.reading import word_of
from meter.export.targets.stripe.api import Api, Object
from meter.export.targets.stripe.wanted import INVOICE, draft_name, invoice_params, place_of

# Stripe's 250, less the tax item that a line may come with.
LINES_MAX: Final = 249
# Drafts that are remembered; one that is not is looked for.
REMEMBERED_MAX: Final = 10_000
# An invoice is made when its first line is sent, which is before its period only where clocks differ or fees are early.
MADE_BEFORE: Final = timedelta(days=35)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A draft that takes lines; `id` None: lines stay pending. `lines` is how many it has at least."""

    id: str | None
    lines: int = 0


class Drafts:
    """The drafts of one target. What is remembered is a hint; only the slow path, which asks first, trusts nothing."""

    def __init__(self, api: Api, options: Mapping[str, Any]) -> None:
        """Remember nothing yet."""
        self._api = api
        self._options = options
        self._pending = options["invoices"] == "none"
        self._known: OrderedDict[str, Draft] = OrderedDict()

    def remembered(self, invoice: str) -> Draft | None:
        """Return the draft of an invoice if it is known to take one more line."""
        draft = self._known.get(invoice)
        return draft if draft is not None and draft.lines < LINES_MAX else None

    def forget(self, invoice: str) -> None:
        """Look for the draft of an invoice when it is needed next."""
        self._known.pop(invoice, None)

    async def current(self, item: LineItem, *, key: str) -> Draft:
        """Return the draft that takes the next line, and remember it. Raises Ends, NotTaken."""
        draft = Draft(id=None) if self._pending else await self._found_or_made(item, key=key)
        self._known[item.invoice] = draft
        self._known.move_to_end(item.invoice)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return draft

    async def of_invoice(self, customer: str, invoice: str, start: datetime) -> list[tuple[int, Object]]:
        """Return every invoice of that number with its place, whatever its status, the last first. Raises Ends."""
        found = [
            (place, one)
            async for one in self._api.listed("/v1/invoices", customer=customer, created=created_since(start))
            if (place := place_of(str((one.get("metadata") or {}).get(INVOICE, "")), invoice))
        ]
        return sorted(found, key=lambda one: one[0], reverse=True)

    async def _found_or_made(self, item: LineItem, *, key: str) -> Draft:
        others = await self.of_invoice(item.customer, item.invoice, item.invoice_start)
        for _, one in others:
            if one["status"] == "draft":
                lines = 0
                async for _line in self._api.listed(f"/v1/invoices/{one['id']}/lines"):
                    lines += 1
                if lines < LINES_MAX:
                    return Draft(id=word_of(one, "id"), lines=lines)
        name = draft_name(item.invoice, max((place for place, _ in others), default=0) + 1)
        made = await self._api.write("/v1/invoices", invoice_params(item, name, options=self._options), key=key)
        return Draft(id=word_of(made, "id"))


def created_since(start: datetime) -> dict[str, int]:
    """Return the filter of a list for what was made for a period from `start` on."""
    return {"gte": int((start - MADE_BEFORE).timestamp())}
