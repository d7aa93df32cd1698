"""Whose customer an account is: of the targets that invoice, at most one bills it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meter.model.directory import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """The customers of one target, among those that invoice.

    An account names its customer under the target's own name, else under that of the target's kind. `rivals` are the
    other targets that invoice, each with the keys that it looks under. An account that two of them know is billed by
    the first by name; so is one that none knows, for somebody must see that.
    """

    target: str
    keys: tuple[str, ...]
    rivals: Mapping[str, tuple[str, ...]]

    def biller(self, account: Account) -> str:
        """Return the target that bills the account."""
        return min(self.knowing(account) or self.billing)

    @property
    def billing(self) -> list[str]:
        """Return every target that invoices."""
        return [self.target, *self.rivals]

    def knowing(self, account: Account) -> list[str]:
        """Return the targets that know a customer of the account, by name: more than one is a fault."""
        every = {**self.rivals, self.target: self.keys}
        return sorted(name for name, keys in every.items() if _found(account, keys) is not None)

    def of(self, account: Account) -> str | None:
        """Return the account's customer at the target."""
        return _found(account, self.keys)

    def unmet(self, account: str) -> str:
        """Return what keeps the lines of an account without a customer from being sent."""
        key = self.keys[-1]
        return (
            f"account {account} has no customer at {self.target}; set accounts.{account}.{key} in the catalog, "
            "then retry the delivery"
        )


def _found(account: Account, keys: tuple[str, ...]) -> str | None:
    return next((account.external[key] for key in keys if account.external.get(key)), None)
