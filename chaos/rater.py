"""What every use costs, computed from the rules and from nothing of the product: no fold, no correction, no state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from chaos.world import (
    DOOR,
    FREE_PAGES,
    PACK_PAGES,
    PAGES,
    PAGES_BOUND,
    TAX,
    Pack,
    Priced,
    Use,
    month_of,
    ordered,
    plan_of,
)

_CENT: Final = Decimal("0.01")


def cents(amount: Decimal) -> Decimal:
    """Return the amount rounded half away from zero."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def rated(uses: Sequence[Use], pack: Pack) -> dict[str, Priced]:
    """Return what each use costs, by its event's id."""
    free: dict[tuple[str, tuple[int, int]], Decimal] = defaultdict(lambda: FREE_PAGES)
    packs: dict[str, Decimal] = defaultdict(lambda: PACK_PAGES)
    counted: dict[tuple[str, tuple[int, int]], Decimal] = defaultdict(Decimal)
    found: dict[str, Priced] = {}
    for use in ordered(uses):
        month, draws, amount = month_of(use.at), {}, DOOR[plan_of(use.account)] * use.quantity
        if use.meter == "pages":
            left = use.quantity
            # The pack first: it expires sooner.
            if pack.holds(use.at):
                draws["pack"] = min(left, packs[use.account])
                packs[use.account] -= draws["pack"]
                left -= draws["pack"]
            draws["free"] = min(left, free[use.account, month])
            free[use.account, month] -= draws["free"]
            left -= draws["free"]
            before = counted[use.account, month]
            counted[use.account, month] += left
            amount = _pages(use.account, before + left) - _pages(use.account, before)
        found[use.id] = Priced(
            account=use.account,
            meter=use.meter,
            month=month,
            quantity=use.quantity,
            draws={name: drawn for name, drawn in draws.items() if drawn},
            amount=amount,
        )
    return found


def _pages(account: str, quantity: Decimal) -> Decimal:
    low, high = PAGES[plan_of(account)]
    return min(quantity, Decimal(PAGES_BOUND)) * low + max(quantity - PAGES_BOUND, Decimal(0)) * high


def due(priced: Iterable[Priced]) -> dict[str, tuple[Decimal, Decimal]]:
    """Return what each account owes, net and tax: each month's meters are rounded, then the month's tax."""
    exact: dict[tuple[str, tuple[int, int], str], Decimal] = defaultdict(Decimal)
    for one in priced:
        exact[one.account, one.month, one.meter] += one.amount
    net: dict[tuple[str, tuple[int, int]], Decimal] = defaultdict(Decimal)
    for (account, month, _meter), amount in exact.items():
        net[account, month] += cents(amount)
    owed: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
    for (account, _month), amount in net.items():
        so_far = owed[account]
        owed[account] = so_far[0] + amount, so_far[1] + cents(amount * TAX)
    return dict(owed)


def drawn(priced: Iterable[Priced]) -> Mapping[tuple[str, str], Decimal]:
    """Return what is drawn of each account's grants, by account and grant."""
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in priced:
        for grant, amount in one.draws.items():
            found[one.account, f"{grant} {one.month}" if grant == "free" else grant] += amount
    return dict(found)
