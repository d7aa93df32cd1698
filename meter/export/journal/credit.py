"""What has been earned of credit that was bought: a function of what was paid for it and of what has gone of it.

    C(k) = round(P x (X(1) + ... + X(k)) / A)        account k has earned C(k) - C(k-1)

P was credited to deferred revenue for the amount A; X(k) has gone of it to the income account k, in the order of their
names, breakage last. Sums alone decide, so the order of draws does not matter, and the whole of A earns exactly P.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import TypeAlias, TypeVar

from meter.export.journal.chart import role_account
from meter.export.journal.net import own_of
from meter.export.journal.rules import Earning, earning_of, income_account
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.charge import Charge
from meter.model.money import EXACT, ZERO, rounded_minor
from meter.rating.calendar import CREDIT_SALE, sold_grant

# (currency, ledger account) -> amount, debit positive.
Burn: TypeAlias = dict[tuple[str, str], Decimal]


@dataclass(slots=True, kw_only=True)
class BoughtCredit:
    """The sums of one grant. `paid` is P by currency and deferred account, `amount` A, `drawn` X by income account.

    `expired` is X by account of breakage. A grant that was given for nothing has no P, and earns nothing.
    """

    paid: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    amount: Decimal = ZERO
    drawn: dict[str, Decimal] = field(default_factory=dict)
    expired: dict[str, Decimal] = field(default_factory=dict)

    def sell(self, currency: str, deferred: str, *, net: Decimal, amount: Decimal) -> None:
        """Count a charge of its sale."""
        _add(self.paid, (currency, deferred), net)
        self.amount = EXACT.add(self.amount, amount)

    def draw(self, income: str, amount: Decimal) -> None:
        """Count what was drawn for the revenue of an account."""
        _add(self.drawn, income, amount)

    def expire(self, breakage: str, amount: Decimal) -> None:
        """Count what expired."""
        _add(self.expired, breakage, amount)

    def burnt(self) -> Burn:
        """Return what has moved from deferred revenue to income."""
        found: Burn = {}
        if not self.amount:
            return found
        with localcontext(EXACT):
            for (currency, deferred), paid in self.paid.items():
                gone = before = ZERO
                for account, amount in [*sorted(self.drawn.items()), *sorted(self.expired.items())]:
                    gone += amount
                    after = rounded_minor(paid * gone / self.amount, currency)
                    _add(found, (currency, account), before - after)
                    before = after
                _add(found, (currency, deferred), before)
        return found


def count(charge: Charge, credit: dict[str, BoughtCredit], catalogs: CatalogTimeline) -> Burn:
    """Count what a charge does to the account's credit, by grant; return what it moves from deferred to income.

    Only a grant's own instance counts: what a refund gives back after the expiry costs nothing any more.
    """
    line, catalog = charge.line, catalogs.at(charge.line.key.time)
    moved: Burn = {}
    sold = sold_grant(line)
    for grant in {draw.grant for draw in line.draws} if sold is None else {sold}:
        if not is_own(grant):
            continue
        one = credit.setdefault(grant, BoughtCredit())
        before = one.burnt()
        if line.key.of_expiry:
            one.expire(role_account(catalog, "breakage"), line.quantity)
        elif sold is not None:
            one.sell(line.currency, role_account(catalog, "deferred"), net=own_of(charge), amount=line.quantity)
        else:
            drawn = sum((draw.amount for draw in line.draws if draw.grant == grant), ZERO)
            one.draw(drawing_account(catalog, earning_of(line), of_tip=line.key.of_tip), drawn)
        for key, amount in one.burnt().items():
            _add(moved, key, amount - before.pop(key, ZERO))
        for key, amount in before.items():
            _add(moved, key, -amount)
    return {key: amount for key, amount in sorted(moved.items()) if amount}


def is_own(grant: str) -> bool:
    """Tell whether an instance is that of a grant itself: those of plans and refunds have several parts."""
    return "/" not in grant


def touches_credit(charge: Charge) -> bool:
    """Tell whether a charge counts for credit that may have been bought."""
    return charge.line.meter == CREDIT_SALE or any(is_own(draw.grant) for draw in charge.line.draws)


def drawing_account(catalog: Catalog, earning: Earning, *, of_tip: bool) -> str:
    """Return for whose revenue a line draws; what a refund gives back was drawn for that of its sale."""
    if of_tip:
        return role_account(catalog, "tips")
    return income_account(catalog, earning._replace(kind="usage") if earning.kind == "refund" else earning)


K = TypeVar("K")


def _add(sums: dict[K, Decimal], key: K, more: Decimal) -> None:
    sums[key] = EXACT.add(sums.get(key, ZERO), more)
