"""What of a target's settings decides about requests to QuickBooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from meter.export.targets.options import UNTAXED, names
from meter.export.targets.spec import Setup

Tracking: TypeAlias = Literal["Class", "Department"]
Reference: TypeAlias = Literal["Account", "Customer", "Item", "TaxCode", "TaxRate"]
_TRACKING: Mapping[Any, Tracking | None] = {"class": "Class", "department": "Department", "none": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How contents become QuickBooks' entities.

    `parties`: who a ledger account is owed by or to, by its name; `customer` who owes what is owed by an account
    without a customer of its own. `home_currency`: the one that goes without saying (""; each is said). `untaxed` is
    the code of lines without tax, `tax_rates` the id of each tax's rate, by the catalog's name of the tax.
    """

    tracking: Tracking | None = "Class"
    parties: Mapping[str, str] = field(default_factory=dict)
    customer: str = ""
    home_currency: str = ""
    us_sales_tax: bool = False
    untaxed: str | None = None
    tax_rates: Mapping[str, str] = field(default_factory=dict)
    terms_days: int = 0


def rules_of(setup: Setup) -> Rules:
    """Return the rules of a target whose options are in order."""
    options: Mapping[str, Any] = setup.options
    untaxed = options["tax_codes"].get(UNTAXED)
    return Rules(
        tracking=_TRACKING[options["tracking"]],
        parties=names(setup, "parties"),
        customer=options["customer"],
        home_currency=options["home_currency"],
        us_sales_tax=options["us_sales_tax"],
        tax_rates=names(setup, "tax_rates"),
        untaxed=untaxed or ("NON" if options["us_sales_tax"] else None),
        terms_days=options["terms_days"],
    )


def references_of(setup: Setup) -> Mapping[Reference, frozenset[str]]:
    """Return the ids that the settings name, by what they are of."""
    options: Mapping[str, Any] = setup.options
    if setup.mode != "invoices":
        customer = {options["customer"]} - {""}
        return {"Account": frozenset(options["accounts"].values()), "Customer": frozenset(customer)}
    items = frozenset(options["items"].values())
    if options["us_sales_tax"]:
        return {"Item": items}  # TAX and NON are words, not ids
    codes, rates = options["tax_codes"].values(), options["tax_rates"].values()
    return {"Item": items, "TaxCode": frozenset(codes), "TaxRate": frozenset(rates)}
