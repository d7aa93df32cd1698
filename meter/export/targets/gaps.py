"""What the catalog names and a target has no name for, seen before a line of it is a dead delivery. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from meter.export.gather.customers import Customers
from meter.export.gather.names import either
from meter.model.catalog import Catalog
from meter.model.directory import Account
from meter.rating.calendar import MEMBERSHIP

# More names than this say less than how many they are.
SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Which names of ours a target must have its own for, each with what it has. None: it needs none.

    `meters` and `sites` name the option that gives them; `*` in one stands for all. `tracked`: whether sites are told
    apart by their `ledger_class`. `currency`: the only one that it takes ("": any).
    """

    taxes: Mapping[str, str] | None = None
    meters: tuple[str, Mapping[str, str]] | None = None
    sites: tuple[str, Mapping[str, str]] | None = None
    tracked: bool = False
    currency: str = ""


@runtime_checkable
class Comparable(Protocol):
    """A target that can be asked whether what its settings name is what the catalog means."""

    async def mismatches(self, catalog: Catalog) -> Sequence[str]:
        """Return what differs, a line each, with the remedy. Raises MeterError where the target does not answer."""
        ...


def few(names: Collection[str]) -> str:
    """Return the names in a line: the first of many, and how many more there are."""
    shown = ", ".join(sorted(names)[:SHOWN_MAX])
    return shown + (f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else "")


def gaps_of(needs: Needs, catalog: Catalog) -> Iterator[str]:
    """Give what keeps lines of the catalog from being sent, a line each: fault, facts, remedy."""
    if needs.taxes is not None and (unknown := catalog.taxes.keys() - needs.taxes.keys()):
        yield f"the target knows no tax called {few(unknown)}; name a code for each in options.tax_codes"
    if needs.meters is not None:
        option, named = needs.meters
        unnamed = {meter for meter in priced(catalog) if either(named, meter) is None}
        if unnamed:
            yield f"the target has no name for {few(unnamed)}; name each (or '*') in options.{option}"
    if needs.sites is not None:
        option, named = needs.sites
        apart = {site for site in catalog.sites if either(named, site) is None}
        if apart:
            yield f"the target has no name for the sites {few(apart)}; name each (or '*') in options.{option}"
        if len(catalog.sites) > 1 and "*" not in named and MEMBERSHIP in priced(catalog):
            yield f"fees are of no site where there are several; name '*' in options.{option} for them"


def untracked(needs: Needs, catalog: Catalog) -> str | None:
    """Return what is to be said of sites without a class, where others have one; None: nothing."""
    without = {name for name, site in catalog.sites.items() if not site.ledger_class}
    if not needs.tracked or not without or len(without) == len(catalog.sites):
        return None
    return f"the sites {few(without)} have no class, and others have; set sites.SITE.ledger_class in the catalog"


def foreign(needs: Needs, customers: Customers, accounts: Collection[Account]) -> str | None:
    """Return what is to be said of customers who are billed in a currency that the target does not take."""
    if not needs.currency:
        return None
    others = {one.id for one in accounts if customers.of(one) and one.currency != needs.currency}
    if not others:
        return None
    return (
        f"it takes {needs.currency} alone, and what is booked for customers in another currency waits as dead "
        f"deliveries: {few(others)}; bill these by another target"
    )


def priced(catalog: Catalog) -> frozenset[str]:
    """Return the meters that a plan has prices for, and that of fees where one has a fee."""
    own = {MEMBERSHIP} if any(plan.fee is not None for plan in catalog.plans.values()) else set()
    return frozenset(own.union(*(plan.prices for plan in catalog.plans.values())))


def billed_by_nobody(customers: Customers, catalog: Catalog, accounts: Collection[Account]) -> str | None:
    """Return what is to be said of accounts that no target knows a customer of; None: nothing.

    Guests of a site pay at its till.
    """
    guests = {site.walk_in for site in catalog.sites.values()}
    unknown = {one.id for one in accounts if one.id not in guests and not customers.knowing(one)}
    if not unknown:
        return None
    targets = ", ".join(sorted(customers.billing))
    return (
        f"{len(unknown)} account{' has' if len(unknown) == 1 else 's have'} no customer at {targets}, and what is "
        f"booked for them waits as dead deliveries: {few(unknown)}; name one in the catalog, like accounts.ID."
        f"{customers.keys[-1]}"
    )
