"""The chart of accounts: who plays which role in the operator's book."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from meter.model.catalog import Catalog
from meter.model.charge import Charge, Line

# Where the catalog's `ledger:` section says nothing. Income defaults to one account a meter, a landlord's debt to one a
# party; `unbilled` and `refunds` are played by nobody unless they are named.
DEFAULT_ACCOUNTS: Final = {
    "receivable": "assets:receivable",
    "clearing": "assets:clearing",
    "tax": "liabilities:tax",
    "tips": "liabilities:tips",
    "deposits": "liabilities:deposits",
    "deferred": "liabilities:deferred",
    "landlord": "liabilities:landlord",
    "share": "expenses:revenue-share",
    "breakage": "income:breakage",
    "rounding": "expenses:rounding",
    "suspense": "equity:suspense",
}
# The five kinds of account that every book has, and the other words that operators use for them.
_ROOTS: Final = {
    **dict.fromkeys(("asset", "assets"), "assets"),
    **dict.fromkeys(("liability", "liabilities"), "liabilities"),
    "equity": "equity",
    **dict.fromkeys(("income", "revenue", "revenues"), "income"),
    **dict.fromkeys(("expense", "expenses"), "expenses"),
}


def role_account(catalog: Catalog, role: str) -> str:
    """Return the account that plays `role` (a key of `DEFAULT_ACCOUNTS`) in the operator's chart."""
    return named_account(catalog, role) or DEFAULT_ACCOUNTS[role]


def named_account(catalog: Catalog, role: str) -> str | None:
    """Return the account that the catalog names for `role`, None where it names none."""
    name = catalog.ledger.accounts.get(role)
    return in_chart(catalog, name) if name else None


def tax_account(catalog: Catalog, charge: Charge) -> str:
    """Return the account of the charge's tax. A till's own name for a tax, unknown to the catalog, has no account."""
    tax = catalog.taxes.get(charge.line.tax.name) if charge.line.tax is not None else None
    if tax is None or tax.account is None:
        return role_account(catalog, "tax")
    return in_chart(catalog, tax.account)


def clearing_account(catalog: Catalog, line: Line) -> str:
    """Return where the till's money waits: of `clearing.square` and the like the one that a source names, if any.

    A refund may come from elsewhere than its sale; both are the line's events, and the sale's till gives back.
    """
    for source in (line.key.source, *(event.source for event in line.events)):
        for segment in source.split("/")[1:]:
            named = named_account(catalog, f"clearing.{segment}")
            if named:
                return named
    return role_account(catalog, "clearing")


def landlord_account(catalog: Catalog, party: str) -> str:
    """Return where what is owed to a party stands: its own account, else the one of all, else one by its name."""
    named = named_account(catalog, f"landlord.{party}") or named_account(catalog, "landlord")
    return named or f"{DEFAULT_ACCOUNTS['landlord']}:{party}"


def owed_accounts(catalog: Catalog) -> frozenset[str]:
    """Return the accounts on which it stands what customers owe or have paid at a till."""
    roles = {
        "receivable",
        "unbilled",
        *(role for role in catalog.ledger.accounts if role.partition(".")[0] == "clearing"),
    }
    named = {named_account(catalog, role) for role in roles}
    found = {role_account(catalog, "receivable"), role_account(catalog, "clearing"), *named}
    return frozenset(name for name in found if name is not None)


def tax_accounts(catalog: Catalog) -> frozenset[str]:
    """Return the accounts on which taxes stand."""
    own = {in_chart(catalog, tax.account) for tax in catalog.taxes.values() if tax.account is not None}
    return frozenset({role_account(catalog, "tax"), *own})


def in_chart(catalog: Catalog, name: str) -> str:
    """Return an account as every book can hold it; one of no known kind is in suspense under its own name."""
    return canonical_account(name) or f"{suspense_account(catalog)}:{name}"


def suspense_account(catalog: Catalog) -> str:
    """Return the account of what has no place."""
    return canonical_account(catalog.ledger.accounts.get("suspense") or "") or DEFAULT_ACCOUNTS["suspense"]


def waits_in_suspense(catalog: Catalog, accounts: Iterable[str]) -> bool:
    """Tell whether one of the accounts is suspense, or below it."""
    suspense = suspense_account(catalog)
    return any(account == suspense or account.startswith(f"{suspense}:") for account in accounts)


@lru_cache(maxsize=4096)
def canonical_account(name: str) -> str | None:
    """Return `name` with one of the five roots in lower case; None where its first part is no kind of account."""
    first, _, rest = name.partition(":")
    root = _ROOTS.get(first.strip().lower())
    if root is None:
        return None
    parts = [part.strip() for part in rest.split(":") if part.strip()]
    return ":".join([root, *(parts or ["general"])])
