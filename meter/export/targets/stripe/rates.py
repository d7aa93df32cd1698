"""Stripe's tax rates, by the ids that the settings name."""

from __future__ import annotations

from typing import Final

from meter.export.payload import InvoiceLine
from meter.export.targets.stripe.amounts import Rate, rate_of
from meter.export.targets.stripe.api import Api
from meter.model.errors import BadInput

_REMEDY: Final = "name the right one in options.tax_codes, or set options.tax to lines; then retry the delivery"


class Rates:
    """The tax rates of one account at Stripe. They never change there but in name, so they are read once."""

    def __init__(self, api: Api, *, used: bool) -> None:
        """Read nothing yet; `used`: taxes are sent as rates."""
        self.used = used
        self._api = api
        self._known: dict[str, Rate] = {}

    async def of_line(self, line: InvoiceLine) -> Rate | None:
        """Return the rate of a line; None where its tax is an item of its own. Raises BadInput (`bad_tax`), Ends."""
        tax = line.tax
        if not self.used or tax is None or tax.code is None:
            return None
        rate = await self.find(tax.code)
        if rate.fraction != (tax.rate or 0) or rate.inclusive != tax.inclusive:
            ours = f"{(tax.rate or 0) * 100:f} %, {_inside(inclusive=tax.inclusive)}"
            theirs = f"{rate.fraction * 100:f} %, {_inside(inclusive=rate.inclusive)}"
            raise BadInput(f"{tax.name} is {ours} and {tax.code} at Stripe {theirs}; {_REMEDY}", code="bad_tax")
        return rate

    async def find(self, code: str) -> Rate:
        """Return a rate. Raises BadInput (`bad_tax`) where Stripe has none of that id; Ends."""
        if code not in self._known:
            async for one in self._api.listed("/v1/tax_rates"):
                self._known[one["id"]] = rate_of(one)
        if code not in self._known:
            raise BadInput(f"Stripe knows no tax rate {code[:60]}; {_REMEDY}", code="bad_tax")
        return self._known[code]


def _inside(*, inclusive: bool) -> str:
    return "inside the price" if inclusive else "on top of the price"
