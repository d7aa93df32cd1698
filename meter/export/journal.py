"""Charges become balanced entries: the posting rules. Pure (docs/ledger.md).

    on account       Dr receivable   Cr income, tax; of a deposit: deposits; of credit sold ahead: deferred
    paid at a till   Dr clearing     Cr income, tax, tips; what the till's total has more or less: rounding

Reversals and refunds are the same entries negated, because their charges' figures are. With inclusive tax a charge is
gross, and income gets what remains after tax. Nothing is lost for want of a rule: an account that no book could hold
goes to suspense.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from meter.model.catalog import Catalog
from meter.model.charge import Charge, Line
from meter.model.journal import JournalEntry, Posting
from meter.model.money import ZERO, plain
from meter.rating.calendar import CREDIT_SALE, DEPOSIT

# The chart where the catalog's `ledger:` section says nothing. Income defaults to one account a meter.
DEFAULT_ACCOUNTS: Final = {
    "receivable": "assets:receivable",
    "clearing": "assets:clearing",
    "tax": "liabilities:tax",
    "tips": "liabilities:tips",
    "deposits": "liabilities:deposits",
    "deferred": "liabilities:deferred",
    "rounding": "expenses:rounding",
    "suspense": "equity:suspense",
}
# What is owed to the member after it was paid for is no income: meters of fees, by the role that gets them.
_OWED: Final = {DEPOSIT: "deposits", CREDIT_SALE: "deferred"}
# The five kinds of account that every book has, and the other words that operators use for them.
_ROOTS: Final = {
    **dict.fromkeys(("asset", "assets"), "assets"),
    **dict.fromkeys(("liability", "liabilities"), "liabilities"),
    "equity": "equity",
    **dict.fromkeys(("income", "revenue", "revenues"), "income"),
    **dict.fromkeys(("expense", "expenses"), "expenses"),
}


def entry_for(charge: Charge, *, catalog: Catalog, day: date) -> JournalEntry | None:
    """Return the balanced entry of `charge`, or None where no money moves (wholly covered, unpriced).

    `day` is the date of booking in the operator's zone; `catalog` gives the chart of accounts.
    """
    legs = _paid(charge, catalog) if charge.line.settlement == "paid" else _on_account(charge, catalog)
    postings = tuple([Posting(account=account, amount=amount) for account, amount in legs if amount])
    if not postings:
        return None
    line = charge.line
    return JournalEntry(
        id=charge.id,
        day=day,
        currency=line.currency,
        narration=_narration(charge),
        postings=postings,
        dimensions=_dimensions(charge),
    )


def _on_account(charge: Charge, catalog: Catalog) -> list[tuple[str, Decimal]]:
    rounded, tax = charge.rounded, charge.tax_amount
    inclusive = charge.line.tax is not None and charge.line.tax.inclusive
    net = rounded - tax if inclusive else rounded
    return [
        (role_account(catalog, "receivable"), net + tax),
        (earned_account(catalog, charge.line), -net),
        (tax_account(catalog, charge), -tax),
    ]


def _paid(charge: Charge, catalog: Catalog) -> list[tuple[str, Decimal]]:
    """Post a sale as the till took it: its amount is net, its total what the guest paid, tip included."""
    net, tax, tip = charge.rounded, charge.tax_amount, charge.line.tip or ZERO
    total = net + tax + tip if charge.line.total is None else charge.line.total
    return [
        (clearing_account(catalog, charge.line), total),
        (income_account(catalog, charge.line.meter), -net),
        (tax_account(catalog, charge), -tax),
        (role_account(catalog, "tips"), -tip),
        (role_account(catalog, "rounding"), net + tax + tip - total),
    ]


def _narration(charge: Charge) -> str:
    """Return what the line is, and how much where it has a quantity: a minimum has none."""
    line, kind = charge.line, charge.kind
    words = [line.meter] if kind in {"usage", "fee"} else [line.meter, kind]
    return " ".join([*words, plain(line.quantity), line.unit] if line.quantity or line.kind == "usage" else words)


def _dimensions(charge: Charge) -> dict[str, str]:
    """Return what classes, tags and metadata are made of. Ids only: names of people stay in the directory."""
    line = charge.line
    dimensions = {"site": line.site, "account": line.account, "meter": line.meter, "kind": charge.kind}
    if line.member is not None:
        dimensions["member"] = line.member
    if line.tax is not None:
        dimensions["tax"] = line.tax.name
    if charge.corrects is not None:
        dimensions["corrects"] = charge.corrects
    return dimensions


def role_account(catalog: Catalog, role: str) -> str:
    """Return the account that plays `role` (a key of `DEFAULT_ACCOUNTS`) in the operator's chart."""
    return _in_chart(catalog, catalog.ledger_accounts.get(role) or DEFAULT_ACCOUNTS[role])


def earned_account(catalog: Catalog, line: Line) -> str:
    """Return what a line on account is credited to: tips, deposits and credit sold ahead are owed, the rest is income.

    A refund has the account of what it refunds.
    """
    if line.key.of_tip:
        return role_account(catalog, "tips")
    if line.meter in _OWED:
        return role_account(catalog, _OWED[line.meter])
    return income_account(catalog, line.meter)


def income_account(catalog: Catalog, meter: str) -> str:
    """Return the income account of a meter: the catalog's `revenue`, else one named after the meter."""
    return _in_chart(catalog, catalog.ledger_accounts.get(f"revenue.{meter}") or f"income:{meter}")


def tax_account(catalog: Catalog, charge: Charge) -> str:
    """Return the account of the charge's tax. A till's own name for a tax, unknown to the catalog, has no account."""
    tax = catalog.taxes.get(charge.line.tax.name) if charge.line.tax is not None else None
    if tax is None or tax.account is None:
        return role_account(catalog, "tax")
    return _in_chart(catalog, tax.account)


def clearing_account(catalog: Catalog, line: Line) -> str:
    """Return where the till's money waits: of `clearing.square` and the like the one that a source names, if any.

    A refund may come from elsewhere than its sale; both are the line's events, and the sale's till gives back.
    """
    for source in (line.key.source, *(event.source for event in line.events)):
        for segment in source.split("/")[1:]:
            named = catalog.ledger_accounts.get(f"clearing.{segment}")
            if named:
                return _in_chart(catalog, named)
    return role_account(catalog, "clearing")


def _in_chart(catalog: Catalog, name: str) -> str:
    found = canonical_account(name)
    if found is not None:
        return found
    suspense = canonical_account(catalog.ledger_accounts.get("suspense") or "") or DEFAULT_ACCOUNTS["suspense"]
    return f"{suspense}:{name}"


@lru_cache(maxsize=4096)
def canonical_account(name: str) -> str | None:
    """Return `name` with one of the five roots in lower case; None where its first part is no kind of account."""
    first, _, rest = name.partition(":")
    root = _ROOTS.get(first.strip().lower())
    if root is None:
        return None
    parts = [part.strip() for part in rest.split(":") if part.strip()]
    return ":".join([root, *(parts or ["general"])])
