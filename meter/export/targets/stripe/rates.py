"""Stripe's tax rates, by the ids that the settings name."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from meter.export.payload import InvoiceLine
from meter.export.targets.stripe.amounts import Rate, rate_of
from meter.export.targets.stripe.api import Api
from meter.model.errors import BadInput
from meter.model.money import ZERO

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
        return await self.same(tax.code, name=tax.name, fraction=tax.rate or ZERO, inclusive=tax.inclusive)

    async def same(self, code: str, *, name: str, fraction: Decimal, inclusive: bool) -> Rate:
        """Return the rate where it is the tax. Raises BadInput (`bad_tax`) naming both where it is another; Ends."""
        rate = await self.find(code)
        if rate.fraction != fraction or rate.inclusive != inclusive:
            ours = f"{fraction * 100:f} %, {_inside(inclusive=inclusive)}"
            theirs = f"{rate.fraction * 100:f} %, {_inside(inclusive=rate.inclusive)}"
            raise BadInput(f"{name} is {ours} and {code} at Stripe {theirs}; {_REMEDY}", code="bad_tax")
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
