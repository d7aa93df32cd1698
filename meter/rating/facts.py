"""What an account's fold may know beside its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meter.model.catalog import CatalogTimeline
from meter.model.directory import Account, Directory


@dataclass(frozen=True, kw_only=True)
class AccountFacts:
    """The account, the directory and the catalog's versions as of one version of the facts.

    Keep one for as long as the facts stand: `memo` keeps what grants, calendar and prices derive from them.
    """

    account: Account
    directory: Directory
    catalogs: CatalogTimeline
    closed: frozenset[datetime] = frozenset()
    """The starts of the billing periods that are closed."""
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def currency_at(self, instant: datetime) -> str:
        """Return what the account pays in for the period that holds `instant`."""
        return self.account.periods.terms_at(instant).currency
